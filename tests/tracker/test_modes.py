"""How much may be recorded: `cookieless` stores nothing, `required` waits for a yes."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from .collector import Collector, Site
from .conftest import modern, page
from .test_configuration import NOTHING, STORED


@pytest.mark.leaves_pages
def test_cookieless_stores_nothing_and_knows_nobody(
    tab: Page, site: Site, collector: Collector, sentinel: Callable[[], None]
) -> None:
    collector.configure(mode="cookieless")
    tab.goto(f"{site.url}/a")
    tab.evaluate("trackr.loginUser('u1'); history.pushState({}, '', '/b')")
    collector.wait_for("pageview", 2)
    collector.wait_for_ping("engaged")
    sentinel()
    sent = [*collector.sent(), *collector.pings()]
    assert not [event for event in sent if "visitor" in event or "session" in event]
    assert len({event["tab"] for event in sent}) == 1  # as long as the page
    assert tab.evaluate(STORED) == NOTHING
    tab.goto(f"{site.url}/c")
    third = collector.wait_for("pageview", 3)[2]
    assert third["tab"] != sent[0]["tab"]


def test_cookieless_sends_again_while_the_page_lives(
    tab: Page, site: Site, collector: Collector
) -> None:
    collector.configure(mode="cookieless")
    collector.answer_with(503, times=1)
    tab.goto(site.url)
    [event] = collector.wait_for("pageview")
    assert [each["event_id"] for each in collector.sent("pageview")] == [event["event_id"]] * 2
    assert tab.evaluate(STORED) == NOTHING


@pytest.mark.leaves_pages
def test_a_property_that_becomes_cookieless_forgets_what_was_stored(
    tab: Page, site: Site, collector: Collector
) -> None:
    tab.goto(site.url)
    tab.evaluate("trackr.loginUser('u1')")
    collector.wait_for("loginUser")
    collector.configure(mode="cookieless")
    tab.goto(site.url)
    collector.wait_for("pageview", 2)
    assert tab.evaluate(STORED)[:3] == NOTHING[:3]


@pytest.mark.leaves_pages
def test_required_sends_and_stores_nothing_before_a_yes(
    tab: Page, site: Site, collector: Collector
) -> None:
    collector.configure(mode="required", more="/js/more.js")
    site.pages["/plain"] = "<p>No snippet"
    tab.goto(f"{site.url}/a")
    tab.wait_for_function("!!document.querySelector('script[src$=\"more.js\"]')")
    tab.evaluate("trackr.track('a'); blurred(); focused(); hidden_(); shown()")
    tab.evaluate("history.pushState({}, '', '/b')")
    tab.goto(f"{site.url}/plain")
    assert collector.requests == []
    assert tab.evaluate(STORED) == NOTHING


@pytest.mark.parametrize("choice", ["granted", "cookieless"])
def test_what_waited_for_a_yes_goes_out_with_it(
    choice: str, tab: Page, site: Site, collector: Collector
) -> None:
    collector.configure(mode="required", more="/js/more.js")
    tab.goto(f"{site.url}/a")
    tab.evaluate("trackr.track('a')")
    tab.evaluate(f"trackr.consent('{choice}')")
    [event] = collector.wait_for("a")
    [view] = collector.wait_for("pageview")
    assert event["consent"] == view["consent"] == choice
    assert ("visitor" in view) == (choice == "granted")
    assert (tab.evaluate("document.cookie") != "") == (choice == "granted")


@pytest.mark.leaves_pages
def test_a_no_drops_what_waited_and_what_comes(tab: Page, site: Site, collector: Collector) -> None:
    collector.configure(mode="required", more="/js/more.js")
    tab.goto(f"{site.url}/a")
    tab.evaluate("trackr.track('a'); trackr.consent('denied')")
    tab.wait_for_function("trackr.consent() === 'denied'")
    tab.evaluate("trackr.track('b'); hidden_()")
    tab.goto(f"{site.url}/b")
    tab.wait_for_function("trackr.consent() === 'denied'")
    assert collector.requests == []
    assert tab.evaluate("document.cookie") == ""
    assert not [k for k in tab.evaluate("Object.keys(localStorage)") if "consent" not in k]


def test_the_page_is_never_told_of_a_failing_file(
    tab: Page, site: Site, collector: Collector, sentinel: Callable[[], None]
) -> None:
    collector.configure(more="/nowhere.js")
    site.html = page(modern(collector))
    tab.goto(site.url)
    tab.evaluate("trackr.convert('order')")
    sentinel()
    assert collector.sent("conversion") == []
