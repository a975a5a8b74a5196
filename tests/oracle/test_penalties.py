"""Penalties of profiles: think tags on their schedule, the end mark after a stop text, and the same alone as in a batch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from realm.armory.hero_loading import LoadedHero
from realm.armory.profiles import PROFILES, Penalties
from realm.oracle.batching import GREEDY, Sampling
from realm.oracle.checkpoints import Source, Verified
from realm.oracle.generate import PlainDecoder, generate
from realm.oracle.generate_penalties import RowPenalties, penalty_at
from realm.oracle.mind import open_mind
from tests.oracle.conftest import PROBLEMS

pytestmark = pytest.mark.usefixtures("one_thread")
NEW = 24



@pytest.fixture(scope="module")
def prompts(hero: LoadedHero) -> list[list[int]]:
    rows = [[{"role": "user", "content": text}] for text in PROBLEMS[:12]]
    return [e.ids for e in hero.template.render_many(rows, add_generation_prompt=True)]  # type: ignore[arg-type]


def penalties(hero: LoadedHero, table: Penalties) -> RowPenalties:
    t = hero.template
    return RowPenalties(table, t.encode_content, t.spell, t.decode, t.end_id)


def test_the_schedule_is_hardest_on_the_first_tokens() -> None:
    schedule = PROFILES["emoji_think"].penalties.schedule
    losses = [penalty_at(schedule, made) for made in range(200)]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] > losses[100] > 0
    assert penalty_at((), 5) == 0
    assert penalty_at(((4, 9.0),), 4) == 0


def test_only_the_token_that_completes_a_tag_is_penalised(hero: LoadedHero) -> None:
    table = Penalties(("<think>",), ((2, 50.0), (None, 7.0)))
    one = penalties(hero, table)
    *before, last = hero.template.encode_content("<think>")
    logits = torch.zeros(3, 512)
    found = one.apply(logits, [[], before, [*before, last]])
    assert torch.equal(logits, torch.zeros(3, 512))
    assert torch.equal(found[0], logits[0])
    assert found[1, last] == -penalty_at(table.schedule, len(before))
    assert found[1].count_nonzero() == 1
    assert torch.equal(found[2], logits[0])


def test_a_tag_that_is_one_token_is_penalised_from_the_first_on() -> None:
    one = RowPenalties(Penalties(("<think>",), ((None, 7.0),)), lambda text: [1, 2, 3], lambda text: [9], lambda ids: "", 0)
    assert one.tag_ends([]) == {9}
    assert one.tag_ends([1, 2]) == {3, 9}


def test_after_a_stop_text_only_the_end_mark_is_left(hero: LoadedHero) -> None:
    one = penalties(hero, PROFILES["emoji_think"].penalties)
    ids = hero.template.encode_content("①⓪ 🛑")
    ended = hero.template.encode_content("①⓪ 🛑🛑")
    found = one.apply(torch.randn(2, 512), [ids, ended])
    assert [one.ended(ids), one.ended(ended), one.ended([])] == [False, True, False]
    assert int(found[1].argmax()) == hero.template.end_id
    assert torch.isfinite(found).all()


def runs(plain: PlainDecoder, prompts: Sequence[list[int]], sampling: Sampling, by: RowPenalties | None, stop: int) -> list:
    return generate(plain, prompts, max_new_tokens=NEW, stop_ids=frozenset({stop}), sampling=sampling, penalties=by)


def test_batched_equals_single_with_penalties(hero: LoadedHero, plain: PlainDecoder, prompts: list[list[int]]) -> None:
    end = hero.template.end_id
    decode = hero.template.decode
    free = runs(plain, prompts, GREEDY, None, end)

    # What the random model really writes becomes a tag and a stop text, so that both penalties act.
    def written(found: list, begin: int) -> str:
        texts = [decode(one.ids[begin : begin + 2]) for one in found if len(one.ids) > begin + 2]
        return next(text for text in texts if text.isascii() and text.isprintable() and len(text) > 1)

    tag = written(free, 3)
    once = runs(plain, prompts, GREEDY, penalties(hero, Penalties((tag,), ((None, 40.0),))), end)
    stop = written(once, 6)
    by = penalties(hero, Penalties((tag,), ((None, 40.0),), (stop,)))
    together = runs(plain, prompts, GREEDY, by, end)
    assert together != free
    assert any(decode(one.ids).endswith(stop) and one.finish_reason == "stop" for one in together)
    assert [runs(plain, [ids], GREEDY, by, end)[0] for ids in prompts] == together


def test_a_mind_asks_as_its_profile_and_grants_the_frame(hero_files: Path) -> None:
    names = ("config.json", "hero.json", "tokenizer.json", "model.safetensors")
    texts = {name: (hero_files / name).read_bytes() for name in names}
    read = Verified(Source(1, hero_files, "m"), "m", "0" * 64, json.loads(texts["config.json"]), json.loads(texts["hero.json"]),
                    texts["tokenizer.json"], texts["model.safetensors"])  # fmt: skip
    rows = [[{"role": "user", "content": "Compute: add(①, ①)"}]]
    bare, asked = open_mind(read), open_mind(replace(read, profile="regime3"))
    assert asked.profile == "regime3"
    assert "(op arg1 arg2)" in asked._template.decode(asked.encode(rows, 8)[0])
    assert "(op arg1 arg2)" not in bare._template.decode(bare.encode(rows, 8)[0])
    assert bare.answer(rows, max_new_tokens=4)[0].tokens <= 4
    assert asked.answer(rows, max_new_tokens=4)[0].tokens > 4
