"""Nothing is lost: what the collector has not answered for goes out again, with the same id."""

import json
from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page

from .collector import Collector, Site
from .conftest import KEY, modern, page

QUEUE = f"Object.keys(localStorage).filter(key => key.startsWith('trackr_{KEY}_q')).length"


def ids(events: list[dict[str, str]]) -> list[str]:
    return [event["event_id"] for event in events]


def leave_behind(tab: Page, name: str, milliseconds: int) -> None:
    """Put an event of another tab into the queue, so many milliseconds old."""
    tab.evaluate(
        """([key, name, age]) => {
            const time = Date.now() - age;
            const event = {name, event_id: name, tab: 'other', time, url: location.href};
            localStorage.setItem(`trackr_${key}_q${time}_x`, JSON.stringify(event));
        }""",
        [KEY, name, milliseconds],
    )


def wait_until_sent(collector: Collector, name: str, count: int = 1) -> None:
    collector.wait(lambda: len(collector.sent(name)) >= count, f"{count} sendings of {name}")


@pytest.mark.parametrize("status", [408, 429, 500, 503, 302, 200])
def test_what_is_not_answered_for_is_sent_again(
    status: int, tab: Page, site: Site, collector: Collector
) -> None:
    collector.answer_with(status, times=1)
    tab.goto(site.url)
    [event] = collector.wait_for("pageview")
    assert ids(collector.sent("pageview")) == [event["event_id"]] * 2
    assert collector.sent("pageview")[0] == event  # unchanged, its time too
    tab.wait_for_function(f"{QUEUE} === 0")


@pytest.mark.parametrize("status", [400, 401, 403, 413, 415, 422])
def test_a_refusal_is_final(
    status: int, tab: Page, site: Site, collector: Collector, sentinel: Callable[[], None]
) -> None:
    collector.answer_with(status, times=1)
    tab.goto(site.url)
    wait_until_sent(collector, "pageview")
    tab.wait_for_function(f"{QUEUE} === 0")
    sentinel()
    assert len(collector.sent("pageview")) == 1


@pytest.mark.leaves_pages
def test_retry_after_binds_this_page_and_the_next(
    tab: Page, site: Site, collector: Collector, stopped: None
) -> None:
    collector.answer_with(503, times=1, Retry_After="120")
    tab.goto(f"{site.url}/a")
    wait_until_sent(collector, "pageview")
    tab.wait_for_function(f"localStorage.getItem('trackr_{KEY}_w')")
    tab.clock.run_for(60_000)
    tab.goto(f"{site.url}/b")
    collector.wait_for_ping("gone")
    tab.clock.run_for(59_000)
    collector.wait_for_ping("visible", 2)
    assert len(collector.sent()) == 1  # neither timer, page, nor leaving sent more
    tab.clock.run_for(3_000)
    collector.wait_for("pageview", 2)
    collector.wait_for("engagement")


def pass_time(tab: Page, until: Callable[[], bool], step: int, most: int) -> int:
    """Run the stopped clock until something is true; the milliseconds that it took."""
    waited = 0
    while not until():
        tab.clock.run_for(step)
        tab.evaluate("fetch('/').then(() => 0)")  # one round trip, in which answers arrive
        waited += step
        assert waited <= most
    return waited


def test_back_off_grows_is_bounded_and_begins_anew(
    tab: Page, site: Site, collector: Collector, stopped: None
) -> None:
    def tries(n: int) -> Callable[[], bool]:
        return lambda: len(collector.sent("pageview")) >= n

    collector.answer_with(503)
    tab.goto(site.url)
    wait_until_sent(collector, "pageview")
    waits = [
        pass_time(tab, tries(n), step=100 if n < 6 else 5_000, most=350_000) for n in range(2, 13)
    ]
    assert waits[0] < waits[4] < waits[8]

    collector.recover()
    pass_time(tab, lambda: bool(collector.accepted("pageview")), step=5_000, most=350_000)
    tab.wait_for_function(f"{QUEUE} === 0")
    collector.answer_with(503, times=1)
    tab.evaluate("trackr.track('a')")
    pass_time(tab, lambda: bool(collector.accepted("a")), step=100, most=5_000)


