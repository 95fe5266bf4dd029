"""Pings: 5 s engaged, 15 s visible, 60 s hidden, silence after two hours, gone when left."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from .collector import Collector, Site
from .conftest import KEY


def test_the_cadence(
    tab: Page,
    site: Site,
    collector: Collector,
    stopped: None,
    sentinel: Callable[[], None],
) -> None:
    def after(milliseconds: int, *states: str) -> None:
        """These states are said in that time, and no other.

        A ping has a connection of its own and may come after the sentinel: what is expected is
        waited for, and the sentinel gives the rest a chance to come.
        """
        before = len(collector.states())
        tab.clock.run_for(milliseconds)
        collector.wait(
            lambda: len(collector.states()) >= before + len(states), f"{states} after {before}"
        )
        sentinel()
        assert collector.states()[before:] == list(states)

    tab.goto(site.url)
    collector.wait_for_ping("engaged")
    after(4_000)
    tab.mouse.move(30, 30)
    after(999)
    after(1, "engaged")
    after(4_999)
    after(1, "visible")  # no longer engaged since four seconds: said when it was due
    after(14_999)
    after(1, "visible")
    tab.evaluate("hidden_()")
    collector.wait_for_ping("hidden")
    after(59_999)
    after(1, "hidden")
    tab.evaluate("shown()")
    collector.wait_for_ping("visible", 3)
    tab.mouse.move(40, 40)
    collector.wait_for_ping("engaged", 3)

    expected = {"engaged": 5_000, "visible": 15_000, "hidden": 60_000}
    assert {(ping["state"], ping["next_ms"]) for ping in collector.pings()} == set(expected.items())


def test_silence_after_two_hours_until_somebody_comes_back(
    tab: Page,
    site: Site,
    collector: Collector,
    stopped: None,
    sentinel: Callable[[], None],
) -> None:
    tab.goto(site.url)
    collector.wait_for_ping("engaged")
    tab.evaluate("hidden_()")
    collector.wait_for_ping("hidden")
    tab.clock.run_for(120 * 60_000)
    collector.wait_for_ping("hidden", 120)
    said = len(collector.pings())
    tab.clock.run_for(60 * 60_000)
    tab.evaluate("shown()")
    tab.evaluate("hidden_()")
    sentinel()
    assert len(collector.pings()) == said
    tab.evaluate("shown()")
    tab.mouse.move(50, 50)
    collector.wait_for_ping("engaged", 2)


def test_a_ping_says_who_and_where(tab: Page, site: Site, collector: Collector) -> None:
    tab.goto(f"{site.url}/a")
    collector.wait_for_ping("engaged")
    [view] = collector.wait_for("pageview")
    [ping] = collector.pings()
    assert ping["property"] == KEY
    for name in ("url", "visitor", "session", "tab", "title"):
        assert ping[name] == view[name]
    assert "events" not in ping


@pytest.mark.leaves_pages
def test_leaving_says_gone(tab: Page, site: Site, collector: Collector) -> None:
    site.pages["/plain"] = "<p>No snippet"
    tab.goto(f"{site.url}/a")
    collector.wait_for_ping("engaged")
    tab.goto(f"{site.url}/plain")
    collector.wait_for_ping("gone")
    assert collector.states() == ["engaged", "gone"]
    assert collector.pings()[-1]["next_ms"] == 0


def test_a_ping_is_never_repeated_nor_queued(
    tab: Page, site: Site, collector: Collector, sentinel: Callable[[], None]
) -> None:
    tab.goto(site.url)
    collector.wait_for_ping("engaged")
    collector.wait_for("pageview")
    tab.context.set_offline(True)
    tab.evaluate("blurred()")
    tab.evaluate("focused()")
    assert "ping" not in str(tab.evaluate("JSON.stringify(localStorage)"))
    tab.context.set_offline(False)
    sentinel()
    assert collector.states() == ["engaged"]
