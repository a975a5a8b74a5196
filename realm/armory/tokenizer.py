"""Training of a small byte-level BPE tokenizer for a hero that is made here.

The skill's frequent words become one token each, so that rows stay short; digits and circled digits stay single.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from realm.core.errors import BadInput

IM_START, IM_END, END_OF_TEXT = "<|im_start|>", "<|im_end|>", "<|endoftext|>"
SPECIALS = (END_OF_TEXT, IM_START, IM_END)
FRAME = ("system\n", "user\n", "assistant\n")
CIRCLED = "\u2460-\u24ff"

# One piece never crosses these borders. A word keeps the sign that follows it in calls, labels and role lines, so that
# "Compute: ", "add(" and "user\n" can be one token; digits of any kind are alone, but for the end of a name such as "by_2".
PIECES = rf"[{CIRCLED}]|\p{{N}}|\) = |, | ?[\p{{L}}_]+(?:(?<=_)\p{{N}}+)?(?:: |\(|\n)?| ?[^\s\p{{L}}\p{{N}}_{CIRCLED}]|\n+|\s"


def _pre_tokenizer() -> pre_tokenizers.PreTokenizer:
    split = pre_tokenizers.Split(Regex(PIECES), behavior="isolated")
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def _piece_counts(texts: Iterable[str]) -> Counter[str]:
    cutter = _pre_tokenizer()
    counts: Counter[str] = Counter()
    for text, times in Counter(texts).items():
        for piece, _ in cutter.pre_tokenize_str(text):
            counts[piece] += times
    return counts


def _whole_pieces(counts: Counter[str], words: int, names: Iterable[str]) -> list[str]:
    """Pieces that are one token: role lines, circled digits seen, `names`, then those that shorten the texts most."""
    cutter = _pre_tokenizer()
    frame = [cutter.pre_tokenize_str(text)[0][0] for text in (*FRAME, "\u24ea", "\u2460", *names)]
    circled = [p for p in sorted(counts) if _is_circled(p)]
    saving = {piece: count * (len(piece) - 1) for piece, count in counts.items() if len(piece) > 1}
    best = sorted(saving, key=lambda piece: (-saving[piece], piece))[:words]
    return list(dict.fromkeys([*frame, *circled, *best]))


def _is_circled(piece: str) -> bool:
    text: str = decoders.ByteLevel().decode([piece])
    return len(text) == 1 and "\u2460" <= text <= "\u24ff"


def _learned_merges(counts: Counter[str], room: int) -> list[tuple[str, str]]:
    """Byte-pair merges over the pieces, at most `room`; circled digits take no part."""
    learner = Tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(vocab_size=256 + room, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                  show_progress=False, min_frequency=2)  # fmt: skip
    kept = sorted((piece, count) for piece, count in counts.items() if not _is_circled(piece))
    learner.train_from_iterator((piece for piece, count in kept for _ in range(min(count, 1000))), trainer)
    merges = json.loads(learner.to_str())["model"]["merges"]
    return [(left, right) for left, right in merges]


def train_tokenizer(texts: Iterable[str], vocab_size: int, *, words: int = 64, names: Iterable[str] = ()) -> Tokenizer:
    """Train a tokenizer on `texts`: ids are specials, 256 bytes, whole pieces, then BPE merges, at most `vocab_size`.

    Each of `names` ("add(") is one token however rare it is. The same texts give the same tokenizer. Raises BadInput when
    `vocab_size` cannot hold the fixed part.
    """
    counts = _piece_counts(texts)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = list(dict.fromkeys([*SPECIALS, *alphabet, *_whole_pieces(counts, words, names)]))
    if len(tokens) > vocab_size:
        raise BadInput(f"a vocabulary of {vocab_size} cannot hold {len(tokens)} fixed tokens", hint="raise vocab_size")
    merges = _learned_merges(counts, vocab_size - len(tokens))
    known, kept = set(tokens), []
    for left, right in merges:
        if len(tokens) == vocab_size:
            break
        kept.append((left, right))
        if left + right not in known:
            known.add(left + right)
            tokens.append(left + right)
    vocabulary = {token: number for number, token in enumerate(tokens)}
    # ignore_merges: a piece that is in the vocabulary is one token without a chain of merges leading to it.
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=kept, ignore_merges=True))
    tokenizer.pre_tokenizer = _pre_tokenizer()
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIALS])
    return tokenizer
