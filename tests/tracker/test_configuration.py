"""The configuration: asked for first, and nothing leaves or is stored before it has come."""

from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page

from .collector import KEY, Collector, Site
from .test_delivery import pass_time

STORED = "[Object.keys(localStorage), Object.keys(sessionStorage), document.cookie, window.name]"
NOTHING = [[], [], "", ""]


def test_nothing_leaves_or_is_stored_before_it_has_come(
    tab: Page, site: Site, collector: Collector
) -> None:
    collector.hold_configuration()
    tab.goto(f"{site.url}/a")
    tab.evaluate("props = {n: 1}; trackr.track('early', props); props.n = 2")
    collector.wait(lambda: collector.configured, "the question for the configuration")
    host = urlsplit(site.url).hostname
    assert collector.configured == [f"/js/{KEY}.json?host={host}"]
    assert collector.requests == []
    assert tab.evaluate(STORED) == NOTHING

    collector.release_configuration()
    [event] = collector.wait_for("early")
    [view] = collector.wait_for("pageview")
    assert event["props"] == {"n": 1}  # as it was when it was given
    assert event["time"] >= view["time"]
    assert event["visitor"] == view["visitor"]


@pytest.mark.leaves_pages
def test_an_unknown_property_is_left_alone(tab: Page, site: Site, collector: Collector) -> None:
    collector.configuration = None
    tab.goto(site.url)
    collector.wait(lambda: collector.configured, "the question for the configuration")
    tab.evaluate("trackr.track('a'); dispatchEvent(new Event('online')); blurred(); hidden_()")
    site.pages["/plain"] = "<p>No snippet"
    tab.goto(f"{site.url}/plain")
    assert len(collector.configured) == 1
    assert collector.requests == []
    assert tab.evaluate(STORED) == NOTHING


@pytest.mark.leaves_pages
def test_without_an_answer_the_last_known_one_holds(
    tab: Page, site: Site, collector: Collector
) -> None:
    tab.goto(f"{site.url}/a")
    collector.wait_for("pageview")
    collector.configuration_status = 503
    tab.goto(f"{site.url}/b")
    collector.wait_for("pageview", 2)
    assert len(collector.configured) == 2


def test_without_any_it_asks_again(
    tab: Page, site: Site, collector: Collector, stopped: None
) -> None:
    collector.configuration_status = 503
    tab.goto(site.url)
    collector.wait(lambda: collector.configured, "the question for the configuration")
    assert collector.requests == []
    collector.configuration_status = 200
    pass_time(tab, lambda: bool(collector.accepted("pageview")), step=100, most=5_000)
    [event] = collector.wait_for("pageview")
    assert event["url"] == f"{site.url}/"
    assert len(collector.configured) == 2


@pytest.mark.leaves_pages
@pytest.mark.parametrize("mode", ["cookieless", "required"])
def test_only_what_may_be_stored_is_remembered(
    mode: str, tab: Page, site: Site, collector: Collector
) -> None:
    collector.configure(mode=mode)
    tab.goto(site.url)
    collector.wait(lambda: collector.configured, "the question for the configuration")
    collector.configuration_status = 503
    tab.goto(f"{site.url}/b")
    collector.wait(lambda: len(collector.configured) == 2, "the second question")
    assert tab.evaluate("Object.keys(localStorage)") == []
    assert collector.accepted("pageview") == [
        event for event in collector.accepted("pageview") if event["url"] == f"{site.url}/"
    ]


def test_a_file_of_the_configuration_is_loaded_and_its_calls_replayed(
    tab: Page, site: Site, collector: Collector
) -> None:
    collector.configure(more="/js/more.js", capture=["calls"])
    tab.goto(site.url)
    assert tab.evaluate("typeof trackr.convert") == "function"  # before the file is there
    tab.evaluate("trackr.convert('order', 5); trackr('convert', 'other')")
    goals = [event["props"]["goal"] for event in collector.wait_for("conversion", 2)]
    assert goals == ["order", "other"]


def test_without_the_file_its_calls_are_dropped(
    tab: Page, site: Site, collector: Collector
) -> None:
    tab.goto(site.url)
    tab.evaluate("trackr.convert('order'); trackr.track('sentinel')")
    collector.wait_for("sentinel")
    assert [event["name"] for event in collector.sent()] == ["pageview", "sentinel"]


def test_a_promise_may_resolve_to_the_api(tab: Page, site: Site, collector: Collector) -> None:
    tab.goto(site.url)
    tab.evaluate("(async () => trackr)().then((api) => api.track('sentinel'))")
    collector.wait_for("sentinel")
