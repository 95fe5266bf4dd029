"""Who is here now, with real browsers on both sides: visitors whose pages carry the snippet, and a
viewer whose page follows them: tabs, hidden tabs, lost networks, the next page, the close."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.tracker.collector import Site
from tests.tracker.conftest import PRESENCE

from .conftest import Look, findings, overflow
from .test_first_event import CHROME

HOSTILE = "/<img src=x onerror=__ran=1>"
EXPIRED = 20_000  # ms: an engaged tab that is lost is gone 12 s after its last ping
PATIENCE = 15_000  # for everything else, which takes a second
BUSY = "window.busy = setInterval(() => dispatchEvent(new Event('pointermove')), 200)"


@pytest.fixture
def site() -> Iterator[Site]:
    server = Site()
    yield server
    server.stop()


@pytest.fixture
def place(acme: Any, site: Site, web_server: str) -> Any:
    from tests.people import new_property

    place = new_property(acme, hostnames=[urlsplit(site.url).hostname])
    for path in ("/shop", "/blog", "/away"):
        site.pages[path] = (
            f"<!doctype html><title>{path}</title><body>"
            f'<script defer src="{web_server}/js/trackr.js" data-property="{place.key}" '
            "data-allow-automation></script></body>"
        )
    return place


def counts(viewer: Page, opened: int, active: int, timeout: int = PATIENCE) -> None:
    expect(viewer.locator("#live-open")).to_have_text(str(opened), timeout=timeout)
    expect(viewer.locator("#live-active")).to_have_text(str(active), timeout=timeout)


def row(viewer: Page, name: str) -> Any:
    return viewer.locator("tbody tr", has=viewer.get_by_role("link", name=name, exact=True))


def test_the_page_follows_its_visitors(
    look: Look, alice: Any, place: Any, site: Site, new_context: Any
) -> None:
    expect.set_options(timeout=PATIENCE)
    viewer = look(alice, f"/p/{place.key}/live/")
    expect(viewer.locator("#live-state")).to_contain_text("Live")
    counts(viewer, 0, 0)
    expect(viewer.get_by_text("Nobody is here at the moment.")).to_be_visible()

    def visitor() -> Any:
        context = new_context(user_agent=CHROME)
        context.add_init_script(PRESENCE)
        return context

    # Two tabs of one browser are one visitor; her second tab shows another page.
    ann = visitor()
    first = ann.new_page()
    first.goto(f"{site.url}/shop?utm_source=newsletter&utm_campaign=spring")
    counts(viewer, 1, 1)
    expect(viewer.locator(".live-nobody")).to_be_hidden()
    expect(row(viewer, "/shop").locator(".count")).to_have_text("1")
    expect(viewer.locator("#feed li", has_text="pageview")).to_have_count(1)
    first.evaluate(BUSY)
    expect(viewer.locator("#live-engaged")).to_have_text("1")
    first.evaluate("clearInterval(busy)")
    second = ann.new_page()
    second.goto(f"{site.url}/shop")
    # Another browser is another visitor.
    ben = visitor()
    other = ben.new_page()
    other.goto(f"{site.url}/blog")
    counts(viewer, 2, 2)
    expect(row(viewer, "/blog").locator(".count")).to_have_text("1")

    # One click filters everything; the address says so, and the way back works.
    row(viewer, "newsletter").get_by_role("link").click()
    expect(viewer.locator(".chip bdi")).to_have_text("newsletter")
    counts(viewer, 1, 1)
    assert viewer.url.endswith("live/?filter=source:is:newsletter")
    expect(row(viewer, "/blog")).to_have_count(0)
    viewer.get_by_title("Remove this filter").click()
    counts(viewer, 2, 2)

    # Both tabs hidden: a page is open and nobody looks at it.
    for tab in (first, second):
        tab.evaluate("hidden_()")
    counts(viewer, 2, 1)
    second.close()  # the other one stays
    # The next page of a visit moves its row.
    other.goto(f"{site.url}/away")
    expect(row(viewer, "/away").locator(".count")).to_have_text("1")
    expect(row(viewer, "/blog")).to_have_count(0)
    counts(viewer, 2, 1)
    # The network is lost: here until the time is up that the last ping has bought.
    with other.expect_request(lambda sent: '"engaged"' in (sent.post_data or "")):
        other.evaluate(BUSY)
    expect(viewer.locator("#live-engaged")).to_have_text("1")
    with other.expect_request(lambda sent: '"engaged"' in (sent.post_data or "")):
        pass  # the beat that comes every five seconds
    ben.set_offline(True)
    counts(viewer, 1, 0, EXPIRED)
    first.close()
    counts(viewer, 0, 0)
    expect(viewer.get_by_text("Nobody is here at the moment.")).to_be_visible()
    assert findings(viewer) == []
    assert overflow(viewer) == 0


def test_where_no_stream_comes_through_the_page_asks(
    look: Look, alice: Any, place: Any, web_server: str
) -> None:
    """A proxy that ends every stream costs seconds, and no number."""
    from tracking.collecting import collect

    expect.set_options(timeout=PATIENCE)
    viewer = look(alice, "/")
    asked: list[str] = []
    viewer.route(
        "**/live/stream*",
        lambda route: route.fulfill(status=200, content_type="text/event-stream", body=""),
    )
    viewer.on("request", lambda sent: asked.append(urlsplit(sent.url).path))
    viewer.goto(f"{web_server}/p/{place.key}/live/")
    expect(viewer.locator("#live-state")).to_contain_text("Every 5 seconds")
    counts(viewer, 0, 0)
    somebody = {"visitor": "3f0c7c0e-0000-4000-8000-000000000001"}
    somebody |= {"tab": "3f0c7c0e-0000-4000-8000-000000000002"}
    somebody |= {"url": f"http://{place.hostnames[0]}/shop"}
    collect(place, [somebody | {"name": "ping", "state": "visible", "next_ms": 60_000}])
    counts(viewer, 1, 1)
    expect(row(viewer, "/shop").locator(".count")).to_have_text("1")
    stream, now = f"/p/{place.key}/live/stream", f"/p/{place.key}/live/now/"
    assert asked.count(stream) == 2, "it is tried twice, and then left for a minute"
    assert asked.count(now) >= 2
    assert findings(viewer) == []
