"""Where a service may listen, which tokens open it, and which zones a hosts.json names."""

from __future__ import annotations

import json
from contextlib import ExitStack

import pytest

from realm.core.errors import BadInput, Conflict, RealmError, Refused, Unknown
from realm.core.guard import ROLES, Role, Rules, judge
from realm.core.hosts import Hosts
from realm.core.listening import is_loopback, open_sockets, plan_listening
from realm.core.paths import Paths
from tests.free_ports import free_port

# address, allowed hosts, has a token -> refused
PLANS = [
    (None, [], False, False),
    ("127.0.0.1", [], False, False),
    ("127.9.9.9", [], False, False),
    ("::1", [], False, False),
    ("localhost", [], False, False),
    ("192.0.2.7", [], False, True),
    ("192.0.2.7", ["box"], False, True),
    ("192.0.2.7", [], True, True),
    ("192.0.2.7", ["box"], True, False),
    (".".join("0000"), [], True, True),
    (".".join("0000"), ["box"], True, False),
]


@pytest.mark.parametrize(("address", "names", "token", "refused"), PLANS)
def test_another_address_needs_a_token_and_host_names(address: str | None, names: list[str], token: bool, refused: bool) -> None:
    if refused:
        with pytest.raises(Refused) as told:
            plan_listening(8768, address, names, has_token=token)
        assert told.value.exit_code == 4
        assert told.value.hint
    else:
        found = plan_listening(8768, address, names, has_token=token)
        assert found.hosts == {"127.0.0.1:8768", "localhost:8768", *(f"{name}:8768" for name in names)}


@pytest.mark.parametrize("name", ["*", "a b", "box:8768", "http://box", "", "-", "a/b", "ä"])
def test_a_host_name_is_a_name(name: str) -> None:
    with pytest.raises(BadInput):
        plan_listening(1, None, [name])


def test_an_address_is_an_address() -> None:
    with pytest.raises(BadInput):
        is_loopback("box")


def test_loopback_is_always_bound_and_a_taken_port_is_told() -> None:
    port = free_port()
    with ExitStack() as stack:
        opened = [stack.enter_context(one) for one in open_sockets(plan_listening(port, ".".join("0000"), ["b"], has_token=True))]
        assert [one.getsockname()[1] for one in opened] == [port]
        opened[0].listen()
        with pytest.raises(Conflict, match="taken"):
            open_sockets(plan_listening(port))


def test_a_foreign_address_is_told() -> None:
    with pytest.raises(BadInput, match="cannot listen"):
        open_sockets(plan_listening(free_port(), "192.0.2.7", ["box"], has_token=True))


class Keys:
    def __init__(self, broken: bool = False) -> None:
        self.broken = broken

    def locked(self) -> bool:
        if self.broken:
            raise Refused("the token file can be read by other users")
        return True

    def role_of(self, token: str) -> Role | None:
        return {"r": ROLES[0], "o": ROLES[1], "a": ROLES[2]}.get(token)


# method, path, token -> status
DOORS = [
    ("GET", "/assets", None, 401), ("GET", "/assets", "x", 401), ("GET", "/assets", "r", None), ("GET", "/assets", "a", None),
    ("POST", "/scan", None, 401), ("POST", "/scan", "r", 403), ("POST", "/scan", "o", None), ("POST", "/scan", "a", None),
    ("POST", "/receive", "r", 403), ("POST", "/receive", "o", 403), ("POST", "/receive", "a", None),
    ("POST", "/scan/", "o", 403), ("DELETE", "/scan2", "o", 403),
    ("GET", "/health", None, None), ("GET", "/openapi.json", None, None), ("GET", "/health/", None, 401),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "token", "status"), DOORS)
def test_what_a_role_may(method: str, path: str, token: str | None, status: int | None) -> None:
    rules = Rules.for_port(1, keyring=Keys(), needs={"/scan": "operate"})
    headers = [(b"host", b"localhost:1"), (b"content-type", b"application/json")]
    headers += [(b"authorization", f"Bearer {token}".encode())] if token else []
    denied = judge(rules, method, path, headers)
    assert (denied.status if denied else None) == status


@pytest.mark.parametrize("value", ["a", "bearer a", "Basic a", "Bearer  a", "Bearer", ""])
def test_only_a_bearer_token_counts(value: str) -> None:
    rules = Rules.for_port(1, keyring=Keys())
    denied = judge(rules, "GET", "/assets", [(b"host", b"localhost:1"), (b"authorization", value.encode())])
    assert denied is not None
    assert denied.status == 401


def test_two_tokens_and_unreadable_tokens_open_nothing() -> None:
    twice = [(b"host", b"localhost:1"), (b"authorization", b"Bearer a"), (b"authorization", b"Bearer a")]
    denied = judge(Rules.for_port(1, keyring=Keys()), "GET", "/x", twice)
    assert denied is not None
    assert denied.status == 401
    denied = judge(Rules.for_port(1, keyring=Keys(broken=True)), "GET", "/x", twice[:2])
    assert denied is not None
    assert denied.status == 503


HOSTS = {
    "zone": "trainer",
    "hosts": {
        "4090": {"name": "Trainer", "services": {"branch": {"port": 8768}}},
        "3090": {"name": "Box", "host": "192.0.2.9", "role": "inference", "models_dir": "/m", "services": {"branch": {}}},
        "laptop": {"name": "Laptop", "host": "192.0.2.10", "services": {}},
    },
    "zones": {"nas": {"host": "nas.home", "port": 9000, "limit_mb_s": 20}},
}


def read(paths: Paths, told: object) -> Hosts:
    paths.hosts.write_text(json.dumps(told))
    return Hosts.load(paths)


def test_zones_are_what_the_file_names(empty_home: Paths) -> None:
    hosts = read(empty_home, HOSTS)
    assert hosts.own_zone() == "trainer"
    assert {name: zone.url for name, zone in hosts.all_zones().items()} == {
        "3090": "http://192.0.2.9:8768", "nas": "http://nas.home:9000",
    }  # fmt: skip
    assert hosts.get_zone("3090").base_dir == "/m"
    for asked in ("4090", "laptop", "other"):
        with pytest.raises(Unknown):
            hosts.get_zone(asked)


def test_a_file_may_name_zones_only(empty_home: Paths) -> None:
    hosts = read(empty_home, {"zones": {"nas": {"host": "10.0.0.2"}}})
    assert list(hosts.hosts) == ["local"]
    assert hosts.own_zone() == "local"


@pytest.mark.parametrize("zone", [
    {"host": "10.0.0.2/x"}, {"host": "user@box"}, {"host": "box:1"}, {"host": ""}, {"host": "box", "scheme": "ftp"},
    {"host": "box", "port": 0}, {"host": "box", "limit_mb_s": 0}, {"host": "box", "url": "http://x"},
])  # fmt: skip
def test_an_address_of_a_zone_is_a_bare_name(empty_home: Paths, zone: object) -> None:
    with pytest.raises(BadInput):
        read(empty_home, {"zones": {"nas": zone}})


def test_a_zone_id_is_an_id(empty_home: Paths) -> None:
    with pytest.raises(RealmError):
        read(empty_home, {"zones": {"../x": {"host": "box"}}}).all_zones()
