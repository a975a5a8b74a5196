"""A tokenizer.json as the tokenizer tables of a GGUF file, and whether llama.cpp will cut text as it does.

llama.cpp knows pre-tokenisers by name only (`tokenizer.ggml.pre`); the patterns here are those of its source, llama-vocab.cpp.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import Regex, Tokenizer, pre_tokenizers

from realm.core.errors import BadInput

_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
# name -> (pattern, whether a piece that is in the vocabulary is one token without merges)
PRE = {"qwen2": (_WORDS + r"\p{N}" + _REST, False), "llama-bpe": (_WORDS + r"\p{N}{1,3}" + _REST, True)}
NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5


@dataclass(frozen=True)
class Tokens:
    """What a GGUF file says of a tokenizer; `exact` is false when `pre` is only the nearest that llama.cpp has."""

    tokens: list[str]
    types: list[int]
    merges: list[str]
    pre: str
    exact: bool


def tokens_of(tokenizer_json: bytes, vocabulary: int) -> Tokens:
    """Return the tables of a byte-level BPE tokenizer, filled up to `vocabulary` ids; raises BadInput for another kind."""
    told = json.loads(tokenizer_json)
    if told["model"]["type"] != "BPE":
        raise BadInput(f"a {told['model']['type']} tokenizer cannot be written as GGUF here", hint="export as hf")
    names = {number: token for token, number in told["model"]["vocab"].items()}
    types = dict.fromkeys(names, NORMAL)
    for added in told["added_tokens"]:
        names[added["id"]] = added["content"]
        types[added["id"]] = CONTROL if added["special"] else USER_DEFINED
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in told["model"]["merges"]]
    pre, exact = _pre(told)
    ids = range(max(vocabulary, max(names) + 1))
    return Tokens([names.get(i, f"[PAD{i}]") for i in ids], [types.get(i, UNUSED) for i in ids], merges, pre, exact)


def _pre(told: dict[str, Any]) -> tuple[str, bool]:
    found = told.get("pre_tokenizer") or {}
    parts = found.get("pretokenizers", [found])
    pattern = next((part["pattern"].get("Regex") for part in parts if part.get("type") == "Split"), None)
    ignore = bool(told["model"].get("ignore_merges"))
    for name, (known, ignores) in PRE.items():
        if pattern == known and ignore == ignores:
            return name, True
    return ("llama-bpe" if ignore else "qwen2"), False


def cut_otherwise(tokenizer_json: bytes, pre: str, texts: Sequence[str]) -> int:
    """Return how many texts llama.cpp's pre-tokeniser `pre` would cut into other tokens than this tokenizer does."""
    told = json.loads(tokenizer_json)
    pattern, told["model"]["ignore_merges"] = PRE[pre]
    ours, theirs = Tokenizer.from_str(tokenizer_json.decode()), Tokenizer.from_str(json.dumps(told))
    split = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    theirs.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    return sum(ours.encode(text, add_special_tokens=False).ids != theirs.encode(text, add_special_tokens=False).ids
               for text in texts)  # fmt: skip
