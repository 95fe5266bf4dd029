"""Links to other hosts, however they are followed."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from .collector import Collector, Site
from .conftest import modern, page
from .switches import visit

LINKS = """
<a id=away href="https://user:secret@other.example/path?ref=us#token"><b>away</b></a>
<a id=here href="/next">here</a> <a id=mail href="mailto:a@b.example">mail</a> <a id=no>no</a>
<svg width=9 height=9><a id=svg href="https://svg.example/"><rect width=9 height=9 /></a></svg>
<script>addEventListener('click', (event) => event.preventDefault())</script>
"""


def urls(collector: Collector) -> list[str]:
    return [event["props"]["url"] for event in collector.accepted("outbound")]


def test_clicks_middle_clicks_and_the_keyboard(
    tab: Page, site: Site, collector: Collector, sentinel: Callable[[], None]
) -> None:
    site.html = page(modern(collector), LINKS)
    visit(tab, site, collector, "outbound")
    tab.locator("#away b").dispatch_event("click")
    tab.locator("#away").dispatch_event("auxclick", {"button": 1})
    tab.locator("#away").dispatch_event("auxclick", {"button": 2})  # only a menu
    tab.focus("#away")
    tab.keyboard.press("Enter")
    tab.locator("rect").dispatch_event("click")
    for other in ("#here", "#mail", "#no"):
        tab.locator(other).dispatch_event("click")
    sentinel()
    assert urls(collector) == ["https://other.example/path?ref=us"] * 3 + ["https://svg.example/"]
    assert "secret" not in str(collector.requests)
    assert "token" not in str(collector.requests)


@pytest.mark.leaves_pages
def test_the_click_goes_on_and_is_not_lost(tab: Page, site: Site, collector: Collector) -> None:
    """Another host of the same machine really opens, and what left the page arrives."""
    other = site.url.replace("127.0.0.1", "localhost") + "/there"
    site.pages["/there"] = "<h1>There"
    site.html = page(modern(collector), f"<a href='{other}'>leave</a>")
    visit(tab, site, collector, "outbound")
    tab.click("a")
    tab.wait_for_url(other)
    collector.wait(lambda: collector.sent("outbound"), "outbound")
    assert {event["props"]["url"] for event in collector.sent("outbound")} == {other}
    assert len({event["event_id"] for event in collector.sent("outbound")}) == 1


def test_switched_off_nothing(
    tab: Page, site: Site, collector: Collector, sentinel: Callable[[], None]
) -> None:
    site.html = page(modern(collector), LINKS)
    visit(tab, site, collector, "downloads")
    tab.locator("#away").dispatch_event("click")
    sentinel()
    assert urls(collector) == []
