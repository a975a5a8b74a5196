"""A mind: one verified checkpoint in memory, with its tokenizer, template and mantra, ready to answer."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load
from tokenizers import Tokenizer

from realm.armory.profiles import Penalties, Profile, dress, get_profile, longest_dress, with_system
from realm.armory.template import ChatTemplate, Message, dated, template_hash
from realm.armory.tokenizer import END_OF_TEXT
from realm.core.errors import BadInput, Conflict, Corrupt
from realm.oracle.batching import GREEDY, Answer, Sampling
from realm.oracle.checkpoints import Verified
from realm.oracle.generate import Decoder, PlainDecoder, generate, is_plain, left_pad
from realm.oracle.generate_penalties import RowPenalties


class HubDecoder:
    """Any transformers causal LM, stepped with its own cache; the same contract as `PlainDecoder`."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.device = next(model.parameters()).device
        config = model.config.get_text_config()
        self.max_positions = int(getattr(config, "max_position_embeddings", 2048))
        heads = int(getattr(config, "num_key_value_heads", None) or config.num_attention_heads)
        head_dim = int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
        self.slot_bytes = 2 * int(config.num_hidden_layers) * heads * head_dim * next(model.parameters()).dtype.itemsize
        self._positions = "position_ids" in inspect.signature(model.forward).parameters
        self.release()

    def nbytes(self) -> int:
        """Bytes of all weights in memory."""
        return sum(int(tensor.nbytes) for tensor in self._model.parameters())

    def start(self, prompts: Sequence[Sequence[int]], new_tokens: int) -> torch.Tensor:
        """Read the prompts into a new cache; returns the logits after each prompt."""
        ids, pads = left_pad(prompts, self.device)
        self._mask = (torch.arange(ids.shape[1], device=self.device) >= pads[:, None]).long()
        self._cache: Any = None
        return self._forward(ids, (self._mask.cumsum(-1) - 1).clamp(min=0))

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """Append one token to every row; returns the next logits."""
        positions = self._mask.sum(-1, keepdim=True)
        self._mask = F.pad(self._mask, (0, 1), value=1)
        return self._forward(torch.tensor(tokens, device=self.device)[:, None], positions)

    def _forward(self, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        more = {"position_ids": positions} if self._positions else {}
        found = self._model(
            input_ids=ids, attention_mask=self._mask, past_key_values=self._cache, use_cache=True, logits_to_keep=1, **more
        )
        self._cache = found.past_key_values
        logits: torch.Tensor = found.logits[:, -1].float()
        return logits

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows only."""
        chosen = torch.tensor(list(rows), device=self.device)
        self._cache.batch_select_indices(chosen)
        self._mask = self._mask[chosen]

    def alone(self, ids: Sequence[int]) -> torch.Tensor:
        """Return the logits (vocabulary,) after one row, computed without padding, neighbours or cache."""
        row = torch.tensor([list(ids)], device=self.device)
        logits: torch.Tensor = self._model(input_ids=row, use_cache=False, logits_to_keep=1).logits[0, -1].float()
        return logits

    def release(self) -> None:
        """Free the cache."""
        self._cache = None


class Mind:
    """A loaded checkpoint; `answer` is not re-entrant, the caller gives turns."""

    def __init__(self, read: Verified, decoder: Decoder, template: ChatTemplate, stop_ids: frozenset[int]) -> None:
        self.step = read.source.step
        self.model = read.model
        self.model_path = read.source.model_path
        self.weights_sha256 = read.weights_sha256
        self.hero = str(read.hero.get("id", ""))
        self.template_hash = template_hash()
        self.nbytes = decoder.nbytes()
        self.device = str(decoder.device)
        self.profile = read.profile
        mantra, profile = read.hero.get("mantra"), get_profile(read.profile)
        self._mantra = with_system(profile, dated(str(mantra), read.day) if mantra is not None else None)
        self._decoder, self._template, self._stop_ids = decoder, template, stop_ids
        self._profile, self._penalties = profile, penalties_of(profile, template)
        self._frame = frame_tokens(profile, template)

    def encode(self, rows: Sequence[Sequence[Message]], max_new_tokens: int) -> list[list[int]]:
        """Render conversations, asked as the profile asks, up to the start of the answer.

        Raises BadInput for one that does not fit the context.
        """
        rows = [dress(self._profile, row, 0) for row in rows] if self._profile.system else rows
        prompts = [e.ids for e in self._template.render_many(rows, add_generation_prompt=True, mantra=self._mantra)]
        for number, ids in enumerate(prompts):
            if len(ids) + max_new_tokens > self._decoder.max_positions:
                raise BadInput(
                    f"prompt {number} has {len(ids)} tokens; with {max_new_tokens} new ones it is over the context of "
                    f"{self._decoder.max_positions}",
                    hint="shorten the prompt or lower max_new_tokens",
                )
        return prompts

    def answer(
        self,
        rows: Sequence[Sequence[Message]],
        *,
        max_new_tokens: int,
        sampling: Sampling = GREEDY,
        check: Callable[[], None] = lambda: None,
        on_text: Callable[[str], None] | None = None,
    ) -> list[Answer]:
        """Answer every conversation, in order. `on_text` gets the text so far of a single conversation as it grows.

        What the hero's profile puts around an answer does not count against `max_new_tokens`.
        """
        max_new_tokens += self._frame
        prompts = self.encode(rows, max_new_tokens)
        so_far: list[int] = []

        def grow(_row: int, token: int) -> None:
            if on_text is not None:
                so_far.append(token)
                on_text(self._template.decode(so_far))

        done = generate(
            self._decoder,
            prompts,
            max_new_tokens=max_new_tokens,
            stop_ids=self._stop_ids,
            sampling=sampling,
            penalties=self._penalties,
            check=check,
            on_token=grow,
        )
        return [
            Answer(self._template.decode(one.ids), one.finish_reason, one.tokens, len(prompt))
            for one, prompt in zip(done, prompts, strict=True)
        ]


def penalties_of(profile: Profile, template: ChatTemplate) -> RowPenalties | None:
    """Return the profile's penalties for this tokenizer, None when it has none."""
    if profile.penalties == Penalties():
        return None
    return RowPenalties(profile.penalties, template.encode_content, template.spell, template.decode, template.end_id)


def frame_tokens(profile: Profile, template: ChatTemplate) -> int:
    """Return how many tokens the profile puts around an answer at most."""
    (answer,) = longest_dress(profile, [{"role": "assistant", "content": ""}])
    return len(template.encode_content(answer["content"]))


def use_threads() -> int:
    """Set and return torch's threads: REALM_ORACLE_THREADS, else 1 on up to two cores and half of the cores on more.

    Training shares the machine; waiting threads of both slow each other down far more than a thread gains.
    """
    text = os.environ.get("REALM_ORACLE_THREADS", "")
    if text and not (text.isdigit() and int(text) > 0):
        raise BadInput(f"REALM_ORACLE_THREADS {text!r} is not a whole number above 0")
    cores = os.cpu_count() or 1
    threads = int(text) if text else max(1, cores // 2)
    torch.set_num_threads(threads)
    return threads


def choose_device() -> str:
    """Return REALM_ORACLE_DEVICE, else cuda when torch finds one, else cpu."""
    return os.environ.get("REALM_ORACLE_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")


def open_mind(read: Verified) -> Mind:
    """Make a mind from verified bytes.

    Raises Corrupt when the bytes are no model, Conflict for a hero that was trained with another template.
    """
    trained_with = read.trained_template
    if trained_with is not None and trained_with != template_hash():
        raise Conflict(
            f"{read.model} was trained with template {trained_with[:12]}, this version renders {template_hash()[:12]}",
            hint="answers under another template say nothing about the hero; use the version that trained it",
        )
    tokenizer = Tokenizer.from_str(read.tokenizer.decode())
    template = ChatTemplate(tokenizer)
    decoder = _decoder(read)
    ends = read.config.get("eos_token_id")
    named = ends if isinstance(ends, list) else [ends]
    stops = {template.end_id, tokenizer.token_to_id(END_OF_TEXT), *named} - {None}
    return Mind(read, decoder, template, frozenset(stops))


def _decoder(read: Verified) -> Decoder:
    try:
        weights = load(read.weights)
    except (SafetensorError, ValueError) as error:
        raise Corrupt(f"{read.source.model_path}: the weights are not safetensors: {error}") from error
    device = choose_device()
    stored = {tensor.dtype for tensor in weights.values()}
    # Half precision only where the weights are stored so and the device computes it fast.
    dtype = torch.bfloat16 if device != "cpu" and torch.bfloat16 in stored else torch.float32
    if is_plain(read.config):
        try:
            return PlainDecoder(read.config, weights, device, dtype)
        except KeyError as error:
            raise Corrupt(f"{read.source.model_path}/config.json has no {error}") from error
    return HubDecoder(_hub_model(read, weights, device, dtype))


def _hub_model(read: Verified, weights: dict[str, torch.Tensor], device: str, dtype: torch.dtype) -> Any:
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    table = dict(read.config)
    try:
        config = AutoConfig.for_model(table.pop("model_type"), **table)
        kind = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
        model, report = kind.from_pretrained(
            None, config=config, state_dict=weights, output_loading_info=True, dtype=dtype, attn_implementation="sdpa"
        )
    except (KeyError, ValueError, RuntimeError) as error:
        raise Corrupt(f"{read.source.model_path}: the model cannot be loaded: {error}") from error
    wrong = sorted([*report["missing_keys"], *report["unexpected_keys"], *map(str, report["mismatched_keys"])])
    if wrong:
        raise Corrupt(f"{read.source.model_path}: weights and config do not fit: {', '.join(wrong[:5])}")
    return model.to(device).eval()
