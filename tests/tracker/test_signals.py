"""Do Not Track and Global Privacy Control do what the property says."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from .collector import KEY, Collector, Site
from .test_configuration import NOTHING, STORED

SIGNALS = {
    "gpc": "Object.defineProperty(navigator, 'globalPrivacyControl', {value: true})",
    "dnt": "Object.defineProperty(navigator, 'doNotTrack', {value: '1'})",
}


@pytest.fixture(params=SIGNALS)
def signal(request: pytest.FixtureRequest, tab: Page) -> str:
    tab.add_init_script(SIGNALS[request.param])
    return request.param


def test_ignored(signal: str, tab: Page, site: Site, collector: Collector) -> None:
    collector.configure(signals="ignore")
    tab.goto(site.url)
    [event] = collector.wait_for("pageview")
    assert event["visitor"]
    assert event["visitor"] in tab.evaluate("document.cookie")


def test_cookieless(
    signal: str, tab: Page, site: Site, collector: Collector, sentinel: Callable[[], None]
) -> None:
    tab.goto(site.url)
    [event] = collector.wait_for("pageview")
    sentinel()
    assert "visitor" not in event
    assert tab.evaluate(STORED) == NOTHING


def test_dropped_but_counted(signal: str, tab: Page, site: Site, collector: Collector) -> None:
    collector.configure(signals="drop", more="/js/more.js")
    tab.goto(f"{site.url}/a?secret=1")
    bare = {"property": KEY, "name": "pageview"}
    collector.wait(lambda: [r.body for r in collector.requests] == [bare], "a bare page view")
    tab.evaluate("trackr.track('a'); trackr.loginUser('u'); blurred(); focused()")
    tab.evaluate("history.pushState({}, '', '/b')")
    collector.wait(lambda: len(collector.requests) == 2, "that of the second page")
    assert [request.body for request in collector.requests] == [bare, bare]
    assert tab.evaluate(STORED) == NOTHING


def test_a_yes_does_not_outdo_the_signal(
    signal: str, tab: Page, site: Site, collector: Collector
) -> None:
    collector.configure(mode="required", more="/js/more.js")
    tab.goto(site.url)
    tab.evaluate("trackr.consent('granted')")
    [event] = collector.wait_for("pageview")
    assert "visitor" not in event
    assert tab.evaluate("document.cookie") == ""


def test_no_signal_is_no_signal(tab: Page, site: Site, collector: Collector) -> None:
    tab.add_init_script("Object.defineProperty(navigator, 'doNotTrack', {value: 'unspecified'})")
    collector.configure(signals="drop", more="/js/more.js")
    tab.goto(site.url)
    [event] = collector.wait_for("pageview")
    assert event["visitor"]
