"""Engaged time: visible, focused and interacted with in the last five seconds; and scroll depth."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from .collector import Collector, Site
from .conftest import modern, page


def spans(collector: Collector) -> list[int]:
    return [event["engaged_ms"] for event in collector.accepted("engagement")]


def test_the_clock_runs_five_seconds_after_an_interaction(
    tab: Page, site: Site, collector: Collector, stopped: None
) -> None:
    tab.goto(site.url)
    collector.wait_for("pageview")
    tab.clock.run_for(2_000)
    tab.mouse.move(10, 10)
    tab.clock.run_for(60_000)
    tab.evaluate("blurred()")
    [event] = collector.wait_for("engagement")
    assert event["engaged_ms"] == 7_000
    assert event["url"] == f"{site.url}/"
    assert event["scroll"] == 100  # a page that fits the window was seen whole


def test_a_sleeping_computer_is_not_engaged(
    tab: Page, site: Site, collector: Collector, stopped: None
) -> None:
    tab.goto(site.url)
    collector.wait_for("pageview")
    tab.clock.fast_forward(60_000)  # no timer ran in between
    tab.mouse.move(10, 10)
    tab.clock.run_for(1_000)
    tab.evaluate("blurred()")
    collector.wait_for("engagement")
    assert spans(collector) == [6_000]


def test_blurred_hidden_and_short_times_do_not_count(
    tab: Page,
    site: Site,
    collector: Collector,
    stopped: None,
    sentinel: Callable[[], None],
) -> None:
    tab.goto(site.url)
    collector.wait_for("pageview")
    tab.clock.run_for(1_000)
    tab.evaluate("blurred()")
    collector.wait_for("engagement")
    assert spans(collector) == [1_000]  # the first is always sent

    tab.clock.run_for(4_000)  # looked away
    tab.mouse.move(20, 20)  # the pointer crosses a window in the background
    tab.clock.run_for(1_000)
    tab.evaluate("focused()")
    tab.clock.run_for(2_000)
    tab.evaluate("blurred()")
    sentinel()
    assert spans(collector) == [1_000]  # under three seconds: not yet worth an event

    tab.evaluate("focused()")
    tab.clock.run_for(1_500)
    tab.evaluate("hidden_()")
    collector.wait_for("engagement", 2)
    assert spans(collector) == [1_000, 3_500]  # the increment, nothing lost and nothing twice

    tab.clock.run_for(30_000)
    tab.evaluate("shown()")
    tab.evaluate("blurred()")
    sentinel()
    assert spans(collector) == [1_000, 3_500]


def test_focus_in_a_frame_is_still_the_page(
    tab: Page,
    site: Site,
    collector: Collector,
    stopped: None,
    sentinel: Callable[[], None],
) -> None:
    tab.goto(site.url)
    collector.wait_for("pageview")
    tab.clock.run_for(4_000)
    tab.evaluate("dispatchEvent(new Event('blur'))")  # the window's blur; the document has focus
    sentinel()
    assert collector.sent("engagement") == []


@pytest.mark.leaves_pages
def test_a_page_opened_in_the_background_is_not_engaged(
    tab: Page, site: Site, collector: Collector, stopped: None
) -> None:
    site.html = page("<script>become('hidden', false)</script>" + modern(collector))
    site.pages["/next"] = "<p>No snippet"
    tab.goto(site.url)
    collector.wait_for_ping("hidden")
    tab.clock.run_for(10_000)
    tab.goto(f"{site.url}/next")
    collector.wait_for_ping("gone")
    collector.wait(lambda: collector.sent("engagement"), "the engagement of a page left")
    assert collector.sent("engagement")[0]["engaged_ms"] == 0
    assert "engaged" not in collector.states()


@pytest.mark.leaves_pages
def test_leaving_tells_the_time_once_accepted(
    tab: Page, site: Site, collector: Collector, stopped: None
) -> None:
    tab.goto(f"{site.url}/a")
    collector.wait_for("pageview")
    tab.clock.run_for(4_000)
    tab.goto(f"{site.url}/b")
    collector.wait_for("pageview", 2)
    [event] = collector.wait_for("engagement")
    assert event["engaged_ms"] == 4_000
    assert event["url"] == f"{site.url}/a"


def test_each_route_has_its_own_time(
    tab: Page, site: Site, collector: Collector, stopped: None
) -> None:
    tab.goto(f"{site.url}/a")
    collector.wait_for("pageview")
    tab.clock.run_for(4_000)
    tab.evaluate("history.pushState({}, '', '/b')")
    tab.mouse.move(5, 5)
    tab.clock.run_for(2_000)
    tab.evaluate("blurred()")
    collector.wait_for("engagement", 2)
    times = {event["url"][-2:]: event["engaged_ms"] for event in collector.accepted("engagement")}
    assert times == {"/a": 4_000, "/b": 1_900}  # a route begins when its title can be known


def test_scroll_depth(
    tab: Page,
    site: Site,
    collector: Collector,
    stopped: None,
    sentinel: Callable[[], None],
) -> None:
    site.html = page(
        modern(collector), '<div style="height:5000px"></div><style>*{margin:0}</style>'
    )
    tab.goto(site.url)
    collector.wait_for("pageview")
    tab.evaluate("blurred()")
    collector.wait_for("engagement")
    tab.evaluate("new Promise(r => { addEventListener('scroll', r); scrollTo(0, 2000) })")
    tab.evaluate("new Promise(r => { addEventListener('scroll', r); scrollTo(0, 0) })")
    tab.evaluate("focused(); blurred()")
    collector.wait_for("engagement", 2)
    tab.evaluate("focused(); blurred()")  # neither further nor longer
    sentinel()
    assert [event["scroll"] for event in collector.accepted("engagement")] == [10, 50]

    # A page that grows after it was loaded: what was seen is a smaller part of it.
    tab.evaluate("document.querySelector('div').style.height = '10000px'")
    tab.evaluate("new Promise(r => { addEventListener('scroll', r); scrollTo(0, 5500) })")
    tab.evaluate("focused(); blurred()")
    collector.wait_for("engagement", 3)
    assert collector.accepted("engagement")[-1]["scroll"] == 60