@pytest.mark.leaves_pages
def test_kept_from_page_to_page(tab: Page, site: Site, collector: Collector) -> None:
    collector.answer_with(503)
    tab.goto(f"{site.url}/a")
    tab.evaluate("trackr.track('order', {id: 7})")
    wait_until_sent(collector, "pageview")
    before = collector.sent("pageview")[0]
    assert collector.accepted() == []
    collector.recover()
    tab.goto(f"{site.url}/b")
    [order] = collector.wait_for("order")
    assert order["url"] == f"{site.url}/a"
    assert order["props"] == {"id": 7}
    assert before["event_id"] in ids(collector.wait_for("pageview", 2))
    tab.wait_for_function(f"{QUEUE} === 0")


def test_offline_and_back(tab: Page, site: Site, collector: Collector, stopped: None) -> None:
    tab.goto(site.url)
    collector.wait_for("pageview")
    tab.wait_for_function(f"{QUEUE} === 0")
    tab.context.set_offline(True)
    with tab.expect_event("requestfailed"):
        tab.evaluate("trackr.track('a'); trackr.track('b')")
    assert tab.evaluate(QUEUE) == 2
    assert collector.sent("a") == []
    tab.context.set_offline(False)  # the clock stands still: no back-off can end
    collector.wait_for("a")
    collector.wait_for("b")
    assert len(collector.sent("a")) == len(collector.sent("b")) == 1


@pytest.mark.leaves_pages
def test_leaving_at_once_loses_nothing(tab: Page, site: Site, collector: Collector) -> None:
    site.pages["/plain"] = "<p>No snippet"
    tab.goto(f"{site.url}/a")
    collector.wait_for("pageview")
    tab.evaluate(
        "setTimeout(() => { trackr.track('out', {to: 'shop'}); location.href = '/plain' })"
    )
    [event] = collector.wait_for("out")
    collector.wait_for("engagement")
    assert event["url"] == f"{site.url}/a"


@pytest.mark.leaves_pages
def test_leaving_sends_by_itself(tab: Page, site: Site, collector: Collector) -> None:
    site.pages["/plain"] = "<p>No snippet"
    tab.goto(f"{site.url}/a")
    collector.wait_for("pageview")
    tab.wait_for_function(f"{QUEUE} === 0")  # nothing is under way that could take it along
    tab.goto(f"{site.url}/plain")
    collector.wait_for("engagement")


def test_closing_the_tab_sends_by_itself(
    visitor: BrowserContext, site: Site, collector: Collector
) -> None:
    tab = visitor.new_page()
    tab.goto(f"{site.url}/a")
    collector.wait_for("pageview")
    tab.wait_for_function(f"{QUEUE} === 0")
    tab.close(run_before_unload=True)
    collector.wait_for("engagement")
    collector.wait_for_ping("gone")


@pytest.mark.leaves_pages
def test_a_page_that_never_got_its_answer(tab: Page, site: Site, collector: Collector) -> None:
    collector.hold()
    tab.goto(f"{site.url}/a")
    wait_until_sent(collector, "pageview")
    tab.goto(f"{site.url}/b")
    wait_until_sent(collector, "pageview", 3)
    collector.release()
    first, again = (e for e in collector.sent("pageview") if e["url"].endswith("/a"))
    assert first == again  # the collector knows it by its id
    assert len(collector.accepted("pageview")) == 2
    tab.wait_for_function(f"{QUEUE} === 0")


def sizes(collector: Collector) -> list[int]:
    return [len(json.dumps(request.body, separators=(",", ":"))) for request in collector.batches]


