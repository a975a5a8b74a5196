from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load

from realm.armory.hero_loading import LoadedHero
from realm.core.errors import Corrupt, Unavailable
from realm.oracle import generate as module
from realm.oracle.batching import Completion, Sampling
from realm.oracle.generate import Decoder, PlainDecoder, generate, is_plain
from realm.oracle.mind import HubDecoder
from tests.oracle.conftest import PROBLEMS

pytestmark = pytest.mark.usefixtures("one_thread")
NEW = 20
GQA = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
       "vocab_size": 120, "max_position_embeddings": 256, "initializer_range": 0.3, "bos_token_id": None}  # fmt: skip



@pytest.fixture(scope="module")
def prompts(hero: LoadedHero) -> list[list[int]]:
    rows = [[{"role": "user", "content": text}] for text in (*PROBLEMS[:15], "a much longer text " * 3)]
    return [e.ids for e in hero.template.render_many(rows, add_generation_prompt=True)]  # type: ignore[arg-type]


def by_transformers(model: Any, prompts: list[list[int]], stops: list[int]) -> list[Completion]:
    found = []
    for ids in prompts:
        whole = model.generate(torch.tensor([ids]), max_new_tokens=NEW, do_sample=False, eos_token_id=stops, pad_token_id=0)
        new = whole[0, len(ids) :].tolist()
        found.append(Completion(new[:-1], "stop") if new[-1] in stops else Completion(new, "length"))
    return found


def common_ids(model: Any, prompts: list[list[int]]) -> list[int]:
    """Ids that end several rows early, chosen from what the random model really writes."""
    counts: dict[int, int] = {}
    for one in by_transformers(model, prompts, [10**6]):
        for token in one.ids[4:10]:
            counts[token] = counts.get(token, 0) + 1
    return sorted(counts, key=lambda token: -counts[token])[:2]


@pytest.mark.parametrize("kind", ["plain", "hub"])
def test_alone_and_together_and_transformers_agree_token_for_token(
    kind: str, hero: LoadedHero, plain: PlainDecoder, prompts: list[list[int]]
) -> None:
    decoder: Decoder = plain if kind == "plain" else HubDecoder(hero.model)
    stops = common_ids(hero.model, prompts)
    together = generate(decoder, prompts, max_new_tokens=NEW, stop_ids=frozenset(stops))
    assert together == by_transformers(hero.model, prompts, stops)
    assert {one.finish_reason for one in together} == {"stop", "length"}
    single = [generate(decoder, [ids], max_new_tokens=NEW, stop_ids=frozenset(stops))[0] for ids in prompts]
    assert single == together
    assert generate(decoder, prompts[::-1], max_new_tokens=NEW, stop_ids=frozenset(stops))[::-1] == together


