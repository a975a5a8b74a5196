"""From rows of messages to encoded rows: token ids, label mask, and the row's number in its quest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from realm.armory.template import ChatTemplate, Message
from realm.core.errors import BadInput


@dataclass(frozen=True, slots=True)
class EncodedRow:
    """One training row: `ids` and `trained` have the same length, `index` is its line in the quest (from 0)."""

    ids: list[int]
    trained: list[bool]
    index: int

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class FormedQuest:
    """Rows fit for training, and (index, tokens) of rows longer than the limit, which are not among them."""

    rows: list[EncodedRow]
    too_long: list[tuple[int, int]]


class NothingTrained(BadInput):
    """A row or batch in which no token is trained."""

    code = "nothing_trained"


def form_quest(
    rows: Sequence[Sequence[Message]],
    template: ChatTemplate,
    max_length: int,
    *,
    mantra: str | None = None,
    name: str = "quest",
) -> FormedQuest:
    """Encode a quest's rows; labels found by rendering and by scanning must agree on every row.

    `rows[i]` is the `messages` list of line i. Raises BadInput naming the malformed row, LabelMismatch on disagreement,
    NothingTrained for a row without a trained token.
    """
    encoded, too_long = [], []
    for index, row in enumerate(template.render_many(rows, mantra=mantra)):
        template.check_labels(row, f"{name}, row {index}")
        if not any(row.trained):
            raise NothingTrained(f"{name}, row {index}: no token is trained", hint="the row needs an assistant message")
        if len(row.ids) > max_length:
            too_long.append((index, len(row.ids)))
        else:
            encoded.append(EncodedRow(row.ids, row.trained, index))
    return FormedQuest(encoded, too_long)


def refuse_too_long(quest: FormedQuest, max_length: int, name: str) -> None:
    """Raise BadInput naming the first rows that are longer than `max_length` tokens."""
    if quest.too_long:
        listed = ", ".join(f"row {index} ({tokens})" for index, tokens in quest.too_long[:5])
        raise BadInput(f"{name}: {len(quest.too_long)} rows are longer than {max_length} tokens: {listed}",
                       hint="raise max_length or shorten the rows")  # fmt: skip
