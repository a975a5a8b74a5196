"""The pages in a real browser against a real realm: numbers, errors, foreign requests, restart of the server."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser

from tests.e2e.conftest import Running
from tests.e2e.tavern_browser import PATHS, Watched, free_checkpoint, give_order, loaded, open_context, paused

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

# The controls of the page that lie under a notice.
COVERED = """async () => {
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    const notices = document.querySelector('.toasts').getBoundingClientRect();
    const under = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
    return [...document.querySelectorAll('main a[href], main button, main input, main select')]
        .filter((one) => under(one.getBoundingClientRect(), notices)).map((one) => one.outerHTML);
}"""
SHOTS = Path(__file__).resolve().parents[2] / "screenshots"


@pytest.mark.parametrize("path", [*PATHS, "/begin"])
@pytest.mark.parametrize("size", [(1440, 1000), (390, 844)], ids=["desktop", "phone"])
def test_page_is_clean(browser: Browser, realm: Running, path: str, size: tuple[int, int]) -> None:
    context = open_context(browser, viewport={"width": size[0], "height": size[1]})
    seen = Watched(context.new_page(), realm)
    seen.page.goto(realm.url() + path)
    loaded(seen.page)
    seen.page.wait_for_timeout(800)  # for what draws itself later, such as the chart
    SHOTS.mkdir(exist_ok=True)
    wide = []
    for theme in ("lantern", "parchment"):
        seen.page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
        name = f"{path.strip('/') or 'tavern'}-{size[0]}{'' if theme == 'lantern' else '-light'}.png"
        seen.page.screenshot(path=SHOTS / name, full_page=True)
        wide.append(seen.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))
    context.close()

    assert seen.errors == []
    assert seen.foreign == []
    assert max(wide) <= 0, "the page scrolls sideways"


# Whether the chart has a pixel in the colour that a name stands for in the theme in force.
DRAWN_IN = """name => {
    const chart = document.querySelector('main .surface canvas');
    if (!chart) return false;
    const probe = document.body.appendChild(document.createElement('i'));
    probe.style.color = `var(${name})`;
    const [r, g, b] = getComputedStyle(probe).color.match(/\\d+/g).map(Number);
    probe.remove();
    const copy = Object.assign(document.createElement('canvas'), { width: chart.width, height: chart.height });
    const pen = copy.getContext('2d', { willReadFrequently: true });
    pen.drawImage(chart, 0, 0);
    const { data } = pen.getImageData(0, 0, copy.width, copy.height);
    for (let i = 0; i < data.length; i += 4) {
        if (data[i] === r && data[i + 1] === g && data[i + 2] === b && data[i + 3] === 255) return true;
    }
    return false;
}"""


def test_the_chart_is_drawn_in_the_theme_that_is_chosen(realm: Running, watched: Watched) -> None:
    page = watched.page
    realm.until(lambda: (realm.snapshot()["hero"]["step"] or 0) > 60, 300, "a curve")
    for system in ("dark", "light"):
        page.emulate_media(color_scheme=system)  # type: ignore[arg-type]
        for theme in ("Lantern", "Parchment", "High contrast"):
            page.goto(realm.url() + "/settings")
            page.get_by_role("radio", name=theme).check()
            page.get_by_role("navigation", name="Places").get_by_role("link", name="Tavern").click()
            page.wait_for_function(DRAWN_IN, arg="--gold")
    page.evaluate("document.documentElement.dataset.theme = 'parchment'")
    page.wait_for_function(DRAWN_IN, arg="--gold")
    assert watched.errors == []


def test_dragging_over_the_chart_asks_the_server_for_that_range(realm: Running, watched: Watched) -> None:
    page = watched.page
    realm.until(lambda: (realm.snapshot()["hero"]["step"] or 0) > 60, 300, "a curve")
    page.goto(realm.url())
    chart = page.locator("main .surface canvas")
    chart.scroll_into_view_if_needed()
    page.wait_for_function(DRAWN_IN, arg="--gold")
    box = chart.bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.4, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.7, middle, steps=4)
    with page.expect_request(lambda sent: "/api/metrics?from=" in sent.url) as asked:
        page.mouse.up()
    wanted = httpx.URL(asked.value.url).params
    assert 0 < int(wanted["from"]) < int(wanted["to"])
    page.get_by_role("button", name="Whole run").click()
    page.get_by_role("button", name="Whole run").wait_for(state="detached")
    assert watched.errors == []


def test_pause_and_resume_from_the_page(realm: Running, watched: Watched) -> None:
    page = watched.page
    realm.until(lambda: realm.snapshot()["battle"]["state"] == "training", 120, "training")
    page.goto(realm.url())
    page.get_by_role("button", name="Pause").first.click()
    realm.until(lambda: realm.snapshot()["battle"]["state"] == "paused", 120, "paused by the page")
    page.get_by_role("button", name="Resume").first.click()
    realm.until(lambda: realm.snapshot()["battle"]["state"] == "training", 120, "resumed by the page")
    assert watched.errors == []


def test_upload_delete_and_undo_from_the_page(realm: Running, watched: Watched, tmp_path: Path) -> None:
    page = watched.page
    row = {"messages": [{"role": "user", "content": "Compute: add(①, ①)"}, {"role": "assistant", "content": "add(①, ①) = ①⓪"}]}
    (tmp_path / "by_page.jsonl").write_text((json.dumps(row) + "\n") * 8)
    (tmp_path / "<img src=x onerror=alert(1)>.jsonl").write_text("not json\n")
    paused(realm)
    try:
        page.goto(realm.url() + "/quests")
        page.locator("input[type=file]").first.set_input_files(
            [tmp_path / "by_page.jsonl", tmp_path / "<img src=x onerror=alert(1)>.jsonl"]
        )
        page.get_by_text("by_page.jsonl").first.wait_for()
        page.get_by_text("not JSON").first.wait_for()
        assert page.locator("img[src='x']").count() == 0

        def waits() -> list[str]:
            rows = httpx.get(f"{realm.url()}/api/quests", params={"state": "queued"}).json()["rows"]
            return [found["name"] for found in rows]

        realm.until(lambda: "by_page.jsonl" in waits(), 120, "uploaded")
        line = page.get_by_role("row").filter(has_text="by_page.jsonl").first
        line.get_by_role("button", name="Delete").click()
        undo = page.get_by_role("button", name="Undo").first
        undo.wait_for()
        assert page.evaluate(COVERED) == []
        undo.hover()  # a notice that is pointed at stays
        realm.until(lambda: "by_page.jsonl" not in waits(), 120, "deleted")
        undo.click()
        realm.until(lambda: "by_page.jsonl" in waits(), 120, "undone")
    finally:
        give_order(realm, "resume")
    assert watched.errors == []


def test_a_preset_chosen_on_the_page_is_the_schedule_in_force(realm: Running, watched: Watched) -> None:
    page, api = watched.page, f"{realm.url()}/api/schedule"
    before = httpx.get(api).json()
    in_force = lambda: [httpx.get(api).json()[name] for name in ("version", "schedule")]  # noqa: E731
    page.goto(realm.url() + "/scheduler")
    page.locator("[data-preset=sy_only]").click()
    page.locator("ol:not(:has([data-next=bin])) > [data-next=sy]").nth(9).wait_for()
    assert in_force() == [before["version"], before["schedule"]], "looking ahead changed the schedule"
    page.get_by_role("button", name="Review and save").click()
    page.locator("dialog [data-change='skills.bin.enabled']").wait_for()
    page.get_by_role("button", name="Save", exact=True).click()
    try:
        realm.until(lambda: httpx.get(api).json()["version"] != before["version"], 120, "saved by the page")
        plans = httpx.get(api).json()["schedule"]["skills"]
        assert {name for name, plan in plans.items() if plan["enabled"]} == {"sy"}
    finally:
        httpx.post(api, json={"schedule": before["schedule"]}).raise_for_status()
    assert watched.errors == []


def test_a_setting_is_changed_with_its_difference_and_a_locked_one_needs_its_name(realm: Running, watched: Watched) -> None:
    page, api = watched.page, f"{realm.url()}/api/config"

    def value(name: str) -> Any:
        return next(row["value"] for row in httpx.get(api).json()["fields"] if row["name"] == name)

    newest, longest = value("retention.newest"), value("max_length")
    page.goto(realm.url() + "/settings")
    field = page.locator("[data-setting='retention.newest'] input")
    field.fill("0")
    page.get_by_text("Input should be greater than or equal to 1").wait_for()
    assert page.get_by_role("button", name="Review and save").is_disabled()
    field.fill(str(newest + 2))
    page.get_by_role("button", name="Review and save").click()
    page.locator("dialog [data-change='retention.newest']").wait_for()
    assert value("retention.newest") == newest
    page.get_by_role("button", name="Save", exact=True).click()
    try:
        realm.until(lambda: value("retention.newest") == newest + 2, 120, "saved by the page")
        locked = page.locator("[data-setting='max_length']")
        assert locked.locator("input").is_disabled()
        locked.get_by_role("button", name="Unlock").click()
        unlock = page.get_by_role("dialog").get_by_role("button", name="Unlock", exact=True)
        page.get_by_label("Type max_length to go on").fill("yes")
        assert unlock.is_disabled()
        refused = httpx.post(api, json={"changes": {"max_length": longest + 8}})
        assert (refused.status_code, value("max_length")) == (403, longest)
        page.get_by_label("Type max_length to go on").fill("max_length")
        unlock.click()
        assert locked.locator("input").is_enabled()
    finally:
        httpx.post(api, json={"reset": ["retention.newest"]}).raise_for_status()
    assert watched.errors == []


def _kept(realm: Running) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = httpx.get(f"{realm.url()}/api/vault/checkpoints", timeout=10).json()["rows"]
    return rows


def test_pin_promote_delete_and_undo_from_the_vault(realm: Running, watched: Watched) -> None:
    page = watched.page
    # One that is neither the newest, nor the champion, nor awaits an eval.
    free = free_checkpoint(realm)
    try:
        name, step = free["name"], f"{free['step']:,}"

        def now() -> dict[str, Any]:
            return next((row for row in _kept(realm) if row["name"] == name), {})

        page.goto(realm.url() + "/vault")
        line = page.locator(f"[data-checkpoint='{name}']")
        line.get_by_role("button", name=f"Pin step {step}").click()
        realm.until(lambda: now()["pinned"], 120, "pinned by the page")
        line.get_by_role("button", name="Delete").and_(page.locator(":disabled")).wait_for()
        line.get_by_role("button", name=f"Pin step {step}").click()
        realm.until(lambda: not now()["pinned"], 120, "unpinned by the page")

        line.get_by_role("button", name=f"Delete step {step}").click()
        confirm = page.get_by_role("button", name="Delete checkpoint")
        assert confirm.is_disabled()
        page.get_by_label("Type its step").fill(str(free["step"]))
        confirm.click()
        page.get_by_role("button", name="Undo").first.hover()  # a notice that is pointed at stays
        realm.until(lambda: not now(), 120, "deleted by the page")
        page.get_by_role("button", name="Undo").first.click()
        realm.until(now, 120, "undone by the page")

        line.get_by_role("button", name=f"Promote step {step}").click()
        page.get_by_role("button", name="Crown it").click()
        realm.until(lambda: now()["champion"], 120, "promoted by the page")
        page.get_by_role("button", name="Let the metric choose again").click()
        realm.until(lambda: not _by_hand(realm), 120, "given back")
    finally:
        give_order(realm, "resume")
    assert watched.errors == []


def _by_hand(realm: Running) -> bool:
    found = httpx.get(f"{realm.url()}/api/vault/checkpoints", timeout=10).json()["champion"]
    return bool(found and found["by_hand"])


def test_a_level_shows_its_samples_as_text(realm: Running, watched: Watched) -> None:
    page = watched.page
    realm.until(lambda: httpx.get(f"{realm.url()}/api/evals", timeout=10).json()["rows"], 400, "an eval")
    row = httpx.get(f"{realm.url()}/api/evals", timeout=10).json()["rows"][0]
    page.goto(realm.url() + "/guild")
    page.get_by_role("button", name=f"Level {row['level']}:").first.click()
    page.get_by_role("heading", name="Samples at step").wait_for()
    for label in ("Prompt", "Expected"):
        page.get_by_text(label, exact=True).first.wait_for()
    assert watched.errors == []


def test_a_tab_left_open_survives_a_restart_of_the_server(realm: Running, watched: Watched) -> None:
    page = watched.page
    page.goto(realm.url())
    page.wait_for_selector("[data-stat='hero.xp']")
    page.evaluate("window.neverReloaded = true")
    before = realm.status()["services"]["tavern"]
    with_pid = httpx.get(f"{realm.url()}/health").json()["pid"]

    os.kill(with_pid, signal.SIGKILL)
    realm.until(lambda: realm.healthy("tavern") and httpx.get(f"{realm.url()}/health").json()["pid"] != with_pid, 180, "mended")
    step = realm.snapshot()["hero"]["xp"]
    page.wait_for_function(
        "step => Number(document.querySelector(\"[data-stat='hero.xp']\").textContent.replace(/,/g, '')) > step",
        arg=step, timeout=300_000,
    )  # fmt: skip

    assert page.evaluate("window.neverReloaded") is True
    assert before["port"] == realm.status()["services"]["tavern"]["port"]


def test_a_file_that_waits_in_the_inbox_says_why(realm: Running, watched: Watched) -> None:
    page = watched.page
    with (realm.home / "inbox" / "half.jsonl").open("w") as writer:
        writer.write('{"messages": [')
        writer.flush()
        page.goto(realm.url() + "/quests")
        line = page.get_by_role("listitem").filter(has_text="half.jsonl")
        line.get_by_text("open for writing").wait_for()
    page.get_by_role("link", name="Failed").click()
    page.get_by_role("row").filter(has_text="half.jsonl").first.wait_for(timeout=120_000)
    assert watched.errors == []
