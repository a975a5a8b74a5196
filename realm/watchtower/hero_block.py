"""The hero's stats from recorded facts; every game number with the metric it is made of.

Formulas (TAVERN, dual labels): level = floor(step / 1000), XP = steps, ATK = 1 / smoothed loss (at most 999),
DEF = 1 / validation loss, ACC = correct / n of the newest gate eval of the skill in training, gold = 100 per quest.
"""

from __future__ import annotations

from realm.watchtower.fields import Block, Number, inverse, number, put, text, whole
from realm.watchtower.inputs import EvalRow, Inputs
from realm.watchtower.life import Life

STEPS_PER_LEVEL = 1000
GOLD_PER_QUEST = 100
ATK_CAP = 999.0


def hero_step(inputs: Inputs, life: Life) -> tuple[int | None, str]:
    """Return the hero's step and, when there is none, why: the live one, else the newest checkpoint's, else 0."""
    live = whole(life.live, "step")
    if live is not None:
        return live, ""
    if inputs.facts.latest:
        return inputs.facts.latest.step, ""
    return (0, "") if inputs.hero else (None, inputs.hero_reason)


def hero_block(inputs: Inputs, life: Life) -> Block:
    """Build the hero block of the snapshot. Pure."""
    block: Block = {}
    put(block, "name", text(inputs.hero, "name"), inputs.hero_reason)
    put(block, "look", text(inputs.hero, "look") or text(inputs.hero, "name"), inputs.hero_reason)
    put(block, "model", _model(inputs), inputs.hero_reason)
    _progress(block, inputs, life)
    _losses(block, inputs, life)
    _accuracy(block, inputs, life)
    done = inputs.facts.quests.get(("completed", ""), 0)
    block["quests_completed"] = done
    block["gold"] = done * GOLD_PER_QUEST
    return block


def _model(inputs: Inputs) -> str | None:
    name, params = text(inputs.hero, "model"), whole(inputs.hero, "params")
    return f"{name} ({short_count(params)} parameters)" if name and params and "parameters" not in name else name


def short_count(n: int) -> str:
    """Return a count with three digits and a unit, e.g. `232 k`, `596 M`."""
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if n >= size:
            return f"{n / size:.3g} {unit}"
    return str(n)


def _progress(block: Block, inputs: Inputs, life: Life) -> None:
    step, why = hero_step(inputs, life)
    put(block, "step", step, why)
    put(block, "xp", step, why)
    put(block, "level", None if step is None else step // STEPS_PER_LEVEL, why)
    put(block, "xp_in_level", None if step is None else step % STEPS_PER_LEVEL, why)
    pace = number(life.live, "steps_per_s")
    if step is None or life.state != "training" or not pace or not pace > 0:
        put(block, "next_level_eta_s", None, why or f"no training speed: {life.reason}")
    else:
        put(block, "next_level_eta_s", round((STEPS_PER_LEVEL - step % STEPS_PER_LEVEL) / pace, 1), "")


def _losses(block: Block, inputs: Inputs, life: Life) -> None:
    loss, why = _loss(inputs, life)
    put(block, "loss", loss, why)
    put(block, "atk", inverse(block["loss"], ATK_CAP), block.get("loss_reason", f"1 / {loss} has no meaning"))
    val_loss, val_step = _validation(inputs, life)
    no_val = "no validation loss has been measured yet"
    put(block, "val_loss", val_loss, no_val)
    put(block, "val_loss_step", val_step if val_loss is not None else None, no_val)
    why_no_def = block.get("val_loss_reason", f"1 / {val_loss} has no meaning")
    put(block, "def", inverse(block["val_loss"]), why_no_def)


def _loss(inputs: Inputs, life: Life) -> tuple[Number | None, str]:
    if life.live is not None:
        return number(life.live, "loss"), "no step has been trained since the arena started"
    latest = inputs.facts.latest
    if latest is None:
        return None, "no step has been trained and saved yet"
    found = number(latest.record, "loss")
    return found if found is not None else number(latest.record, "train_loss"), f"{latest.name} carries no loss"


def _validation(inputs: Inputs, life: Life) -> tuple[Number | None, int | None]:
    live = number(life.live, "val_loss")
    if live is not None:
        return live, whole(life.live, "val_loss_step")
    return (inputs.validation[1], inputs.validation[0]) if inputs.validation else (None, None)


def eval_in_training(inputs: Inputs, life: Life) -> tuple[EvalRow | None, str]:
    """Return the newest finished gate eval of the skill in training, else of any skill; or why there is none."""
    skill = text(life.live, "skill")
    if skill in inputs.cards:
        found = inputs.facts.newest_evals.get(str(skill), ())
        return (found[0], "") if found else (None, f"no eval of {skill} has finished yet")
    newest = [rows[0] for rows in inputs.facts.newest_evals.values() if rows]
    return (max(newest, key=lambda row: row.finished), "") if newest else (None, "no eval has finished yet")


def _accuracy(block: Block, inputs: Inputs, life: Life) -> None:
    row, why = eval_in_training(inputs, life)
    put(block, "acc", row.correct / row.n if row else None, why)
    for name, value in (
        ("acc_correct", row.correct if row else None),
        ("acc_n", row.n if row else None),
        ("acc_skill", row.skill if row else None),
        ("acc_level", row.level if row else None),
        ("acc_step", row.step if row else None),
    ):
        put(block, name, value, why)
