"""One's own visits: optOut, and the addresses that do the same."""

import pytest
from playwright.sync_api import Page

from .collector import Collector, Site


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
