"""Single-page applications and the back-forward cache: one page view per page shown."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from .collector import Collector, Site
from .conftest import modern, page


def paths(collector: Collector, site: Site) -> list[str]:
    return [event["url"].removeprefix(site.url) for event in collector.accepted("pageview")]


def test_push_and_pop(tab: Page, site: Site, collector: Collector) -> None:
    tab.goto(f"{site.url}/a")
    collector.wait_for("pageview")
    tab.evaluate("history.pushState({}, '', '/b'); document.title = 'B'")
    collector.wait_for("pageview", 2)
    tab.evaluate("history.back()")
    collector.wait_for("pageview", 3)
    assert paths(collector, site) == ["/a", "/b", "/a"]
    first, second, third = collector.accepted("pageview")
    assert second["title"] == "B"  # set after the address
    assert second["referrer"] == f"{site.url}/a"
    assert third["referrer"] == f"{site.url}/b"
    assert "load_ms" in first
    assert "load_ms" not in second


def test_of_two_routes_at_once_the_one_that_is_shown_counts(
    tab: Page, site: Site, collector: Collector, sentinel: Callable[[], None]
) -> None:
    tab.goto(f"{site.url}/a")
    collector.wait_for("pageview")
    tab.evaluate("history.pushState({}, '', '/b'); history.pushState({}, '', '/c')")
    collector.wait_for("pageview", 2)
    sentinel()
    assert paths(collector, site) == ["/a", "/c"]


def test_an_event_right_after_a_route_belongs_to_the_new_page(
    tab: Page, site: Site, collector: Collector
) -> None:
    tab.goto(f"{site.url}/a")
    tab.evaluate("history.pushState({}, '', '/b'); trackr.track('buy')")
    [event] = collector.wait_for("buy")
    assert event["url"] == f"{site.url}/b"
    assert paths(collector, site) == ["/a", "/b"]


def test_what_changes_no_page_is_no_page_view(
    tab: Page, site: Site, collector: Collector, sentinel: Callable[[], None]
) -> None:
    tab.goto(f"{site.url}/a?x=1")
    collector.wait_for("pageview")
    tab.evaluate("""() => {
        history.replaceState({scroll: 1}, '', location.href);
        history.pushState({modal: 1}, '', '#modal');
        location.hash = 'part';
        history.back();
    }""")
    sentinel()
    assert paths(collector, site) == ["/a?x=1"]
    tab.evaluate("history.replaceState({}, '', '?x=2')")
    collector.wait_for("pageview", 2)
    assert paths(collector, site) == ["/a?x=1", "/a?x=2"]


def test_a_redirect_inside_the_application_is_one_page(
    tab: Page, site: Site, collector: Collector, sentinel: Callable[[], None]
) -> None:
    tab.goto(f"{site.url}/a")
    collector.wait_for("pageview")
    tab.evaluate("history.pushState({}, '', '/old'); history.replaceState({}, '', '/new')")
    collector.wait_for("pageview", 2)
    sentinel()
    assert paths(collector, site) == ["/a", "/new"]


def test_history_keeps_working(tab: Page, site: Site, collector: Collector) -> None:
    tab.goto(f"{site.url}/a")
    collector.wait_for("pageview")
    assert tab.evaluate("history.pushState({n: 1}, '', '/b'); history.state.n") == 1
    assert tab.evaluate(
        "(() => { try { history.pushState({}, '', 'http://elsewhere.example/') }"
        " catch (error) { return error.name } })()"
    ) == "SecurityError"  # fmt: skip


def test_manual_pages(
    tab: Page, site: Site, collector: Collector, sentinel: Callable[[], None]
) -> None:
    tab.goto(f"{site.url}/a")
    collector.wait_for("pageview")
    tab.evaluate("trackr.trackPageStart(); history.pushState({}, '', '/b')")
    tab.evaluate("document.title = 'Manual'; trackr.trackPageEnd()")
    collector.wait_for("pageview", 2)
    tab.evaluate("history.pushState({}, '', '/c')")  # from now on the author counts
    sentinel()
    assert paths(collector, site) == ["/a", "/b"]
    event = collector.accepted("pageview")[1]
    assert event["title"] == "Manual"
    assert event["load_ms"] >= 0


@pytest.mark.leaves_pages
def test_back_from_the_cache_is_a_new_page_view(
    tab: Page, site: Site, collector: Collector
) -> None:
    tab.goto(f"{site.url}/a")
    collector.wait_for("pageview")
    tab.evaluate("window.mark = 'still here'")
    site.pages["/plain"] = "<p>No snippet"
    tab.goto(f"{site.url}/plain")
    collector.wait_for_ping("gone")
    tab.evaluate("setTimeout(() => history.back())")
    collector.wait_for("pageview", 2)
    tab.wait_for_function("window.mark")  # the page was kept, not loaded again
    first, second = collector.accepted("pageview")
    assert second["url"] == first["url"]
    assert second["event_id"] != first["event_id"]
    assert "referrer" not in second
    assert "load_ms" not in second
    collector.wait_for_ping("engaged", 2)


def test_a_page_rendered_ahead_waits_until_it_is_shown(
    tab: Page, site: Site, collector: Collector
) -> None:
    ahead = "<script>Object.defineProperty(document, 'prerendering', {value: true, writable: true})"
    site.html = page(ahead + "</script>" + modern(collector))
    site.pages["/shown"] = page(modern(collector))
    tab.goto(f"{site.url}/ahead")
    tab.evaluate("trackr.track('early')")
    shown = tab.context.new_page()
    shown.goto(f"{site.url}/shown")
    collector.wait_for("pageview")
    assert paths(collector, site) == ["/shown"]
    tab.evaluate(
        "document.prerendering = false; document.dispatchEvent(new Event('prerenderingchange'))"
    )
    collector.wait_for("early")
    assert paths(collector, site) == ["/shown", "/ahead"]
