"""Whether an exported hero answers as the checkpoint it was made of: greedy tokens of both, compared.

Imports torch for the answers of the checkpoint and transformers or llama.cpp for those of the export; whichever is installed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from realm.core.errors import Unavailable
from realm.oracle.checkpoints import Verified
from realm.oracle.generate import generate
from realm.oracle.mind import open_mind

NEW_TOKENS = 32
Answers = Callable[[Sequence[Sequence[int]], int, frozenset[int]], list[list[int]]]


@dataclass(frozen=True)
class Proof:
    """By what an export was checked: how many of `asked` greedy answers were equal, token by token, and those that were not."""

    by: str
    asked: int
    equal: int
    differ: list[int] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return self.equal == self.asked


def prove(read: Verified, prompts: Sequence[str], by: str, theirs: Answers) -> Proof:
    """Compare the greedy answers of a checkpoint with those of an export; both are given the same prompt tokens."""
    mind = open_mind(read)
    asked = mind.encode([[{"role": "user", "content": prompt}] for prompt in prompts], NEW_TOKENS)
    done = generate(mind._decoder, asked, max_new_tokens=NEW_TOKENS, stop_ids=mind._stop_ids)
    ours = [list(one.ids) for one in done]
    found = theirs(asked, NEW_TOKENS, mind._stop_ids)
    differ = [number for number, (one, other) in enumerate(zip(ours, found, strict=True)) if one != other]
    return Proof(by, len(asked), len(asked) - len(differ), differ)


def by_transformers(folder: Path, gguf: str | None = None, config: Path | None = None) -> Answers:
    """Return the answers of a folder, or of a GGUF file in it, as transformers gives them in fp32.

    transformers does not read the head size from a GGUF file, so the shape comes from the config.json of `config`.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    more = {"gguf_file": gguf, "config": AutoConfig.from_pretrained(config)} if gguf else {}
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True, **more).eval()

    def answers(prompts: Sequence[Sequence[int]], new: int, stop: frozenset[int]) -> list[list[int]]:
        return [_greedy(lambda ids: model(torch.tensor([ids])).logits[0, -1], prompt, new, stop) for prompt in prompts]

    return answers


@torch.no_grad()
def _greedy(
    logits: Callable[[list[int]], torch.Tensor], prompt: Sequence[int], new: int, stop: frozenset[int]
) -> list[int]:
    ids: list[int] = []
    while len(ids) < new:
        token = int(logits([*prompt, *ids]).argmax())
        if token in stop:
            break
        ids.append(token)
    return ids


def by_llama_cpp(file: Path) -> Answers:
    """Return the answers of a GGUF file as llama.cpp gives them; raises Unavailable without llama-cpp-python."""
    try:
        from llama_cpp import Llama  # type: ignore[import-not-found,unused-ignore]
    except (ImportError, OSError, RuntimeError) as error:
        raise Unavailable("llama-cpp-python is not installed") from error
    model = Llama(model_path=str(file), n_ctx=0, n_threads=1, verbose=False)

    def answers(prompts: Sequence[Sequence[int]], new: int, stop: frozenset[int]) -> list[list[int]]:
        found = []
        for prompt in prompts:
            ids: list[int] = []
            model.reset()
            for token in model.generate(list(prompt), top_k=1, temp=0.0, repeat_penalty=1.0):
                if token in stop or len(ids) == new:
                    break
                ids.append(int(token))
            found.append(ids)
        return found

    return answers
