"""Pages that use the tracker's names for their own, restrict scripts or wrong the queue."""

import pytest
from playwright.sync_api import Page

from .collector import Collector, Site
from .conftest import KEY, modern, page
from .switches import visit
from .test_snippets import FIRST, HEAD


@pytest.mark.parametrize("name", ["trackr", "Trackr"])
@pytest.mark.parametrize("snippet", ["modern", "first"])
def test_an_element_with_that_id(
    name: str, snippet: str, tab: Page, site: Site, collector: Collector
) -> None:
    text = modern(collector) if snippet == "modern" else FIRST % (KEY, collector.url)
    site.html = page(HEAD, f'<p id="{name}">Text</p>{text}')
    visit(tab, site, collector, "calls")
    tab.evaluate("trackr.convert('goal')")
    collector.wait_for("conversion")
    assert len(collector.accepted("pageview")) == 1


def test_two_properties_on_one_page(tab: Page, site: Site, collector: Collector) -> None:
    site.html = page(modern(collector, key="AK-A") + modern(collector, key="AK-B"))
    visit(tab, site, collector, "calls")
    collector.wait_for("pageview", 2)
    tab.evaluate("new Trackr({account: 'AK-A'}).convert('a'); trackr.convert('b')")
    collector.wait_for("conversion", 2)
    assert len(collector.sent("conversion")) == len(collector.sent("pageview")) == 2
    assert len({view["visitor"] for view in collector.sent("pageview")}) == 1


@pytest.mark.parametrize("queue", ["{q: 7}", "{q: {}}", "'text'", "document"])
def test_a_queue_that_is_none(queue: str, tab: Page, site: Site, collector: Collector) -> None:
    site.html = page(f"<script>window.trackr = {queue}</script>" + modern(collector))
    tab.goto(site.url)
    collector.wait_for("pageview")
    tab.evaluate("trackr.q.push(5); trackr.q.push(); trackr.q.push(['track', 'pushed'])")
    collector.wait_for("pushed")


def test_where_no_file_may_be_added_the_core_works(
    tab: Page, site: Site, collector: Collector
) -> None:
    policy = "require-trusted-types-for 'script'"
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    site.html = page(meta + modern(collector))
    collector.configure(capture=["calls"], more="/js/more.js", vitals="/js/vitals.js")
    tab.goto(site.url)
    collector.wait_for("pageview")
    tab.evaluate("trackr.convert('goal'); trackr.track('after')")
    collector.wait_for("after")
    assert [event["name"] for event in collector.sent()] == ["pageview", "after"]


def test_no_global_but_the_two(tab: Page, site: Site, collector: Collector) -> None:
    before = "<script>window.before = Object.getOwnPropertyNames(window)</script>"
    site.html = page(before + modern(collector))
    collector.configure(vitals="/js/vitals.js")
    visit(tab, site, collector, "elements", "outbound", "forms", "not_found", "calls")
    new = "Object.getOwnPropertyNames(window).filter((name) => !before.includes(name)).sort()"
    assert tab.evaluate(new) == ["Trackr", "before", "trackr"]
