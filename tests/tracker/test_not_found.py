"""Pages that do not exist: by the status of the answer, or because the page says so."""

from collections.abc import Callable

from playwright.sync_api import Page

from .collector import Collector, Site
from .switches import visit


def test_a_404_once_also_when_the_page_says_so_too(
    tab: Page, site: Site, collector: Collector, sentinel: Callable[[], None]
) -> None:
    site.statuses["/gone"] = 404
    visit(tab, site, collector, "not_found", path="/gone?from=mail")
    collector.wait_for("not_found")
    tab.evaluate("trackr('notFound')")
    sentinel()
    [event] = collector.accepted("not_found")
    assert event["url"] == f"{site.url}/gone?from=mail"
    assert len(collector.accepted("pageview")) == 1


def test_a_route_that_is_not_there(
    tab: Page, site: Site, collector: Collector, sentinel: Callable[[], None]
) -> None:
    visit(tab, site, collector, "not_found")
    for path in ("/a", "/b"):
        tab.evaluate(f"history.pushState({{}}, '', '{path}'); trackr.notFound(); trackr.notFound()")
    sentinel()
    paths = [event["url"].removeprefix(site.url) for event in collector.accepted("not_found")]
    assert paths == ["/a", "/b"]


def test_switched_off_nothing(
    tab: Page, site: Site, collector: Collector, sentinel: Callable[[], None]
) -> None:
    site.statuses["/gone"] = 404
    visit(tab, site, collector, "calls", path="/gone")
    tab.evaluate("trackr('notFound')")
    sentinel()
    assert collector.sent("not_found") == []
