"""web_vitals: one event a page load, with what the browser really measured."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from .collector import BUILT, Collector, Site
from .conftest import modern, page

BODY = """<h1>Text</h1><button onclick="for (const t = performance.now() + 60;
    performance.now() < t;);">Slow</button><p>Below</p><script>
    window.seen = {};
    for (const type of ['largest-contentful-paint', 'layout-shift', 'event']) {
      new PerformanceObserver((list) => {
        if (list.getEntries().some((each) => each.interactionId !== 0)) seen[type] = true;
      }).observe({type, buffered: true, durationThreshold: 16});
    }</script>"""
SHIFT = """() => {
    const block = document.createElement('div');
    block.style.height = '200px';
    document.body.prepend(block);
}"""


@pytest.fixture
def built(collector: Collector, site: Site) -> None:
    assert BUILT.with_name("vitals.js").exists(), "run `npm ci && npm run build` in frontend/"
    collector.script = BUILT
    site.html = page(modern(collector), BODY)


def wait_until_seen(tab: Page, kind: str) -> None:
    """Until the browser has told its observers, of which the library is one, and the library has
    done what it put off to an idle moment."""
    told = "kind => seen[kind] && watching[kind] > 1 && putOff === done"
    tab.wait_for_function(told, arg=kind)
    tab.evaluate("new Promise((resolve) => setTimeout(resolve, 20))")  # the library's own task
    tab.wait_for_function(told, arg=kind)


def open_page(tab: Page, site: Site, collector: Collector) -> None:
    # The library waits for idle moments, which a busy machine has none of.
    tab.add_init_script("""
        window.putOff = window.done = 0;
        window.watching = {};  // how many observe a kind of entries: this test, and the library
        const { observe } = PerformanceObserver.prototype;
        PerformanceObserver.prototype.observe = function (options) {
          watching[options.type] = (watching[options.type] || 0) + 1;
          return observe.call(this, options);
        };
        window.requestIdleCallback = (fn) => {
          putOff++;
          return setTimeout(() => { fn(); done++; });
        };
    """)
    collector.configure(capture=["vitals"], vitals="/js/vitals.js")
    tab.goto(f"{site.url}/load")
    tab.wait_for_function(
        "performance.getEntriesByType('resource').some((each) => each.name.endsWith('vitals.js'))"
    )
    collector.wait_for("pageview")
    wait_until_seen(tab, "largest-contentful-paint")


@pytest.mark.usefixtures("built")
def test_what_was_measured_once_when_the_page_is_hidden(
    tab: Page, site: Site, collector: Collector, sentinel: Callable[[], None]
) -> None:
    open_page(tab, site, collector)
    tab.evaluate(SHIFT)
    wait_until_seen(tab, "layout-shift")
    tab.click("button")
    wait_until_seen(tab, "event")
    assert collector.sent("web_vitals") == []
    tab.evaluate("hidden_()")
    [event] = collector.wait_for("web_vitals")
    assert event["url"] == f"{site.url}/load"
    props = event["props"]
    assert set(props) == {"lcp", "inp", "cls", "fcp", "ttfb"}
    assert all(isinstance(props[name], int) for name in ("lcp", "inp", "fcp", "ttfb"))
    assert props["inp"] >= 56  # browsers report it in steps of 8 ms
    assert 0 <= props["ttfb"] <= props["fcp"] <= props["lcp"]
    assert 0 < props["cls"] < 1
    assert props["cls"] == round(props["cls"], 4)
    tab.evaluate("shown(); hidden_(); shown()")
    sentinel()
    assert len(collector.accepted("web_vitals")) == 1


@pytest.mark.usefixtures("built")
def test_switched_off_nothing_is_loaded(
    tab: Page, site: Site, collector: Collector, sentinel: Callable[[], None]
) -> None:
    tab.goto(site.url)
    collector.wait_for("pageview")
    tab.evaluate("hidden_()")
    sentinel()
    assert collector.sent("web_vitals") == []
    assert tab.evaluate("document.querySelectorAll('script[src$=\"vitals.js\"]').length") == 0