@pytest.mark.parametrize(("kind", "more"), [
    ("qwen3", {"head_dim": 16, "tie_word_embeddings": False}),
    ("qwen2", {"tie_word_embeddings": True}),
    ("llama", {"attention_bias": True, "tie_word_embeddings": False, "mlp_bias": True}),
])  # fmt: skip
def test_other_shapes_equal_transformers(kind: str, more: dict[str, Any]) -> None:
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig

    torch.manual_seed(3)
    config = AutoConfig.for_model(kind, **GQA, **more)
    model = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)](config).eval()
    for name, weight in model.named_parameters():
        if "bias" in name or "norm" in name:
            torch.nn.init.normal_(weight, 1.0, 0.3)
    table = json.loads(config.to_json_string())
    assert is_plain(table)
    weights = {name: weight.detach().clone() for name, weight in model.state_dict().items()}
    decoder = PlainDecoder(table, weights, "cpu", torch.float32)
    rows = [[5, 9, 80], [7, 3, 3, 3, 60, 11, 2], [1]]
    with torch.inference_mode():
        found = decoder.start(rows, 4)
        for ids, logits in zip(rows, found, strict=True):
            expected = model(torch.tensor([ids])).logits[0, -1]
            torch.testing.assert_close(logits, expected, atol=2e-5, rtol=1e-5)
            torch.testing.assert_close(decoder.alone(ids), expected, atol=2e-5, rtol=1e-5)
        decoder.keep([1, 2])
        stepped = decoder.step([8, 9])
        for ids, logits in zip(([*rows[1], 8], [*rows[2], 9]), stepped, strict=True):
            torch.testing.assert_close(logits, model(torch.tensor([ids])).logits[0, -1], atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("change", [
    {"model_type": "gpt2"}, {"hidden_act": "gelu"}, {"rope_parameters": {"rope_type": "yarn"}},
    {"use_sliding_window": True}, {"layer_types": ["sliding_attention"]}, {"quantization_config": {"bits": 4}},
])  # fmt: skip
def test_what_the_plain_decoder_does_not_compute_is_not_given_to_it(change: dict[str, Any]) -> None:
    assert is_plain({"model_type": "qwen3"})
    assert not is_plain({"model_type": "qwen3", **change})


def test_close_choices_are_decided_by_the_row_alone(
    hero: LoadedHero, plain: PlainDecoder, prompts: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = generate(plain, prompts, max_new_tokens=8, stop_ids=frozenset())
    # With everything called close, all choices come from the unbatched path; the tokens must not change.
    monkeypatch.setattr(module, "TIE", 1e9)
    asked: list[int] = []
    alone = plain.alone
    monkeypatch.setattr(plain, "alone", lambda ids: (asked.append(len(ids)), alone(ids))[1])
    assert generate(plain, prompts, max_new_tokens=8, stop_ids=frozenset()) == expected
    assert len(asked) == 8 * len(prompts)


def test_the_limit_ends_a_row_and_is_counted(plain: PlainDecoder, prompts: list[list[int]]) -> None:
    for one in generate(plain, prompts, max_new_tokens=3, stop_ids=frozenset()):
        assert (one.finish_reason, one.tokens, len(one.ids)) == ("length", 3, 3)


def test_samples_follow_the_seed_and_not_the_batch(plain: PlainDecoder, prompts: list[list[int]]) -> None:
    def sample(seed: int, rows: list[list[int]]) -> list[Completion]:
        sampling = Sampling(1.0, 0.9, seed)
        return generate(plain, rows, max_new_tokens=6, stop_ids=frozenset(), sampling=sampling)

    assert sample(1, prompts) == sample(1, prompts)
    assert sample(1, prompts) != sample(2, prompts)
    assert sample(1, prompts)[0] == sample(1, prompts[:1])[0]


def test_a_tiny_nucleus_or_temperature_is_greedy(plain: PlainDecoder, prompts: list[list[int]]) -> None:
    greedy = generate(plain, prompts, max_new_tokens=5, stop_ids=frozenset())
    for sampling in (Sampling(1.0, 1e-9, 5), Sampling(1e-4, 1.0, 5)):
        assert generate(plain, prompts, max_new_tokens=5, stop_ids=frozenset(), sampling=sampling) == greedy


def test_check_ends_the_work_and_the_cache_is_freed(plain: PlainDecoder, prompts: list[list[int]]) -> None:
    left = [3]

    def check() -> None:
        left[0] -= 1
        if left[0] == 0:
            raise Unavailable("enough")

    with pytest.raises(Unavailable):
        generate(plain, prompts, max_new_tokens=50, stop_ids=frozenset(), check=check)
    assert plain._keys == []


def test_missing_and_left_over_weights_are_corrupt(hero_files: Path) -> None:
    config = json.loads((hero_files / "config.json").read_text())
    data = (hero_files / "model.safetensors").read_bytes()
    missing = load(data)
    del missing["model.layers.1.mlp.up_proj.weight"]
    with pytest.raises(Corrupt, match="up_proj"):
        PlainDecoder(config, missing, "cpu", torch.float32)
    with pytest.raises(Corrupt, match="extra"):
        PlainDecoder(config, load(data) | {"extra": torch.ones(1)}, "cpu", torch.float32)
    with pytest.raises(Corrupt, match="shape"):
        PlainDecoder({**config, "vocab_size": 3}, load(data), "cpu", torch.float32)


def test_weights_that_are_not_finite_give_an_error_and_no_answer(hero_files: Path, prompts: list[list[int]]) -> None:
    config = json.loads((hero_files / "config.json").read_text())
    weights = load((hero_files / "model.safetensors").read_bytes())
    weights["model.layers.1.mlp.down_proj.weight"][0, 0] = float("nan")
    broken = PlainDecoder(config, weights, "cpu", torch.float32)
    for sampling in (Sampling(), Sampling(1.0, 0.9, 1)):
        with pytest.raises(Corrupt, match="not finite"):
            generate(broken, prompts, max_new_tokens=2, stop_ids=frozenset(), sampling=sampling)
