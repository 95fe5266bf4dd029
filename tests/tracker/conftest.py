"""Fixtures of the tracker's tests: a real Chromium, a site, a collector, and tabs.

Each test gets an own browser context (cookies, storage). Tests ask the collector what was sent
and, after something that must come later in the same queue, what was not. A test that leaves a page
is marked `leaves_pages`: browsers keep such a page in the back-forward cache.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright

from tests.outside import CHROMIUMS, find_chromium

from .collector import KEY, Collector, Site

HERE = Path(__file__).parent
TESTING = "<script>Object.defineProperty(navigator, 'webdriver', {value: false})</script>"

# Playwright keeps every page focused and visible; tests that need another state say so here.
PRESENCE = """
window.become = (visibility, focused) => {
  Object.defineProperty(document, 'visibilityState', {get: () => visibility, configurable: true});
  Object.defineProperty(document, 'hidden', {
    get: () => visibility === 'hidden', configurable: true
  });
  document.hasFocus = () => focused;
};
window.blurred = () => { become('visible', false); dispatchEvent(new Event('blur')); };
window.focused = () => { become('visible', true); dispatchEvent(new Event('focus')); };
window.hidden_ = () => {
  become('hidden', false); document.dispatchEvent(new Event('visibilitychange'));
};
window.shown = () => {
  become('visible', true); document.dispatchEvent(new Event('visibilitychange'));
};
"""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "browser: needs Chromium")
    config.addinivalue_line("markers", "leaves_pages: needs a back-forward cache")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE) and "visitor" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="package")
def chromium(playwright: Playwright, browser_type_launch_args: dict[str, Any]) -> Iterator[Browser]:
    """The whole browser, with the back-forward cache that Playwright switches off and that the one
    without windows has not."""
    arguments = browser_type_launch_args | {
        "executable_path": find_chromium(*CHROMIUMS),
        "args": [*browser_type_launch_args.get("args", []), "--disable-gpu", "--disable-quic"],
        "ignore_default_args": ["--disable-back-forward-cache"],
    }
    browser = playwright.chromium.launch(**arguments)
    yield browser
    browser.close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.stop()


@pytest.fixture
def site(collector: Collector) -> Iterator[Site]:
    """A site whose pages carry the modern snippet."""
    site = Site(page(modern(collector)))
    yield site
    site.stop()


@pytest.fixture
def visitor(request: pytest.FixtureRequest) -> Iterator[BrowserContext]:
    """One person's browser: cookies and storage are shared by its tabs."""
    leaves = request.node.get_closest_marker("leaves_pages")
    browser: Browser = request.getfixturevalue("chromium" if leaves else "browser")
    context = browser.new_context(viewport={"width": 1000, "height": 500}, locale="de-AT")
    context.set_default_timeout(15_000)
    context.add_init_script(PRESENCE)
    documents: Counter[Page] = Counter()
    context.on("page", lambda tab: tab.on("domcontentloaded", lambda it: documents.update([it])))
    yield context
    context.close()
    assert leaves or set(documents.values()) <= {1}, "mark this test `leaves_pages`"


@pytest.fixture
def tab(visitor: BrowserContext) -> Iterator[Page]:
    """A tab; the test fails if anything was thrown into the page."""
    tab = visitor.new_page()
    thrown: list[str] = []
    tab.on("pageerror", lambda error: thrown.append(str(error)))
    yield tab
    assert thrown == []


@pytest.fixture
def stopped(tab: Page) -> None:
    """The tab's clock stands still until `tab.clock.run_for`; the network does not."""
    start = datetime(2026, 3, 3, 12, tzinfo=UTC)
    tab.clock.install(time=start)
    tab.clock.pause_at(start + timedelta(seconds=1))


@pytest.fixture
def sentinel(tab: Page, collector: Collector) -> Callable[[], None]:
    """Sends an event and waits for it: what was queued before it has been sent, too."""

    def send() -> None:
        before = len(collector.accepted("sentinel"))
        tab.evaluate("trackr('track', 'sentinel')")
        collector.wait_for("sentinel", before + 1)

    return send


def modern(collector: Collector, attributes: str = "", key: str = KEY) -> str:
    return (
        f'<script defer src="{collector.url}/js/trackr.js" data-property="{key}" {attributes}>'
        "</script>"
    )


def page(head: str, body: str = "<p>Text</p>", title: str = "A page") -> str:
    """A page of the site that lets itself be tracked although a test drives the browser."""
    return (
        f"<!doctype html><html><head>{TESTING}<title>{title}</title>{head}</head>"
        f"<body>{body}</body></html>"
    )