def test_what_is_too_long_takes_nothing_else_with_it(
    tab: Page, site: Site, collector: Collector, sentinel: Callable[[], None]
) -> None:
    collector.hold()
    tab.goto(site.url)
    tab.evaluate(
        "for (const length of [10, 30000, 10]) trackr.track('n', {text: 'x'.repeat(length)})"
    )
    collector.release()
    collector.wait_for("n", 3)
    alone = [request for request in collector.batches if len(json.dumps(request.body)) > 20_500]
    assert [len(request.events) for request in alone] == [1]


def test_two_tabs_send_nothing_twice(
    visitor: BrowserContext, site: Site, collector: Collector
) -> None:
    collector.hold()
    tabs = [visitor.new_page(), visitor.new_page()]
    for tab in tabs:
        tab.goto(site.url)
        tab.evaluate("for (let n = 0; n < 80; n++) trackr.track('n', {n})")
    collector.release()
    collector.wait_for("n", 160)
    collector.wait_for("pageview", 2)
    sent = ids(collector.sent())
    assert len(sent) == len(set(sent)) == 162
    assert max(sizes(collector)) < 20_500
    for tab in tabs:
        tab.wait_for_function(f"{QUEUE} === 0")


def test_what_another_tab_left_is_taken_over_when_it_had_its_time(
    tab: Page, site: Site, collector: Collector, sentinel: Callable[[], None]
) -> None:
    tab.goto(site.url)
    collector.wait_for("pageview")
    leave_behind(tab, "fresh", milliseconds=5_000)
    leave_behind(tab, "left", milliseconds=60_000)
    sentinel()
    collector.wait_for("left")
    assert collector.sent("fresh") == []
    tab.wait_for_function(f"{QUEUE} === 1")


def test_requests_outlive_the_page_unless_browsers_would_refuse_them(
    tab: Page, site: Site, collector: Collector
) -> None:
    spy = """<script>const real = fetch; window.asked = [];
      window.fetch = (url, options) => {
        if (options.body) asked.push([options.body.length, options.keepalive]);
        return real(url, options);
      }
    </script>"""
    site.html = page(spy + modern(collector))
    tab.goto(site.url)
    collector.wait_for("pageview")
    tab.evaluate("""() => {
        trackr.track('small', {text: '€'.repeat(6000)});
        setTimeout(() => trackr.track('huge', {text: '€'.repeat(30000)}));
    }""")
    collector.wait_for("small")
    collector.wait_for("huge")
    asked = tab.evaluate("asked")
    assert {kept for length, kept in asked if length < 20_000} == {True}
    assert {kept for length, kept in asked if length > 21_000} == {False}


@pytest.mark.leaves_pages
def test_the_queue_is_bounded_and_tells_what_it_dropped(
    tab: Page, site: Site, collector: Collector
) -> None:
    collector.answer_with(503)
    tab.goto(site.url)
    wait_until_sent(collector, "pageview")
    tab.evaluate("for (let n = 0; n < 230; n++) trackr.track('n' + n)")
    assert tab.evaluate(QUEUE) == 200
    tab.evaluate("localStorage.removeItem(Object.keys(localStorage).find(k => /wait/.test(k)))")
    collector.recover()
    tab.goto(site.url)
    collector.wait_for("n229")
    assert collector.accepted("n0") == []  # the oldest went
    tab.wait_for_function(f"{QUEUE} === 0")
    told = [event["props"]["count"] for event in collector.wait_for("events_lost")]
    # 231 events were made before the next page, and the two of the change of pages.
    assert 31 <= sum(told) <= 33
    ids_told = ids(collector.sent("events_lost"))
    assert len(ids_told) == len(set(ids_told))


@pytest.mark.leaves_pages
def test_what_is_older_than_a_week_is_dropped(
    tab: Page, site: Site, collector: Collector, sentinel: Callable[[], None]
) -> None:
    site.pages["/untracked"] = page("")
    tab.goto(f"{site.url}/untracked")
    leave_behind(tab, "days6", milliseconds=6 * 86_400_000)
    leave_behind(tab, "days8", milliseconds=8 * 86_400_000)
    tab.goto(site.url)
    collector.wait_for("days6")
    sentinel()
    [lost] = collector.wait_for("events_lost")
    assert lost["props"] == {"count": 1}
    assert collector.sent("days8") == []
    tab.wait_for_function(f"{QUEUE} === 0")


