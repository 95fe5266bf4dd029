"""One's own visits: optOut, and the addresses that do the same."""

import pytest
from playwright.sync_api import Page

from .collector import Collector, Site


@pytest.mark.leaves_pages
@pytest.mark.parametrize("way", ["call", "address"])
def test_off_until_on(way: str, tab: Page, site: Site, collector: Collector) -> None:
    site.pages["/plain"] = "<p>No snippet"
    if way == "call":
        tab.goto(f"{site.url}/a")
        collector.wait_for("pageview")
        tab.evaluate("trackr.optOut(true); trackr.track('b'); hidden_()")
        assert "trackit" not in tab.evaluate("document.cookie")
    else:
        tab.goto(f"{site.url}/a#trackr-off")
    before = len(collector.requests)
    questions = len(collector.configured)
    tab.goto(f"{site.url}/c")
    tab.evaluate("trackr.track('d'); trackr('trackPageStart'); trackr.trackPageEnd(); hidden_()")
    tab.goto(f"{site.url}/plain")
    assert collector.sent("b") == collector.sent("d") == []
    assert len(collector.configured) == questions  # not even that is asked
    assert len([r for r in collector.requests[before:] if r.events]) == 0

    if way == "call":
        tab.goto(f"{site.url}/e")
        tab.evaluate("trackr.optOut(false)")
        tab.goto(f"{site.url}/f")
    else:
        tab.goto(f"{site.url}/f#trackr-on")
    views = collector.wait_for("pageview", 2 if way == "call" else 1)
    assert views[-1]["url"] == f"{site.url}/f"


@pytest.mark.leaves_pages
def test_off_before_the_configuration_has_come(tab: Page, site: Site, collector: Collector) -> None:
    collector.configure(capture=["calls"], more="/js/more.js")
    collector.hold_configuration()
    tab.goto(site.url)
    collector.wait(lambda: collector.configured, "the question for the configuration")
    tab.evaluate("trackr.optOut(true)")
    collector.release_configuration()
    tab.wait_for_function("trackr.consent()")
    assert tab.evaluate("trackr.consent('granted')") == "denied"
    tab.evaluate("trackr.track('a'); hidden_()")
    tab.goto("about:blank")
    assert collector.requests == []
