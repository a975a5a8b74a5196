"""Five checks of the label mask that run on every quest before its first step, on real tokens (no padding).

Names and limits are the seed's: MaskingRatio 30-85 % masked with an abort below 25 %, ResponseTemplateCount,
TrainedTokenContent, PackedSequence, LabelDistribution.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from realm.arena.formation.rows import EncodedRow
from realm.armory.template import TRAINED_ROLE, ChatTemplate
from realm.core.errors import BadInput

MASKED_LOW, MASKED_HIGH, MASKED_ABORT = 0.30, 0.85, 0.25
ONE_TOKEN_SHARE = 0.95
ENOUGH_TOKENS = 200  # below this many trained tokens a dominant token says nothing


@dataclass(frozen=True)
class Check:
    """Result of one validator: what was found against which limit, the first offending row (line of the quest).

    A check that is not `passed` is a remark; one that also `aborts` forbids training.
    """

    name: str
    passed: bool
    aborts: bool
    found: str
    limit: str
    row: int | None = None


@dataclass(frozen=True)
class MaskingReport:
    """The five checks of one quest."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    @property
    def aborting(self) -> tuple[Check, ...]:
        """Checks that forbid training."""
        return tuple(check for check in self.checks if check.aborts)

    def as_json(self) -> list[dict[str, Any]]:
        """Return the checks as plain tables."""
        return [asdict(check) for check in self.checks]


class BadMask(BadInput):
    """The label mask of a quest is wrong; it must not be trained."""

    code = "bad_mask"


def regions(trained: Sequence[bool]) -> list[tuple[int, int]]:
    """Return (begin, end) of every run of trained tokens."""
    edges = [n for n in range(len(trained) + 1) if (n < len(trained) and trained[n]) != (n > 0 and trained[n - 1])]
    return list(zip(edges[::2], edges[1::2], strict=True))


def assistant_heads(ids: Sequence[int], template: ChatTemplate) -> list[int]:
    """Return the positions right after each assistant head."""
    head = [template.start_id, *template.head_ids[TRAINED_ROLE]]
    size = len(head)
    return [n + size for n, token in enumerate(ids) if token == head[0] and list(ids[n : n + size]) == head]


def masking_ratio(rows: Sequence[EncodedRow], abort_below: float) -> Check:
    """Share of masked tokens over the whole quest: 30 to 85 %, abort below `abort_below` (the seed's 25 %).

    Right labels can fall below it where answers dwarf their prompts (measured on BIN with the tiny hero's tokenizer: brief
    53-57 %, show-work 33-34 %, traces alone 14-19 %), so the floor is the caller's to lower, knowingly.
    """
    masked = sum(row.trained.count(False) for row in rows)
    ratio = masked / max(1, sum(map(len, rows)))
    least = min(rows, key=lambda row: row.trained.count(False) / len(row), default=None)
    passed = MASKED_LOW <= ratio <= MASKED_HIGH
    return Check("MaskingRatio", passed, ratio < abort_below, f"{ratio:.1%} masked",
                 f"{MASKED_LOW:.0%} to {MASKED_HIGH:.0%}, abort below {abort_below:.0%}",
                 None if passed or least is None else least.index)  # fmt: skip


def response_template_count(rows: Sequence[EncodedRow], template: ChatTemplate) -> Check:
    """Every assistant head opens exactly one trained region and every region follows a head."""
    heads = 0
    for row in rows:
        places = assistant_heads(row.ids, template)
        heads += len(places)
        begins = [begin for begin, _ in regions(row.trained)]
        if places != begins or not places:
            found = f"{len(places)} assistant heads, {len(begins)} trained regions"
            return Check("ResponseTemplateCount", False, True, found, "one region behind each head", row.index)
    return Check("ResponseTemplateCount", True, False, f"{heads} heads, {heads} regions", "one region behind each head")


def trained_token_content(rows: Sequence[EncodedRow], template: ChatTemplate) -> Check:
    """No instruction marker is trained, and each region ends with its one end mark."""
    limit = "no <|im_start|>, one <|im_end|> at the end of each region"
    for row in rows:
        for begin, end in regions(row.trained):
            inside = row.ids[begin:end]
            if template.start_id in inside:
                return Check("TrainedTokenContent", False, True, "<|im_start|> is trained", limit, row.index)
            if inside.count(template.end_id) != 1 or inside[-1] != template.end_id:
                found = f"a region with {inside.count(template.end_id)} end marks"
                return Check("TrainedTokenContent", False, True, found, limit, row.index)
    return Check("TrainedTokenContent", True, False, "only answers and their end marks", limit)


def packed_sequence(rows: Sequence[EncodedRow], template: ChatTemplate) -> Check:
    """Within a row masked and trained stretches alternate, beginning masked, so no document starts inside an answer."""
    limit = "begins masked; masked and trained alternate"
    stretches = 0
    for row in rows:
        found = regions(row.trained)
        stretches += len(found)
        starts = row.ids.count(template.start_id)
        if row.trained[0] or row.ids[0] != template.start_id:
            return Check("PackedSequence", False, True, "begins without a masked head", limit, row.index)
        if len(found) > starts:
            text = f"{len(found)} trained stretches for {starts} messages"
            return Check("PackedSequence", False, True, text, limit, row.index)
    return Check("PackedSequence", True, False, f"{stretches} trained stretches in {len(rows)} rows", limit)


def label_distribution(rows: Sequence[EncodedRow], template: ChatTemplate) -> Check:
    """Every row trains something, and no single token makes up nearly all labels (end marks aside)."""
    limit = f"no row without labels; one token at most {ONE_TOKEN_SHARE:.0%}"
    counts: Counter[int] = Counter()
    for row in rows:
        if not any(row.trained):
            return Check("LabelDistribution", False, True, "a row without labels", limit, row.index)
        counts.update(token for token, trained in zip(row.ids, row.trained, strict=True) if trained)
    del counts[template.end_id]
    total = sum(counts.values())
    token, times = counts.most_common(1)[0] if counts else (template.end_id, 0)
    share = times / total if total else 0.0
    found = f"{len(counts)} different tokens, the most frequent {template.decode([token])!r} {share:.0%}"
    if total < ENOUGH_TOKENS or share <= ONE_TOKEN_SHARE:
        return Check("LabelDistribution", True, False, found, limit)
    most = max(rows, key=lambda row: sum(t for i, t in zip(row.ids, row.trained, strict=True) if i == token))
    return Check("LabelDistribution", False, False, found, limit, most.index)


STRUCTURE = (response_template_count, trained_token_content, packed_sequence, label_distribution)


def check_masks(
    rows: Sequence[EncodedRow], template: ChatTemplate, *, abort_below: float = MASKED_ABORT
) -> MaskingReport:
    """Run the five validators over a quest's encoded rows; raises BadInput for a quest without rows."""
    if not rows:
        raise BadInput("a quest without rows cannot be checked")
    return MaskingReport((masking_ratio(rows, abort_below), *(check(rows, template) for check in STRUCTURE)))


def refuse_bad_masks(report: MaskingReport, name: str) -> None:
    """Raise BadMask when a check forbids training, naming check and row."""
    if report.aborting:
        listed = "; ".join(
            f"{check.name}: {check.found}" + ("" if check.row is None else f" (row {check.row})")
            for check in report.aborting
        )
        raise BadMask(
            f"{name}: {listed}",
            hint="the label mask is wrong, or the answers dwarf the prompts: then shorten them, or lower masking_floor",
        )
