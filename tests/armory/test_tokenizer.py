"""The tokenizer of a made hero: single digits, whole words, exact round trips, the same bytes every time."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from realm.armory.tokenizer import SPECIALS, train_tokenizer
from realm.core.errors import BadInput


def pieces(tokenizer: Tokenizer, text: str) -> list[str]:
    return [tokenizer.decode([i], skip_special_tokens=False) for i in tokenizer.encode(text).ids]


def test_a_call_is_cut_into_words_signs_and_single_digits(own_tokenizer: Tokenizer):
    assert pieces(own_tokenizer, "Compute: add(①①, ①⓪)") == ["Compute: ", "add(", "①", "①", ", ", "①", "⓪", ")"]


@pytest.mark.parametrize("frame", ["user\n", "assistant\n", "system\n"])
def test_role_lines_are_one_token(own_tokenizer: Tokenizer, frame: str):
    assert len(own_tokenizer.encode(frame).ids) == 1


def test_circled_digits_are_one_token_even_when_no_text_has_them():
    tokenizer = train_tokenizer(["plain words only"], 320)
    assert pieces(tokenizer, "①①⓪") == ["①", "①", "⓪"]


def test_digits_never_merge():
    tokenizer = train_tokenizer(["1234 1234 ①②③ ①②③"] * 50, 400)
    assert pieces(tokenizer, "1234①②") == ["1", "2", "3", "4", "①", "②"]


def test_names_are_one_token_however_rare_and_with_a_digit_at_their_end():
    texts = ["a much more frequent sentence about other things"] * 300 + ["multiply_by_2(①)", "overflow(①, ①)"]
    tokenizer = train_tokenizer(texts, 400, words=4, names=["multiply_by_2(", "overflow(", "parity("])
    assert pieces(tokenizer, "overflow(multiply_by_2(parity(①2") == ["overflow(", "multiply_by_2(", "parity(", "①", "2"]


def test_equal_texts_give_equal_tokenizers_whatever_their_order():
    texts = [f"word{n % 7} other thing {n}" for n in range(60)]
    assert train_tokenizer(texts, 380).to_str() == train_tokenizer(reversed(texts), 380).to_str()


def test_the_vocabulary_keeps_its_limit_and_begins_with_the_specials(own_tokenizer: Tokenizer):
    assert own_tokenizer.get_vocab_size() <= 400
    assert [own_tokenizer.id_to_token(n) for n in range(3)] == list(SPECIALS)


def test_a_vocabulary_too_small_is_refused():
    with pytest.raises(BadInput, match="vocab_size"):
        train_tokenizer(["a"], 100)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from("①⓪(), =\nadd"))))
def test_every_text_comes_back(text: str):
    assert TOKENIZER.decode(TOKENIZER.encode(text).ids, skip_special_tokens=False) == text


TOKENIZER = train_tokenizer(["Compute: add(①①, ①⓪) and the other words of a text"], 380)
