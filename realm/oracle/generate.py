"""Batched generation with a key-value cache: greedy or sampled, the same tokens whoever shares the batch.

`PlainDecoder` computes Qwen3, Qwen2 and Llama shapes itself from fused weights and a static cache; any other decoder with
the same contract works too. Prompts are padded on the left, so one slot number serves all rows; positions and masks
leave the padding out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F

from realm.core.errors import Corrupt
from realm.core.seeds import derive_seed
from realm.oracle.batching import GREEDY, Completion, Finish, Sampling, plan_batches
from realm.oracle.generate_penalties import RowPenalties

# Matrix kernels round differently for other batch shapes (about 1e-5 in fp32). Greedy choices closer than this many
# logits are decided by the row computed alone, so that neighbours never change an answer.
TIE = 1e-3
# Finished rows leave the batch once this share of it is idle; copying the cache for every single one costs more.
DROP_SHARE = 0.25
CACHE_BYTES = 256 * 1024 * 1024

Weights = dict[str, torch.Tensor]


class Decoder(Protocol):
    """A model that continues rows of token ids, `rows` at a time; logits are fp32 of shape (rows, vocabulary)."""

    max_positions: int
    slot_bytes: int
    device: torch.device

    def nbytes(self) -> int: ...

    def start(self, prompts: Sequence[Sequence[int]], new_tokens: int) -> torch.Tensor: ...

    def step(self, tokens: Sequence[int]) -> torch.Tensor: ...

    def keep(self, rows: Sequence[int]) -> None: ...

    def alone(self, ids: Sequence[int]) -> torch.Tensor: ...

    def release(self) -> None: ...


def left_pad(prompts: Sequence[Sequence[int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids of shape (rows, longest), padded with 0 on the left, and the number of pads of each row."""
    longest = max(len(prompt) for prompt in prompts)
    pads = [longest - len(prompt) for prompt in prompts]
    ids = [[0] * pad + list(prompt) for pad, prompt in zip(pads, prompts, strict=True)]
    return torch.tensor(ids, device=device), torch.tensor(pads, device=device)


def is_plain(config: dict[str, Any]) -> bool:
    """Say whether `PlainDecoder` computes this config.json: full attention, default rotary positions, SiLU."""
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    return (
        config.get("model_type") in ("qwen3", "qwen2", "llama")
        and config.get("hidden_act", "silu") == "silu"
        and rope.get("rope_type", rope.get("type", "default")) == "default"
        and rope.get("partial_rotary_factor", 1.0) == 1.0
        and not config.get("use_sliding_window", False)
        and set(config.get("layer_types") or ["full_attention"]) == {"full_attention"}
        and not config.get("quantization_config")
    )


class _Layer:
    """Weights of one layer, with query, key and value (and gate and up) joined into one matrix each."""

    def __init__(self, prefix: str, find: Callable[[str], torch.Tensor], names: Weights, heads: int, kv_heads: int) -> None:
        def take(name: str) -> torch.Tensor:
            return find(prefix + name)

        def has(name: str) -> bool:
            return prefix + name in names

        def joined(part: str, parts: Sequence[str], kind: str) -> torch.Tensor:
            return torch.cat([take(f"{part}.{name}_proj.{kind}") for name in parts])

        self.norm_in = take("input_layernorm.weight")
        self.norm_mid = take("post_attention_layernorm.weight")
        biased = has("self_attn.q_proj.bias")
        self.qkv = joined("self_attn", "qkv", "weight")
        self.qkv_bias = joined("self_attn", "qkv", "bias") if biased else None
        self.out = take("self_attn.o_proj.weight")
        self.out_bias = take("self_attn.o_proj.bias") if has("self_attn.o_proj.bias") else None
        self.gate_up = joined("mlp", ("gate", "up"), "weight")
        self.gate_up_bias = joined("mlp", ("gate", "up"), "bias") if has("mlp.gate_proj.bias") else None
        self.down = take("mlp.down_proj.weight")
        self.down_bias = take("mlp.down_proj.bias") if has("mlp.down_proj.bias") else None
        self.norm_qk: torch.Tensor | None = None
        if has("self_attn.q_norm.weight"):
            query, key = take("self_attn.q_norm.weight"), take("self_attn.k_norm.weight")
            self.norm_qk = torch.cat([query.expand(heads, -1), key.expand(kv_heads, -1)])


