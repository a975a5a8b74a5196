"""Texts, a small preset and two kinds of tokenizer for the armory's tests."""

from __future__ import annotations

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

from realm.armory.hero_presets import HeroPreset, get_preset
from realm.armory.tokenizer import train_tokenizer

TEXTS = [f"Compute: {op}(①{'⓪' * n}, ①①) => add(①) = ⓪" for op in ("add", "subtract", "increment") for n in range(5)]


@pytest.fixture(scope="session")
def texts() -> list[str]:
    return TEXTS


@pytest.fixture(scope="session")
def own_tokenizer() -> Tokenizer:
    return train_tokenizer(TEXTS, 400, words=16)


@pytest.fixture(scope="session")
def small_preset() -> HeroPreset:
    preset = get_preset("tiny")
    base = preset.base.model_copy(update={"hidden": 32, "layers": 2, "heads": 2, "kv_heads": 2, "ffn": 48})
    return preset.model_copy(update={"base": base})


def byte_tokenizer(*, special: bool) -> Tokenizer:
    """A tokenizer in Qwen's manner: NFC, byte-level BPE without merges, ChatML tokens added, think tags not special."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={c: n for n, c in enumerate(alphabet)}, merges=[]))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    marks = [AddedToken(t, special=special, normalized=False) for t in ("<|endoftext|>", "<|im_start|>", "<|im_end|>")]
    if special:
        tokenizer.add_special_tokens(marks)
    else:
        tokenizer.add_tokens(marks)
    tokenizer.add_tokens([AddedToken("<think>", special=False, normalized=False)])
    return tokenizer


@pytest.fixture(params=["own", "qwen-like", "marks-not-special"])
def any_tokenizer(request: pytest.FixtureRequest, own_tokenizer: Tokenizer) -> Tokenizer:
    if request.param == "own":
        return own_tokenizer
    return byte_tokenizer(special=request.param == "qwen-like")
