"""The row inspector: trained tokens, segments and both label methods, for quests of every state and for waiting files."""

from __future__ import annotations

import asyncio
import json
from contextlib import closing
from typing import Any

import httpx
import pytest
from fight_kit import battle, put, quest_named
from quest_files import as_bytes, configure, rows, write_quest

from realm.arena.quests import board
from realm.arena.quests.quest_routes import quest_router
from realm.arena.quests.row_text import row_text
from realm.arena.quests.row_view import Told, quest_tokens, read_one, row_view
from realm.armory.heroes import active_hero, load_template
from realm.cli import run
from realm.core.errors import RealmError, Unknown
from realm.core.paths import Paths
from realm.core.store import open_facts
from realm.core.web import make_app


def ask(paths: Paths, path: str, **params: Any) -> httpx.Response:
    app = make_app("test", [quest_router(paths)], port=21888)

    async def get() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:21888") as client:
            return await client.get(path, params=params)

    return asyncio.run(get())


def test_what_is_trained_is_the_answer_and_its_end_mark(home: Paths) -> None:
    template = load_template(active_hero(home))
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "bc"},
                {"role": "user", "content": "d"}, {"role": "assistant", "content": ""}]  # fmt: skip
    found = row_view(Told(messages, "Be kind.", None), template, 512)  # type: ignore[arg-type]
    assert [part["role"] for part in found["segments"]] == ["system", "user", "assistant", "user", "assistant"]
    assert [part["trained"] for part in found["segments"]] == [0, 0, 3, 0, 1]
    assert "".join(token["text"] for token in found["tokens"] if token["trained"]) == "bc<|im_end|><|im_end|>"
    assert (found["methods_agree"], found["reason"], found["length"]) == (True, None, len(found["tokens"]))
    ends = [part["end"] for part in found["segments"]]
    assert [part["begin"] for part in found["segments"]] == [0, *ends[:-1]]
    assert row_view(Told(messages, None, None), template, 4)["reason"].endswith("over max_length 4")  # type: ignore[arg-type]
    assert "no token" in row_view(Told(messages[:1], None, None), template, 99)["reason"]  # type: ignore[arg-type]


def test_methods_that_disagree_are_shown(home: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    template = load_template(active_hero(home))
    monkeypatch.setattr(template, "scan_labels", lambda ids: [n == 1 for n in range(len(ids))])
    found = row_view(Told(rows(1)[0]["messages"], None, None), template, 99)  # type: ignore[arg-type]
    assert (found["methods_agree"], found["differs_at"]) == (False, 1)
    text = row_text({**found, "name": "q\x1b", "row": 0, "state": "queued", "profile": "none"})
    assert "DIFFER at token 1" in text
    assert "\x1b" not in text


def test_every_state_over_http(home: Paths) -> None:
    quest = put(home, "a.jsonl", 9)
    for state in ("queued", "processing", "deleted"):
        with closing(open_facts(home)) as facts:
            if state == "processing":
                board.claim(home, facts, step=0)
            if state == "deleted":
                board.skip(home, facts, board.get_quest(facts, quest.id), "x", step=0)
                board.delete(home, facts, quest.id)
        found = ask(home, f"/api/quests/{quest.id}/tokens", row=8).json()
        assert (found["state"], found["row"], found["quest"]) == (state, 8, quest.id)
        assert "add(8)" in "".join(token["text"] for token in found["tokens"])
    assert ask(home, f"/api/quests/{quest.id}/tokens", row=9).status_code == 404
    assert ask(home, f"/api/quests/{quest.id}/tokens", row=-1).status_code in (400, 422)
    assert ask(home, "/api/quests/01hzzzzzzzzzzzzzzzzzzzzzzz/tokens").status_code == 404


def test_a_completed_quest_shows_its_masks_and_its_row_as_it_was_trained(home: Paths) -> None:
    configure(home, threads=1, profile="regime3")
    put(home, "a.jsonl", 8)
    before = ask(home, f"/api/quests/{quest_named(home, 'a.jsonl').id}").json()
    assert (before["masking"], before["masking_reason"]) == (None, "the five validators run when the quest is begun")
    with battle(home) as one:
        one.fight()
    configure(home, profile="none")
    quest = quest_named(home, "a.jsonl")
    found = ask(home, f"/api/quests/{quest.id}").json()
    assert found["masking"][0]["name"] == "MaskingRatio"
    assert found["cut"] == {"rows_per_step": 4, "seed": 0, "profile": "regime3"}
    shown = quest_tokens(home, quest, 3)
    assert shown["profile"] == "regime3"
    assert "<<ANS_START>>" in "".join(token["text"] for token in shown["tokens"])
    (home.queue("recently_completed") / quest.file).unlink()
    with pytest.raises(Unknown, match="not kept"):
        quest_tokens(home, quest, 3)


def test_files_of_the_inbox_by_their_names_only(home: Paths) -> None:
    write_quest(home.inbox / "high" / "w.jsonl", 3)
    assert ask(home, "/api/quests/inbox/tokens", name="high/w.jsonl", row=2).json()["row"] == 2
    for name in ("../config.json", str(home.inbox / "high" / "w.jsonl"), "w.jsonl"):
        assert ask(home, "/api/quests/inbox/tokens", name=name).status_code == 404


def test_a_broken_row_of_a_file_is_named_and_the_others_are_shown(home: Paths) -> None:
    path = home.inbox / "b.jsonl"
    path.write_bytes(b"\n{broken\n" + as_bytes(rows(1)))
    with pytest.raises(RealmError, match="row 0"):
        read_one(path, 0)
    assert read_one(path, 1)[0]["content"] == "Compute: add(0)"


def test_the_command_prints_and_gives_json(home: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    quest = put(home, "a.jsonl", 3)
    args = ["--home", str(home.home)]
    assert run([*args, "arena", "inspect", quest.id, "--row", "1"]) == 0
    assert "[<|im_end|>]" in capsys.readouterr().out
    assert run([*args, "arena", "inspect", str(write_quest(home.home.parent / "f.jsonl", 2)), "--row", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["quest"] is None
    assert run([*args, "arena", "inspect", quest.id, "--row", "3"]) == 2
    assert run([*args, "quests", "show", quest.id]) == 0
    assert "validators run when" in capsys.readouterr().out
