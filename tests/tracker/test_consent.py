"""consent(choice): what waits for it, what it allows, and what a denial erases."""

from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page

from .collector import KEY, Collector, Site
from .switches import visit

CHOICE = f"trackr_consent_{KEY}"
READY = "trackr.track && document.querySelector('script[src$=\"more.js\"]')"


def ask(tab: Page, site: Site, collector: Collector, path: str = "/") -> None:
    """A page of a property that needs consent, once it waits for the visitor."""
    collector.configure(mode="required", capture=["calls"], more="/js/more.js")
    tab.goto(site.url + path)
    tab.wait_for_function(READY)


def stored(tab: Page) -> list[str]:
    return tab.evaluate("Object.keys(localStorage).concat(Object.keys(sessionStorage)).sort()")


@pytest.mark.leaves_pages
def test_nothing_before_the_visitor_agrees_then_everything(
    tab: Page, site: Site, collector: Collector, visitor: BrowserContext
) -> None:
    ask(tab, site, collector)
    tab.evaluate("trackr.track('early', {n: 1}); trackr.convert('goal')")
    assert tab.evaluate("new Promise((resolve) => trackr.interests(() => resolve(1)))") == 1
    assert tab.evaluate("trackr.consent() === undefined && trackr.consent('maybe') === undefined")
    assert (collector.requests, stored(tab), visitor.cookies()) == ([], [], [])

    assert tab.evaluate("trackr.consent('granted')") == "granted"
    events = collector.wait_for("", 3)
    assert [event["name"] for event in events] == ["pageview", "early", "conversion"]
    assert {event["consent"] for event in events} == {"granted"}
    assert len({event["visitor"] for event in events}) == 1
    assert {cookie["name"] for cookie in visitor.cookies()} == {
        "trackit_session", "trackit_v_visitor",
    }  # fmt: skip

    tab.goto(f"{site.url}/next")  # asks nobody again
    assert collector.wait_for("pageview", 2)[1]["visitor"] == events[0]["visitor"]


def test_cookieless_without_any_id(
    tab: Page, site: Site, collector: Collector, visitor: BrowserContext
) -> None:
    ask(tab, site, collector)
    tab.evaluate("trackr('consent', 'cookieless')")
    [event] = collector.wait_for("pageview")
    assert event["consent"] == "cookieless"
    assert {"visitor", "session", "user"} & set(event) == set()
    assert (stored(tab), visitor.cookies()) == ([CHOICE], [])


@pytest.mark.leaves_pages
def test_a_denial_sends_nothing_and_is_remembered(
    tab: Page, site: Site, collector: Collector, visitor: BrowserContext
) -> None:
    ask(tab, site, collector)
    tab.evaluate("trackr.track('early'); trackr.consent('denied'); trackr.track('late')")
    tab.goto(f"{site.url}/next")
    tab.wait_for_function("trackr.consent() === 'denied'")
    tab.evaluate("trackr.track('later')")
    tab.goto("about:blank")
    tab.goto(f"{site.url}/last")
    tab.wait_for_function("trackr.consent() === 'denied'")
    assert collector.requests == []
    assert (stored(tab), visitor.cookies()) == ([CHOICE], [])


def test_consent_allows_no_more_than_the_property(
    tab: Page, site: Site, collector: Collector, visitor: BrowserContext,
    sentinel: Callable[[], None],
) -> None:  # fmt: skip
    visit(tab, site, collector, "calls", mode="cookieless")
    assert tab.evaluate("trackr.consent('granted')") == "cookieless"
    sentinel()
    assert {"visitor", "session"} & set(collector.accepted("sentinel")[0]) == set()
    assert visitor.cookies() == []


@pytest.mark.leaves_pages
def test_a_denial_erases_what_was_stored(
    tab: Page, site: Site, collector: Collector, visitor: BrowserContext
) -> None:
    visit(tab, site, collector, "calls")
    collector.wait_for("pageview")
    collector.answer_with(503)
    tab.evaluate("trackr.loginUser(7); trackr.interest('tea')")
    collector.wait(lambda: collector.sent("interest"), "interest")
    assert any("interests" in key for key in stored(tab))
    assert len(visitor.cookies()) == 3
    tab.evaluate("trackr.consent('denied')")
    assert (stored(tab), visitor.cookies()) == ([CHOICE], [])
    assert tab.evaluate("trackr.interests()") == []

    collector.recover()
    count = len(collector.requests)
    tab.goto(f"{site.url}/next")  # of a property that needs no consent: the denial still counts
    tab.wait_for_function("trackr.consent() === 'denied'")
    later = collector.requests[count:]
    assert [request for request in later if request.events] == []
    assert {request.body["state"] for request in later} <= {"gone"}
