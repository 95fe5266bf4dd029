"""interest(category, weight): adds up, fades with a half-life of 30 days, stays in the browser."""

from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page

from .collector import KEY, Collector, Site
from .switches import visit

STORED = f"Object.keys(localStorage).filter((key) => key === 'trackr_{KEY}_interests').length"


def test_interests_add_up_fade_and_are_sorted(
    tab: Page, site: Site, collector: Collector, stopped: None, sentinel: Callable[[], None]
) -> None:
    visit(tab, site, collector, "calls")
    tab.evaluate("trackr.interest('tea'); trackr.interest('coffee', 3); trackr.interest('tea', 1)")
    assert tab.evaluate("trackr.interests()") == [
        {"category": "coffee", "weight": 3},
        {"category": "tea", "weight": 2},
    ]
    sentinel()
    assert [event["props"] for event in collector.accepted("interest")] == [
        {"category": "tea", "weight": 1},
        {"category": "coffee", "weight": 3},
        {"category": "tea", "weight": 1},
    ]
    tab.clock.set_system_time(tab.evaluate("Date.now()") / 1000 + 30 * 86_400)
    tab.evaluate("trackr.interest('tea', 1)")
    assert tab.evaluate("trackr.interests()") == [
        {"category": "tea", "weight": 2},
        {"category": "coffee", "weight": 1.5},
    ]


@pytest.mark.leaves_pages
def test_they_are_there_on_the_next_page_and_bounded(
    tab: Page, site: Site, collector: Collector
) -> None:
    visit(tab, site, collector, "calls")
    tab.evaluate("for (let i = 1; i < 70; i++) trackr.interest(`c${i}`, i)")
    tab.evaluate("trackr.interest('c69', NaN); trackr.interest('c69', 'much')")
    tab.reload()
    tab.wait_for_function("trackr.consent()")
    interests = tab.evaluate("new Promise((resolve) => trackr.interests(resolve))")
    assert [each["category"] for each in interests] == [f"c{i}" for i in range(69, 19, -1)]
    assert interests[0]["weight"] > 68.9
    assert tab.evaluate(STORED) == 1


def test_cookieless_they_last_as_long_as_the_page(
    tab: Page, site: Site, collector: Collector, visitor: BrowserContext
) -> None:
    visit(tab, site, collector, "calls", mode="cookieless")
    tab.evaluate("trackr.interest('tea', 2)")
    collector.wait_for("interest")
    assert tab.evaluate("trackr.interests().length") == 1
    assert tab.evaluate("localStorage.length") == 0
    assert visitor.cookies() == []