def test_without_storage_events_wait_in_memory(tab: Page, site: Site, collector: Collector) -> None:
    forbid = """<script>for (const name of ['localStorage', 'sessionStorage'])
      Object.defineProperty(window, name, {get() { throw new DOMException('no', 'SecurityError') }})
    </script>"""
    site.html = page(forbid + modern(collector, 'data-track-tabs="false"'))
    collector.answer_with(503, times=1)
    tab.goto(site.url)
    tab.evaluate("trackr.track('a')")
    [event] = collector.wait_for("pageview")
    collector.wait_for("a")
    assert ids(collector.sent("pageview")) == [event["event_id"]] * 2


def test_without_cookies_the_page_keeps_its_ids(
    tab: Page, site: Site, collector: Collector
) -> None:
    forbid = """<script>Object.defineProperty(document, 'cookie', {
      get() { throw new DOMException('no', 'SecurityError') },
      set() { throw new DOMException('no', 'SecurityError') }})</script>"""
    site.html = page(forbid + modern(collector))
    tab.goto(site.url)
    tab.evaluate("trackr.loginUser('u'); trackr.track('a')")
    [view] = collector.wait_for("pageview")
    [event] = collector.wait_for("a")
    assert event["visitor"] == view["visitor"]
    assert event["user"] == "u"


@pytest.mark.leaves_pages
def test_a_full_storage_loses_nothing_of_this_page(
    tab: Page, site: Site, collector: Collector
) -> None:
    collector.answer_with(503, times=1)
    tab.goto(site.url)
    wait_until_sent(collector, "pageview")
    tab.evaluate("""() => {
        let text = 'x'.repeat(1 << 20);
        while (text) try { localStorage.setItem('big' + Math.random(), text) }
          catch { text = text.slice(text.length / 2 + 0.5) }
        trackr.track('a'); trackr.track('b');
    }""")
    collector.wait_for("a")
    collector.wait_for("b")
    tab.evaluate(
        "Object.keys(localStorage).map(key => key.startsWith('big') && delete localStorage[key])"
    )
    tab.goto(site.url)
    collector.wait_for("pageview", 2)
    tab.wait_for_function(f"{QUEUE} === 0")


def test_a_storage_that_is_filled_while_a_request_is_under_way(
    tab: Page, site: Site, collector: Collector
) -> None:
    collector.answer_with(503, times=1)
    collector.hold()
    tab.goto(site.url)
    wait_until_sent(collector, "pageview")
    tab.evaluate("""() => {
        let text = 'x'.repeat(1 << 20);
        while (text) try { localStorage.setItem('big' + Math.random(), text) }
          catch { text = text.slice(text.length / 2 + 0.5) }
    }""")
    collector.release()
    collector.wait_for("pageview")  # there is no room for when to send again, yet it is sent
    assert len(collector.sent("pageview")) == 2


def test_a_strict_policy_needs_nothing_inline(
    tab: Page, site: Site, collector: Collector, sentinel: Callable[[], None]
) -> None:
    collector.configure(more="/js/more.js", capture=["calls", "elements"])
    policy = f"default-src 'none'; script-src {collector.url}; connect-src {collector.url}"
    site.html = (
        f'<!doctype html><meta http-equiv="Content-Security-Policy" content="{policy}">'
        "<title>Strict</title>" + modern(collector, 'data-allow-automation=""')
    )
    complaints: list[str] = []
    tab.on("console", lambda message: complaints.append(message.text))
    tab.goto(site.url)
    tab.evaluate("trackr.convert('order')")
    collector.wait_for("conversion")
    sentinel()
    assert len(collector.accepted("pageview")) == 1
    assert [text for text in complaints if "favicon" not in text] == []
