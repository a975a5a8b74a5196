"""Every number of the pages that has a name (`data-stat`): equal to the server's and to its formula, in all three label modes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page

from realm.armory.estimate_view import Ask, view
from realm.core.paths import Paths
from tests.e2e.conftest import Running
from tests.e2e.tavern_browser import PATHS, give_order, loaded, open_context, paused

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

LABELS = ("game", "both", "real")
# Measured anew with every look: the text is checked, not the value.
MOVING = ("forge.", "checkpoints.free_bytes", "zones.")
# Not in the snapshot: numbers of one page, from the address that page asks.
ASKED = {"plan": "/api/vault/plan", "zones": "/api/zones", "sparring": "/api/guild"}
PAGES = (*PATHS, "/vault?tab=retention", "/vault?tab=zones")
FORMATS = {
    "int": """hero.level hero.xp hero.gold hero.step hero.xp_in_level hero.acc_correct hero.acc_n hero.acc_level
        hero.val_loss_step hero.quests_completed plan.kept plan.protected plan.dropped
        battle.step battle.steps_in_quest battle.steps_done_in_quest
        battle.rows_in_quest battle.threads battle.tokens_per_s checkpoints.count checkpoints.latest checkpoints.champion
        forge.temperature_c skills.*.mastered skills.*.max_level skills.*.training skills.*.correct skills.*.n skills.*.passes
        skills.*.passes_needed""",
    "stat": "hero.atk hero.def",
    "loss": "hero.loss hero.val_loss battle.loss battle.best_loss battle.grad_norm checkpoints.champion_value",
    "change": "battle.loss_delta",
    "share": "hero.acc skills.*.acc",
    "percent": "forge.cpu_percent forge.gpu_percent",
    "rate": "battle.lr",
    "per_second": "battle.steps_per_s",
    "bytes": """checkpoints.size_bytes checkpoints.free_bytes plan.frees
        forge.ram_used_bytes forge.ram_total_bytes forge.vram_used_bytes
        forge.vram_total_bytes""",
    "duration": "hero.next_level_eta_s battle.eta_s",
    "text": "checkpoints.champion_metric battle.state",
    "upper": "hero.acc_skill",
}  # fmt: skip
FORMAT_OF = {path: name for name, paths in FORMATS.items() for path in paths.split()}


def format_of(path: str) -> str:
    """Return the format of a number; an unknown name is an error."""
    first, _, last = path.partition(".")
    if first in ("services", "zones") and last.endswith(".state"):
        return "text"
    if first == "zones":
        return "bytes"
    if first == "skills":
        path = f"skills.*.{last.partition('.')[2]}"
    assert path in FORMAT_OF, f"data-stat {path!r} is not in this test's table: add it with its format"
    return FORMAT_OF[path]


def rounded(value: float, digits: int) -> str:
    """Round as a browser does: the exact binary value, halves away from zero."""
    return f"{Decimal(value).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP):f}"


def loss_text(value: float) -> str:
    size = abs(value)
    if size >= 10:
        return rounded(value, 2)
    if size >= 0.1 or size == 0:
        return rounded(value, 3)
    return rounded(value, 2 - math.floor(math.log10(size))) if size >= 1e-4 else _power(value)


def _power(value: float, digits: int = 1) -> str:
    """1.5e-7, as ECMAScript writes it."""
    mantissa, _, exponent = f"{value:.{digits}e}".partition("e")
    return f"{mantissa}e{int(exponent):+d}"


def change_text(value: float) -> str:
    size = abs(value)
    text = rounded(size, 3) if size == 0 or size >= 5e-4 else _power(size, 0)
    return ("+" if value > 0 else "-" if value < 0 else "") + text


def bytes_text(value: float) -> str:
    unit = 0
    while value >= 999.5 and unit < 5:
        value, unit = value / 1000, unit + 1
    return f"{rounded(value, 0 if unit == 0 or value >= 99.95 else 1)} {('B', 'kB', 'MB', 'GB', 'TB', 'PB')[unit]}"


def duration_text(value: float) -> str:
    s = max(0, math.floor(value + 0.5))
    for name, size, under, rest in (("d", 86_400, "h", 3_600), ("h", 3_600, "min", 60), ("min", 60, "s", 1)):
        if s >= size:
            left = s % size // rest
            return f"{s // size} {name}" + (f" {left} {under}" if left else "")
    return f"{s} s"


TEXT: dict[str, Callable[[Any], str]] = {
    "int": lambda value: f"{value:,.0f}",
    "stat": lambda value: "999" if value >= 999 else rounded(value, 0 if value >= 100 else 1 if value >= 10 else 2),
    "loss": loss_text,
    "change": change_text,
    "share": lambda value: f"{math.floor(value * 100 + 0.5)} %",
    "percent": lambda value: f"{math.floor(value + 0.5)} %",
    "rate": lambda value: "0" if value == 0 else rounded(value, 2) if value >= 0.1 else _power(value),
    "per_second": lambda value: f"{value:,.0f}" if value >= 100 else rounded(value, 1 if value >= 10 else 2),
    "bytes": bytes_text,
    "duration": duration_text,
    "text": str,
    "upper": lambda value: str(value).upper(),
}
SEEN = """() => [...document.querySelectorAll('[data-stat]')]
    .map(e => [e.dataset.stat, e.dataset.value ?? e.textContent, e.title])"""


def asked(realm: Running, shown: list[list[str]]) -> dict[str, Any]:
    """Return the snapshot with what the page shows beside it, in the places that the names of its numbers say."""
    found: dict[str, Any] = dict(realm.snapshot())
    for name in {path.partition(".")[0] for path, _, _ in shown} & set(ASKED):
        told = httpx.get(f"{realm.url()}{ASKED[name]}", timeout=60).json()
        if name == "plan":
            told |= {"dropped": len(told["dropped"])}
        elif name == "zones":
            told = {zone["id"]: zone for zone in told["zones"]}
        else:
            told = {str(one["seq"]): one["exam"] for one in told["sessions"]}
        found[name] = told
    return found


def value_at(snapshot: dict[str, Any], path: str) -> Any:
    found: Any = snapshot
    for key in path.split("."):
        assert key in found, f"data-stat {path!r} is not in the snapshot"
        found = found[key]
    return found


def wrong(shown: list[list[str]], snapshot: dict[str, Any]) -> list[str]:
    """Return what differs between the page's numbers and the snapshot."""
    found = []
    for path, text, title in shown:
        if path.startswith("sparring."):
            found += wrong_exam(path, text, snapshot)
            continue
        value = value_at(snapshot, path)
        if path.startswith(MOVING) and (value is None or text == "-" or path.endswith(".state")):
            continue  # known a moment ago, or known since
        if value is None:
            if text != "-" or not title:
                found.append(f"{path}: {text!r} ({title!r}) where there is no value")
        elif path.startswith(MOVING):
            unit = TEXT[format_of(path)](value).partition(" ")[2]
            if not text[0].isdigit() or bool(unit) != (" " in text):
                found.append(f"{path}: {text!r} is no {format_of(path)}")
        elif path.startswith("services."):
            if not text:
                found.append(f"{path}: no word for {value!r}")
        elif text != (expected := TEXT[format_of(path)](value)):
            found.append(f"{path}: shown {text!r}, snapshot {value!r}, expected {expected!r}")
    return found


