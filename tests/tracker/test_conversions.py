"""convert(goal, value): what was reached, and what it is worth."""

from collections.abc import Callable

from playwright.sync_api import Page

from .collector import Collector, Site
from .conftest import modern, page
from .switches import visit

STUB = "<script>window.trackr = function(){(trackr.q = trackr.q || []).push(arguments)};</script>"


def test_a_conversion_and_its_value(
    tab: Page, site: Site, collector: Collector, sentinel: Callable[[], None]
) -> None:
    visit(tab, site, collector, "calls")
    tab.evaluate("""() => {
        trackr.convert('signup');
        trackr.convert('order', 12.5);
        trackr('convert', 'order', {amount: '8.10', currency: 'SEK'});
        trackr.convert('order', 0.1 + 0.2);
        trackr.convert('free', 0);
    }""")
    sentinel()
    events = collector.accepted("conversion")
    assert [(event["props"], event.get("revenue")) for event in events] == [
        ({"goal": "signup"}, None),
        ({"goal": "order"}, {"amount": "12.5"}),
        ({"goal": "order"}, {"amount": "8.1", "currency": "SEK"}),
        ({"goal": "order"}, {"amount": "0.3"}),
        ({"goal": "free"}, {"amount": "0"}),
    ]


def test_a_call_before_the_script_is_there_waits(
    tab: Page, site: Site, collector: Collector
) -> None:
    call = "<script>trackr('convert', 'early', 3)</script>"
    site.html = page(STUB + call + modern(collector))
    visit(tab, site, collector, "calls")
    [event] = collector.wait_for("conversion")
    assert event["props"] == {"goal": "early"}
    assert [each["name"] for each in collector.accepted()][:1] == ["pageview"]


def test_switched_off_nothing(
    tab: Page, site: Site, collector: Collector, sentinel: Callable[[], None]
) -> None:
    visit(tab, site, collector, "elements")
    tab.evaluate("trackr.convert('signup'); trackr('shop', 'purchase', {items: []})")
    tab.evaluate("trackr.interest('a'); trackr.variant('x', () => { throw 1 })")
    sentinel()
    assert {event["name"] for event in collector.sent()} <= {"pageview", "engagement", "sentinel"}
