"""The one ChatML template of every hero: rendering to token ids, and which of them are trained.

Format: OpenAI's ChatML as used by Qwen, `<|im_start|>{role}\\n{content}<|im_end|>\\n` per message. Think blocks in
content are content like any other; none is added and none is removed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from tokenizers import Tokenizer

from realm.armory.tokenizer import END_OF_TEXT, IM_END, IM_START
from realm.core.errors import BadInput

ROLES = ("system", "user", "assistant")
TRAINED_ROLE = "assistant"
TEMPLATE = {
    "name": "chatml",
    "version": 1,
    "start": IM_START,
    "end": IM_END,
    "head": "{role}\n",
    "tail": "\n",
    "roles": ROLES,
}

# The same frame for programs that read tokenizer_config.json (transformers, vLLM).
JINJA = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


class Message(TypedDict):
    """One turn of a row."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Encoded:
    """Token ids of one row and which of them are trained, both of the same length."""

    ids: list[int]
    trained: list[bool]


class LabelMismatch(BadInput):
    """The two ways to find trained tokens disagree: the row must not be trained."""

    code = "label_mismatch"


def template_hash() -> str:
    """Return the SHA-256 of the template's definition, stored in checkpoints and evals."""
    return hashlib.sha256(json.dumps(TEMPLATE, sort_keys=True).encode()).hexdigest()


class ChatTemplate:
    """The template bound to one tokenizer; raises BadInput when the tokenizer lacks the ChatML tokens.

    Content is encoded apart from the frame and can never produce a frame token, so a text cannot forge a role.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        # A copy, because encode_special_tokens is a state of the tokenizer that other users may want otherwise.
        self._tokenizer = Tokenizer.from_str(tokenizer.to_str())
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._tokenizer.encode_special_tokens = True
        self.start_id = self._frame_id(IM_START)
        self.end_id = self._frame_id(IM_END)
        self._reserved = {self.start_id: IM_START, self.end_id: IM_END}
        stop = tokenizer.token_to_id(END_OF_TEXT)
        if stop is not None:
            self._reserved[stop] = END_OF_TEXT
        self.pad_id = self.end_id if stop is None else stop
        self.tail_ids = self._plain("\n")
        self.head_ids = {role: self._plain(f"{role}\n") for role in ROLES}

    def _frame_id(self, token: str) -> int:
        number = self._tokenizer.token_to_id(token)
        if number is None:
            raise BadInput(f"the hero's tokenizer has no token {token}", hint="use a model with a ChatML tokenizer")
        return number

    def _plain(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def _apart(self, text: str, ids: list[int]) -> list[int]:
        """Replace ids that spell a frame token (one that is not marked special) by the ids of its halves."""
        for number, token in self._reserved.items():
            if number in ids:
                pieces = [self.encode_content(piece) for piece in text.split(token)]
                halves = self._plain(token[:1]) + self._plain(token[1:])
                return [i for n, piece in enumerate(pieces) for i in ([*halves, *piece] if n else piece)]
        return ids

    def encode_content(self, text: str) -> list[int]:
        """Return the ids of plain text; special tokens spelled in it are encoded as their characters."""
        return self._apart(text, self._plain(text))

    def spell(self, text: str) -> list[int]:
        """Return `text` as one token where the tokenizer has it as such, else nothing."""
        found = self._tokenizer.token_to_id(text)
        return [] if found is None else [found]

    def encode_contents(self, texts: Sequence[str]) -> list[list[int]]:
        """Encode many texts in one call, each as `encode_content` does."""
        found = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [self._apart(text, list(one.ids)) for text, one in zip(texts, found, strict=True)]

    def render(
        self, messages: Sequence[Message], *, add_generation_prompt: bool = False, mantra: str | None = None
    ) -> Encoded:
        """Render one conversation; a `mantra` becomes the system message of a row that has none."""
        return self.render_many([messages], add_generation_prompt=add_generation_prompt, mantra=mantra)[0]

    def render_many(
        self, rows: Sequence[Sequence[Message]], *, add_generation_prompt: bool = False, mantra: str | None = None
    ) -> list[Encoded]:
        """Render many conversations; raises BadInput naming the row (from 0) that is malformed."""
        full = [with_mantra(checked(row, number), mantra) for number, row in enumerate(rows)]
        contents = list(dict.fromkeys(message["content"] for row in full for message in row))
        ids = dict(zip(contents, self.encode_contents(contents), strict=True))
        return [self._assemble(row, ids, add_generation_prompt) for row in full]

    def _assemble(self, row: Sequence[Message], contents: dict[str, list[int]], prompt: bool) -> Encoded:
        ids: list[int] = []
        trained: list[bool] = []
        for message in row:
            head, body = [self.start_id, *self.head_ids[message["role"]]], [*contents[message["content"]], self.end_id]
            ids += head + body + self.tail_ids
            trained += (
                [False] * len(head) + [message["role"] == TRAINED_ROLE] * len(body) + [False] * len(self.tail_ids)
            )
        if prompt:
            head = [self.start_id, *self.head_ids[TRAINED_ROLE]]
            ids, trained = ids + head, trained + [False] * len(head)
        return Encoded(ids, trained)

    def scan_labels(self, ids: Sequence[int]) -> list[bool]:
        """Find trained tokens from ids alone: after every assistant head up to and with the next end mark."""
        head = [self.start_id, *self.head_ids[TRAINED_ROLE]]
        trained = [False] * len(ids)
        position = 0
        while position < len(ids):
            if list(ids[position : position + len(head)]) != head:
                position += 1
                continue
            position += len(head)
            while position < len(ids):
                trained[position] = True
                position += 1
                if ids[position - 1] == self.end_id:
                    break
        return trained

    def check_labels(self, row: Encoded, name: str) -> None:
        """Raise LabelMismatch naming the row when rendering and scanning disagree."""
        scanned = self.scan_labels(row.ids)
        if scanned != row.trained:
            where = next(n for n, (a, b) in enumerate(zip(scanned, row.trained, strict=True)) if a != b)
            raise LabelMismatch(f"{name}: rendered and scanned labels differ at token {where}", hint="report this row")

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, frame tokens included."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False))


def checked(row: Any, number: int) -> Sequence[Message]:
    """Return the row when it is a list of known roles with text; raises BadInput naming row `number`."""
    if not isinstance(row, list | tuple) or not row:
        raise BadInput(f"row {number}: messages must be a list with at least one message")
    for message in row:
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            raise BadInput(f"row {number}: a message needs one of the roles {', '.join(ROLES)}")
        if not isinstance(message.get("content"), str):
            raise BadInput(f"row {number}: the content of a {message['role']} message must be text")
        if not message["content"].isascii() and any("\ud800" <= c <= "\udfff" for c in message["content"]):
            raise BadInput(f"row {number}: the content of a {message['role']} message is not valid Unicode")
    return row


def dated(mantra: str | None, day: str) -> str | None:
    """Return a mantra with its `{date}` filled in; `day` as YYYY-MM-DD."""
    return mantra.replace("{date}", day) if mantra else None


def with_mantra(row: Sequence[Message], mantra: str | None) -> Sequence[Message]:
    """Put the mantra before a row that has no system message of its own."""
    if mantra is None or row[0]["role"] == "system":
        return row
    return [{"role": "system", "content": mantra}, *row]