class PlainDecoder:
    """Qwen3, Qwen2 and Llama shapes, written out: fewer and larger operations than the general model.

    Source of the computation: transformers' modeling_qwen3, to which a test compares logits. `weights` (names of
    transformers) is emptied while it is read. Raises Corrupt when a weight is missing, left over or of a wrong shape.
    """

    _keys: list[torch.Tensor]
    _values: list[torch.Tensor]

    def __init__(self, config: dict[str, Any], weights: Weights, device: str, dtype: torch.dtype) -> None:
        self.device, self.dtype = torch.device(device), dtype
        self.heads = int(config["num_attention_heads"])
        self.kv_heads = int(config.get("num_key_value_heads") or self.heads)
        self.head_dim = int(config.get("head_dim") or config["hidden_size"] // self.heads)
        self.hidden = int(config["hidden_size"])
        self.eps = float(config["rms_norm_eps"])
        self.max_positions = int(config["max_position_embeddings"])
        self.slot_bytes = 2 * int(config["num_hidden_layers"]) * self.kv_heads * self.head_dim * dtype.itemsize
        rope = config.get("rope_parameters") or {}
        theta = float(rope.get("rope_theta") or config.get("rope_theta") or 10_000.0)
        exponents = torch.arange(0, self.head_dim, 2, dtype=torch.float32) / self.head_dim
        self._inverse = (1.0 / theta**exponents).to(self.device)
        self._load(config, weights)
        self.release()

    def _load(self, config: dict[str, Any], weights: Weights) -> None:
        def take(name: str) -> torch.Tensor:
            if name not in weights:
                raise Corrupt(f"the weights have no {name}, which config.json asks for")
            return weights.pop(name).to(self.device, self.dtype)

        self._embed = take("model.embed_tokens.weight")
        self._layers = []
        for number in range(int(config["num_hidden_layers"])):
            self._layers.append(_Layer(f"model.layers.{number}.", take, weights, self.heads, self.kv_heads))
        self._norm = take("model.norm.weight")
        tied = bool(config.get("tie_word_embeddings", False))
        if tied:
            weights.pop("lm_head.weight", None)
        self._head = self._embed if tied else take("lm_head.weight")
        if weights:
            raise Corrupt(f"the weights hold {', '.join(sorted(weights)[:3])}, which config.json does not know")
        self._check_shapes(int(config["vocab_size"]), int(config["intermediate_size"]))

    def _check_shapes(self, vocabulary: int, ffn: int) -> None:
        inner, wide = self.heads * self.head_dim, (self.heads + 2 * self.kv_heads) * self.head_dim
        wanted = [(self._embed, (vocabulary, self.hidden)), (self._head, (vocabulary, self.hidden))]
        for layer in self._layers:
            wanted += [(layer.qkv, (wide, self.hidden)), (layer.out, (self.hidden, inner))]
            wanted += [(layer.gate_up, (2 * ffn, self.hidden)), (layer.down, (self.hidden, ffn))]
        for found, shape in wanted:
            if tuple(found.shape) != shape:
                raise Corrupt(f"a weight has shape {tuple(found.shape)}, config.json asks for {shape}")

    def nbytes(self) -> int:
        """Bytes of all weights in memory."""
        tensors = [self._embed, self._norm] + ([] if self._head is self._embed else [self._head])
        for layer in self._layers:
            tensors += [value for value in vars(layer).values() if value is not None]
        return sum(tensor.nbytes for tensor in tensors)

    def start(self, prompts: Sequence[Sequence[int]], new_tokens: int) -> torch.Tensor:
        """Read the prompts into a new cache with room for `new_tokens` more; returns the logits after each prompt."""
        ids, self._pads = left_pad(prompts, self.device)
        width = self._length = ids.shape[1]
        room = (len(prompts), self.kv_heads, width + new_tokens, self.head_dim)
        self._keys = [torch.empty(room, device=self.device, dtype=self.dtype) for _ in self._layers]
        self._values = [torch.empty(room, device=self.device, dtype=self.dtype) for _ in self._layers]
        self._rotation = self._angles(width + new_tokens)
        blocked = torch.arange(width + new_tokens, device=self.device) < self._pads[:, None]
        bias = torch.zeros(blocked.shape, device=self.device, dtype=self.dtype)
        self._bias = bias.masked_fill(blocked, torch.finfo(self.dtype).min)[:, None, None, :]
        self._padded = bool(self._pads.any())
        return self._logits(self._read(ids, self._pads, self._keep_in_cache)[:, -1])

    def alone(self, ids: Sequence[int]) -> torch.Tensor:
        """Return the logits (vocabulary,) after one row, computed without padding, neighbours or cache."""
        row = torch.tensor([list(ids)], device=self.device)
        pads = torch.zeros(1, dtype=torch.long, device=self.device)
        return self._logits(self._read(row, pads, lambda number, key, value: None)[:, -1])[0]

    def _keep_in_cache(self, number: int, key: torch.Tensor, value: torch.Tensor) -> None:
        self._keys[number][:, :, : key.shape[2]] = key
        self._values[number][:, :, : key.shape[2]] = value

    def _angles(self, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        angles = torch.arange(length, device=self.device, dtype=torch.float32)[:, None] * self._inverse
        sine = angles.sin()
        # The sign of rotate_half is folded into the sine: x * cos + roll(x, half) * sine.
        return angles.cos().repeat(1, 2).to(self.dtype), torch.cat([-sine, sine], -1).to(self.dtype)

    def _read(
        self, ids: torch.Tensor, pads: torch.Tensor, store: Callable[[int, torch.Tensor, torch.Tensor], None]
    ) -> torch.Tensor:
        """Return the hidden states of whole rows (rows, width, hidden); `store` gets every layer's keys and values."""
        slots = torch.arange(ids.shape[1], device=self.device)
        positions = (slots - pads[:, None]).clamp(min=0)
        cos, sin = (table[positions][:, :, None] for table in self._angles(ids.shape[1]))
        mask = None
        if bool(pads.any()):
            seen = (slots >= pads[:, None])[:, None, :] & (slots[:, None] >= slots)
            # A pad sees itself, because attention without any key has no value.
            mask = (seen | torch.eye(len(slots), dtype=torch.bool, device=self.device))[:, None]
        hidden = F.embedding(ids, self._embed)
        for number, layer in enumerate(self._layers):
            query, key, value = (part.transpose(1, 2) for part in self._project(layer, hidden, cos, sin))
            store(number, key, value)
            mixed = F.scaled_dot_product_attention(
                query, key, value, attn_mask=mask, is_causal=mask is None, enable_gqa=self.heads != self.kv_heads
            )
            hidden = self._finish(layer, hidden, mixed.transpose(1, 2).flatten(2))
        return hidden

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """Append one token to every row; returns the next logits."""
        ids = torch.tensor(tokens, device=self.device)
        slot, rows = self._length, len(tokens)
        positions = slot - self._pads
        cos, sin = (table[positions][:, None] for table in self._rotation)
        self._length += 1
        scale = self.head_dim**-0.5
        hidden = F.embedding(ids, self._embed)
        for number, layer in enumerate(self._layers):
            query, key, value = self._project(layer, hidden, cos, sin)
            keys, values = self._keys[number], self._values[number]
            keys[:, :, slot], values[:, :, slot] = key, value
            grouped = query.reshape(rows, self.kv_heads, -1, self.head_dim) * scale
            scores = grouped @ keys[:, :, : slot + 1].transpose(2, 3)
            if self._padded:
                scores = scores + self._bias[..., : slot + 1]
            mixed = torch.softmax(scores, -1) @ values[:, :, : slot + 1]
            hidden = self._finish(layer, hidden, mixed.reshape(rows, -1))
        return self._logits(hidden)

    def _project(
        self, layer: _Layer, hidden: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return rotated query and key and the value, each (..., heads, head_dim)."""
        normed = F.rms_norm(hidden, (self.hidden,), layer.norm_in, self.eps)
        joined = F.linear(normed, layer.qkv, layer.qkv_bias)
        joined = joined.view(*joined.shape[:-1], -1, self.head_dim)
        rotated = self.heads + self.kv_heads
        both, value = joined[..., :rotated, :], joined[..., rotated:, :]
        if layer.norm_qk is not None:
            both = F.rms_norm(both, (self.head_dim,), None, self.eps) * layer.norm_qk
        both = torch.addcmul(both * cos, both.roll(self.head_dim // 2, -1), sin)
        return both[..., : self.heads, :], both[..., self.heads :, :], value

    def _finish(self, layer: _Layer, hidden: torch.Tensor, mixed: torch.Tensor) -> torch.Tensor:
        hidden = hidden + F.linear(mixed, layer.out, layer.out_bias)
        normed = F.rms_norm(hidden, (self.hidden,), layer.norm_mid, self.eps)
        gate, up = F.linear(normed, layer.gate_up, layer.gate_up_bias).chunk(2, -1)
        return hidden + F.linear(F.silu(gate) * up, layer.down, layer.down_bias)

    def _logits(self, hidden: torch.Tensor) -> torch.Tensor:
        return F.linear(F.rms_norm(hidden, (self.hidden,), self._norm, self.eps), self._head).float()

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows only."""
        chosen = torch.tensor(list(rows), device=self.device)
        self._keys = [cache[chosen] for cache in self._keys]
        self._values = [cache[chosen] for cache in self._values]
        self._pads, self._bias = self._pads[chosen], self._bias[chosen]

    def release(self) -> None:
        """Free the cache."""
        self._keys, self._values = [], []


class _Chooser:
    """Picks the next token of every row: greedy with ties decided alone, or sampled with a generator per row."""

    def __init__(
        self, decoder: Decoder, sampling: Sampling, numbers: Sequence[int], penalties: RowPenalties | None = None
    ) -> None:
        self._decoder, self._sampling, self._penalties = decoder, sampling, penalties
        self._sources = [
            torch.Generator().manual_seed(derive_seed("oracle", sampling.seed, number) % 2**63) for number in numbers
        ]

    def pick(
        self, logits: torch.Tensor, rows: Sequence[int], made: Sequence[list[int]], text: Callable[[int], list[int] | None]
    ) -> list[int]:
        """Return one token per row of `logits`; `rows` are their numbers in the batch, `made` what those have generated.

        `text` gives the ids of a live row, prompt and all.
        """
        if self._penalties is not None:
            logits = self._penalties.apply(logits, made)
        best = logits.max(-1)
        if not bool(torch.isfinite(best.values).all()):
            raise Corrupt("the model's logits are not finite", hint="this checkpoint cannot answer; choose another step")
        if self._sampling.greedy:
            close = (logits >= best.values[:, None] - TIE).sum(-1) > 1
            tokens: list[int] = best.indices.tolist()
            for place in close.nonzero()[:, 0].tolist():
                ids = text(rows[place])
                if ids is not None:
                    alone = self._decoder.alone(ids)[None]
                    alone = alone if self._penalties is None else self._penalties.apply(alone, [made[place]])
                    tokens[place] = int(alone[0].argmax())
            return tokens
        return [self._draw(line, self._sources[row]) for line, row in zip(logits.cpu(), rows, strict=True)]

    def _draw(self, logits: torch.Tensor, source: torch.Generator) -> int:
        ordered = torch.softmax(logits / self._sampling.temperature, -1).sort(descending=True)
        # A token stays when the mass before it is still under top_p; the most likely one always does.
        before = ordered.values.cumsum(-1) - ordered.values
        kept = ordered.values * (before < self._sampling.top_p)
        return int(ordered.indices[torch.multinomial(kept, 1, generator=source)])


@torch.inference_mode()
def generate(
    decoder: Decoder,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    stop_ids: frozenset[int],
    sampling: Sampling = GREEDY,
    penalties: RowPenalties | None = None,
    check: Callable[[], None] = lambda: None,
    on_token: Callable[[int, int], None] = lambda row, token: None,
) -> list[Completion]:
    """Continue every prompt (token ids, not empty) by up to `max_new_tokens`; answers come in the order of the prompts.

    A row ends at a stop id ("stop") or at the limit ("length"). In fp32 a greedy answer depends on its prompt alone.
    `check` is called before every step and may raise to end the work; `on_token(row, token)` reports as it goes.
    """
    slots = max(1, CACHE_BYTES // decoder.slot_bytes)
    answers: dict[int, Completion] = {}
    for batch in plan_batches([len(prompt) for prompt in prompts], max_new_tokens, slots=slots):
        chooser = _Chooser(decoder, sampling, batch, penalties)
        part = [prompts[number] for number in batch]
        report = lambda row, token, batch=batch: on_token(batch[row], token)  # noqa: E731
        try:
            found = _run_batch(decoder, part, chooser, max_new_tokens, stop_ids, check, report)
        finally:
            decoder.release()
        answers.update(zip(batch, found, strict=True))
    return [answers[number] for number in range(len(prompts))]


def _run_batch(
    decoder: Decoder,
    prompts: Sequence[Sequence[int]],
    chooser: _Chooser,
    limit: int,
    stop_ids: frozenset[int],
    check: Callable[[], None],
    on_token: Callable[[int, int], None],
) -> list[Completion]:
    made: list[list[int]] = [[] for _ in prompts]
    finish: list[Finish | None] = [None for _ in prompts]
    rows = list(range(len(prompts)))
    check()
    logits = decoder.start(prompts, limit)
    for count in range(1, limit + 1):
        so_far = [made[row] for row in rows]
        tokens = chooser.pick(logits, rows, so_far, lambda row: None if finish[row] else [*prompts[row], *made[row]])
        for row, token in zip(rows, tokens, strict=True):
            if finish[row] is None:
                _take(row, token, made, finish, stop_ids, on_token)
        live = [place for place, row in enumerate(rows) if finish[row] is None]
        if not live or count == limit:
            break
        if len(live) <= (1 - DROP_SHARE) * len(rows):
            decoder.keep(live)
            rows, tokens = [rows[place] for place in live], [tokens[place] for place in live]
        check()
        logits = decoder.step(tokens)
    return [Completion(ids, reason or "length") for ids, reason in zip(made, finish, strict=True)]


def _take(
    row: int, token: int, made: list[list[int]], finish: list[Finish | None], stop_ids: frozenset[int],
    on_token: Callable[[int, int], None],
) -> None:  # fmt: skip
    if token in stop_ids:
        finish[row] = "stop"
        return
    made[row].append(token)
    on_token(row, token)
