"""Tokens of zones: kept as digests, private files, revoked at once."""

from __future__ import annotations

import pytest

from realm.core.errors import BadInput, Corrupt, Refused, Unknown
from realm.core.paths import Paths
from realm.vault.zones.zone_tokens import TokenFile, keep_token, list_tokens, new_token, revoke, token_for


def test_a_token_is_kept_as_a_digest_in_a_private_file(empty_home: Paths) -> None:
    made, text = new_token(empty_home, "box", "read")
    file = empty_home.run / "zone_tokens.json"

    assert file.stat().st_mode & 0o777 == 0o600
    assert text not in file.read_text()
    assert list_tokens(empty_home) == [made]


def test_the_keyring_follows_the_file(empty_home: Paths) -> None:
    keyring = TokenFile(empty_home)
    assert not keyring.locked()
    assert keyring.role_of("") is None
    first, text = new_token(empty_home, "box", "operate")
    _, other = new_token(empty_home, "nas", "admin")

    assert keyring.locked()
    assert (keyring.role_of(text), keyring.role_of(other), keyring.role_of(text + "x")) == ("operate", "admin", None)
    revoke(empty_home, first.id)
    assert keyring.role_of(text) is None
    assert keyring.role_of(other) == "admin"


def test_an_address_for_others_stays_locked_without_tokens(empty_home: Paths) -> None:
    assert TokenFile(empty_home, always=True).locked()


@pytest.mark.parametrize("name", ["zone_tokens.json", "zone.box.token"])
def test_a_file_that_others_can_read_is_refused(empty_home: Paths, name: str) -> None:
    new_token(empty_home, "box", "read")
    keep_token(empty_home, "box", "x" * 20)
    (empty_home.run / name).chmod(0o640)

    with pytest.raises(Refused, match="other users"):
        TokenFile(empty_home).locked() if name.endswith("json") else token_for(empty_home, "box")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"format": "realm.tokens/2", "tokens": []}',
                                  '{"format": "realm.tokens/1", "tokens": [{}]}'])  # fmt: skip
def test_a_broken_file_opens_nothing(empty_home: Paths, text: str) -> None:
    file = empty_home.run / "zone_tokens.json"
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(Corrupt):
        TokenFile(empty_home).locked()


def test_wrong_words(empty_home: Paths) -> None:
    with pytest.raises(Unknown):
        new_token(empty_home, "box", "root")
    with pytest.raises(BadInput):
        new_token(empty_home, "../box", "read")
    with pytest.raises(Unknown):
        revoke(empty_home, "nope")
    for text in ("short", "with spaces in the middle of it", "ä" * 20):
        with pytest.raises(BadInput):
            keep_token(empty_home, "box", text)
    with pytest.raises(BadInput):
        token_for(empty_home, "../x")


def test_what_another_zone_gave(empty_home: Paths) -> None:
    assert token_for(empty_home, "box") is None
    path = keep_token(empty_home, "box", "  " + "t" * 20 + "\n")
    assert token_for(empty_home, "box") == "t" * 20
    assert path.stat().st_mode & 0o777 == 0o600