def wrong_exam(path: str, text: str, told: dict[str, Any]) -> list[str]:
    """Return what differs between a number of a sparring exam and its record."""
    _, seq, key = path.split(".", 2)
    exam = told["sparring"][seq]
    verdicts, moves = exam["verdicts"], exam["transitions"]
    part = lambda some, all_: f"{some} / {all_}" if all_ else "-"  # noqa: E731
    share = lambda value: "-" if value is None else TEXT["share"](value)  # noqa: E731
    expected = {
        "exam.right": part(exam["right"], exam["n"]),
        "exam.tpr": share(verdicts["tpr"]),
        "exam.tnr": share(verdicts["tnr"]),
        "exam.balanced": share(verdicts["balanced_accuracy"]),
        "exam.mcc": "-" if verdicts["mcc"] is None else rounded(verdicts["mcc"], 2),
        "exam.unclear": part(verdicts["unclear"], verdicts["n"]),
        "exam.mended": part(moves["wrong_right"], exam["n"] - exam["right"]),
        "exam.spoiled": part(moves["right_wrong"], exam["right"]),
    }[key]
    return [] if text.startswith(expected) else [f"{path}: shown {text!r}, expected {expected!r}"]


def compared(page: Page, realm: Running) -> set[str]:
    """Compare until page and server agree: the page hears of a change a moment later."""
    differ: list[str] = ["nothing was seen"]
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        shown = page.evaluate(SEEN)
        differ = wrong(shown, asked(realm, shown))
        if not differ:
            return {path for path, _, _ in shown}
        page.wait_for_timeout(500)
    pytest.fail("\n".join(differ))


