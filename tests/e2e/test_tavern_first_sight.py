"""What a first visit fetches, where notices lie, how much of a phone the header takes: a Tavern alone with events of the test."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Response, expect

from realm.core.events import EVENT_KINDS
from tests.e2e.tavern_alone import TavernAlone, tavern_alone
from tests.e2e.tavern_browser import PATHS, loaded, open_context

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

FIRST_LOAD_JS = 80_000
HEADER_PX = 130
# Names of what a notice covers among controls and numbers; null while it is on its way to its place.
COVERED = """() => {
    const list = document.querySelector('.toasts');
    if (getComputedStyle(list).visibility === 'hidden') return null;
    const notices = [...list.children].map((one) => one.getBoundingClientRect());
    const under = (a, b) => a.width > 0 && a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
    return [...document.querySelectorAll('main a[href], main button, main input, main select, main [data-stat]')]
        .filter((one) => notices.some((notice) => under(one.getBoundingClientRect(), notice))).map((one) => one.outerHTML);
}"""


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TavernAlone]:
    with tavern_alone(tmp_path_factory.mktemp("sight")) as served:
        yield served


def test_a_first_visit_fetches_little_and_no_words_of_other_pages(alone: TavernAlone, browser: Browser) -> None:
    told = alone.tell(*[kind for kind in EVENT_KINDS if kind != "battle.failed"], subject="it", data={"name": "it"})
    context = open_context(browser, viewport={"width": 1440, "height": 900})
    page = context.new_page()
    scripts: dict[str, int] = {}

    def took(response: Response) -> None:
        if response.ok and response.url.endswith(".js"):
            scripts[response.url.rpartition("/")[2]] = len(gzip.compress(response.body()))

    page.on("response", took)
    page.goto(alone.url())
    page.wait_for_selector(f"#event-{told[-1]}")
    last = alone.tell("queue.deleted", "checkpoint.restored", "hero.champion", subject="it")[-1]
    page.wait_for_selector(f"#event-{last}")
    page.wait_for_timeout(2_000)  # for what comes by itself in the first seconds
    context.close()

    # The worker's script is not fetched by the page, so the browser does not tell of it.
    worker = next((Path(__file__).parents[2] / "realm/tavern/static/assets").glob("feed.worker-*.js"))
    assert httpx.get(f"{alone.url()}/assets/{worker.name}").status_code == 200
    assert [name for name in scripts if name.startswith("en.pages")] == []
    assert sum(scripts.values()) + len(gzip.compress(worker.read_bytes())) <= FIRST_LOAD_JS


@pytest.mark.parametrize("size", [(1440, 900), (390, 844)], ids=["desktop", "phone"])
def test_a_notice_covers_no_control_and_no_number(alone: TavernAlone, browser: Browser, size: tuple[int, int]) -> None:
    context = open_context(browser, viewport={"width": size[0], "height": size[1]})
    shown = []
    for path in ("/", "/vault", "/guild"):
        page = context.new_page()
        page.goto(alone.url() + path)
        loaded(page)
        alone.tell("hero.champion", subject="it", data={"metric": "eval", "value": 1.5})
        # Either it has a place, or it was left to the bell.
        page.wait_for_selector(".bell-button .count")
        page.wait_for_function(f"() => !document.querySelector('.toasts li') || ({COVERED})() !== null")
        covered = page.evaluate(COVERED)
        assert not covered, path
        shown += [path] if covered is not None else []
        expect(page.locator(".toasts li")).to_have_count(0)
        page.close()
    context.close()
    assert shown, "no page shows a notice at all"


def test_the_header_leaves_a_phone_to_the_page(alone: TavernAlone, browser: Browser) -> None:
    context = open_context(browser, viewport={"width": 390, "height": 844}, has_touch=True)
    page = context.new_page()
    for path in PATHS:
        page.goto(alone.url() + path)
        loaded(page)
        box = page.locator("header").first.bounding_box()
        assert box is not None
        assert box["height"] <= HEADER_PX, path
    page.get_by_role("button", name="Labels and effects").click()
    page.get_by_role("combobox", name="Effects").select_option("calm")
    assert page.locator("main").get_attribute("data-effects") == "calm"
    context.close()