@pytest.mark.parametrize("labels", LABELS)
def test_every_number_equals_the_snapshot(browser: Browser, realm: Running, labels: str) -> None:
    paused(realm)
    context = open_context(browser, viewport={"width": 1440, "height": 1000})
    context.add_init_script(f"localStorage.setItem('realm.labels', '{labels}')")
    page = context.new_page()
    seen: set[str] = set()
    try:
        for path in PAGES:
            page.goto(realm.url() + path)
            page.wait_for_selector("[data-stat='battle.state']")
            loaded(page)
            seen |= compared(page, realm)
            if path == "/":
                page.wait_for_selector("[data-stat='checkpoints.count']")
                for why in page.locator("button[aria-label^='Why']").all():
                    why.click()
                    page.locator("[popover]:popover-open dl, [popover]:popover-open p").first.wait_for()
                    seen |= compared(page, realm)
                    page.keyboard.press("Escape")
    finally:
        give_order(realm, "resume")
        context.close()
    # What every mode shows, whatever the rest is.
    stats = {f"hero.{name}" for name in ("level", "xp", "atk", "def", "acc", "gold")}
    assert seen >= stats | {"checkpoints.count", "battle.loss"}


def test_the_snapshot_follows_the_formulas(realm: Running) -> None:
    seen = paused(realm)
    give_order(realm, "resume")
    hero = seen["hero"]
    assert hero["level"] == hero["step"] // 1000
    assert hero["xp"] == hero["step"]
    assert hero["xp_in_level"] == hero["step"] % 1000
    assert hero["gold"] == 100 * hero["quests_completed"] == 100 * seen["queue"]["completed"]
    assert hero["atk"] == pytest.approx(min(999.0, 1 / hero["loss"]))
    for value, made in ((hero["def"], hero["val_loss"] and min(999.0, 1 / hero["val_loss"])),
                        (hero["acc"], hero["acc_n"] and hero["acc_correct"] / hero["acc_n"])):  # fmt: skip
        assert value == (None if made is None else pytest.approx(made))


def test_the_memory_calculator_shows_what_the_python_function_gives(realm: Running, browser: Browser) -> None:
    configured = view(Paths(realm.home), Ask())
    asked = next(field for field in configured["fields"] if field["name"] == "length")
    more = view(Paths(realm.home), Ask(length=2 * asked["value"]))
    assert more["total_bytes"] > configured["total_bytes"]
    context = open_context(browser)
    page = context.new_page()
    page.goto(realm.url() + "/settings")
    card = page.locator("#memory")
    for wanted in (configured, more):
        card.locator("p strong", has_text=bytes_text(wanted["total_bytes"])).wait_for()
        shown = [[cell.strip() for cell in row] for row in card.locator(".terms li").evaluate_all(
            "rows => rows.map(row => [...row.querySelectorAll('span')].slice(0, 2).map(cell => cell.textContent))")]  # fmt: skip
        assert shown == [[term["meaning"], bytes_text(term["bytes"])] for term in wanted["terms"] if term["bytes"] > 0]
        assert {gpu["id"] for gpu in wanted["gpus"]} == set(
            card.locator("[data-gpu]").evaluate_all("all => all.map(one => one.dataset.gpu)")
        )
        field = card.get_by_label(asked["meaning"])
        field.fill(str(2 * asked["value"]))
        field.blur()
    context.close()


def test_a_wrong_number_or_an_unknown_name_is_found() -> None:
    snapshot = {"hero": {"level": 3, "def": None}, "checkpoints": {"count": 1_200}}
    right = [["hero.level", "3", ""], ["hero.def", "-", "not measured"], ["checkpoints.count", "1,200", ""]]
    assert wrong(right, snapshot) == []
    assert len(wrong([["hero.level", "4", ""], ["hero.def", "-", ""], ["checkpoints.count", "1200", ""]], snapshot)) == 3
    with pytest.raises(AssertionError, match="not in the snapshot"):
        wrong([["hero.luck", "3", ""]], snapshot)
    with pytest.raises(AssertionError, match="not in this test's table"):
        wrong([["hero.luck", "3", ""]], {"hero": {"luck": 3}})
