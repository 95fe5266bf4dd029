"""Both ways of loading: the modern snippet with calls before the script, and the first one."""

from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page

from .collector import Collector, Site
from .conftest import KEY, TESTING, modern, page

STUB = (
    "<script>window.trackr = window.trackr ||"
    " function(){(trackr.q = trackr.q || []).push(arguments)};</script>"
)

# As it stands in the README of the first tracker, but for the values of its options.
HEAD = "<script>\n\twindow.trackrloadstart = new Date().getTime();\n</script>"
FIRST = """<script>
	var o = {
		account:"%s",
		trackrClass:"track-it",
		serverUrl:"%s"
	};
	var r,s,t;r=false;s=document.createElement("script");s.type="text/javascript";s.src=o.serverUrl+"/js/trackr.js";s.onload=s.onreadystatechange=function(){if(!r&&(!this.readyState||this.readyState==="complete")){r=true;return window.trackr=new window.Trackr(o)}};t=document.getElementsByTagName("head")[0];t.appendChild(s)
</script>"""  # noqa: E501


def test_calls_before_the_script_are_replayed(tab: Page, site: Site, collector: Collector) -> None:
    early = "<script>trackr('track', 'signup', {plan: 'pro'}); trackr('loginUser', 42)</script>"
    site.html = page(STUB + early + "<script>window.stub = trackr</script>" + modern(collector))
    tab.goto(site.url)
    [signup] = collector.wait_for("signup")
    [login] = collector.wait_for("loginUser")
    assert signup["props"] == {"plan": "pro"}
    assert "user" not in signup
    assert login["user"] == "42"

    tab.evaluate("stub('track', 'kept'); trackr.track('method')")  # both stay usable
    collector.wait_for("kept")
    collector.wait_for("method")
    assert [event["name"] for event in collector.accepted()] == [
        "pageview", "signup", "loginUser", "kept", "method",
    ]  # fmt: skip


def test_unknown_and_broken_calls_do_nothing(tab: Page, site: Site, collector: Collector) -> None:
    tab.goto(site.url)
    collector.wait_for("pageview")
    tab.evaluate("""() => {
        trackr('constructor'); trackr('nothing', 1); trackr(); trackr('toString');
        const circle = {}; circle.circle = circle; trackr.track('circle', circle);
    }""")
    tab.evaluate("trackr.track('sentinel')")
    collector.wait_for("sentinel")
    assert [event["name"] for event in collector.sent()] == ["pageview", "sentinel"]


def test_log_in_and_out(tab: Page, site: Site, collector: Collector) -> None:
    tab.goto(site.url)
    tab.evaluate("trackr.loginUser('Zoë;1'); trackr.track('a'); trackr.logoutUser()")
    tab.evaluate("trackr.track('b')")
    collector.wait_for("b")
    users = {event["name"]: event.get("user") or None for event in collector.accepted()}
    assert users == {
        "pageview": None, "loginUser": "Zoë;1", "a": "Zoë;1", "logoutUser": "Zoë;1", "b": None,
    }  # fmt: skip
    assert "trackit_visitor=" not in tab.evaluate("document.cookie")


@pytest.mark.leaves_pages
def test_options_of_the_modern_snippet(tab: Page, site: Site, collector: Collector) -> None:
    site.html = page(
        modern(collector, 'data-track-tabs="" data-session-cookie-name="visit"')
        + "<script>window.name = 'mine'</script>"
    )
    tab.goto(site.url)
    [event] = collector.wait_for("pageview")
    cookies = tab.evaluate("document.cookie")
    assert f"visit={event['session']}" in cookies
    assert "trackit_session" not in cookies
    assert tab.evaluate("window.name") == "mine"
    tab.goto(site.url)
    assert collector.wait_for("pageview", 2)[1]["tab"] != event["tab"]  # nowhere to keep it


def test_without_visitor_cookie_no_visitor_is_sent(
    tab: Page, site: Site, collector: Collector
) -> None:
    attributes = 'data-v_visitor-cookie-name="" data-session-cookie-name=""'
    site.html = page(modern(collector, attributes))
    tab.goto(site.url)
    [event] = collector.wait_for("pageview")
    assert "visitor" not in event
    assert "session" not in event
    assert tab.evaluate("document.cookie") == ""


def test_a_window_name_of_the_page_is_left_alone(
    tab: Page, site: Site, collector: Collector
) -> None:
    site.html = page("<script>window.name = 'preview'</script>" + modern(collector))
    tab.goto(site.url)
    [event] = collector.wait_for("pageview")
    assert len(event["tab"]) == 36
    assert tab.evaluate("window.name") == "preview"


def test_data_host_names_another_collector(tab: Page, site: Site, collector: Collector) -> None:
    other = Collector()
    try:
        site.html = page(modern(collector, f'data-host="{other.url}/"'))
        tab.goto(site.url)
        other.wait_for("pageview")
        other.wait_for_ping("engaged")
    finally:
        other.stop()
    assert collector.requests == []


def test_the_first_snippet_with_a_property_key(tab: Page, site: Site, collector: Collector) -> None:
    site.html = page(HEAD, FIRST % (KEY, collector.url))
    tab.goto(site.url)
    [event] = collector.wait_for("pageview")
    tab.wait_for_function("!!window.trackr")
    tab.evaluate("trackr.track('signup')")
    collector.wait_for("signup")
    assert {batch.body["property"] for batch in collector.batches} == {KEY}
    assert event["load_ms"] >= 0
    assert len(collector.sent("pageview")) == 1
    assert not [r for r in collector.requests if r.path == "/track/it"]


def test_the_first_snippet_with_an_account_slug(
    tab: Page, site: Site, collector: Collector
) -> None:
    site.html = page(HEAD, FIRST % ("acme", collector.url))
    tab.goto(f"{site.url}/p/1?utm_source=news")
    [view] = collector.wait_for("pageview")
    assert view["url"] == f"{site.url}/p/1?utm_source=news"
    assert collector.configured == [f"/js/acme.json?host={urlsplit(site.url).hostname}"]
    assert {batch.body["property"] for batch in collector.batches} == {KEY}  # as it was told
    assert {(r.method, r.path) for r in collector.requests} == {("POST", "/track")}


@pytest.mark.leaves_pages
@pytest.mark.parametrize("snippet", ["modern", "first"])
def test_automation_is_not_tracked_unless_asked(
    snippet: str, tab: Page, site: Site, collector: Collector
) -> None:
    text = modern(collector) if snippet == "modern" else HEAD + FIRST % (KEY, collector.url)
    site.html = page(text).replace(TESTING, "")
    site.pages["/asked"] = page(modern(collector, "data-allow-automation")).replace(TESTING, "")
    tab.goto(site.url)
    tab.wait_for_function("!!window.trackr")
    tab.evaluate("trackr('track', 'signup'); trackr.track('signup')")  # takes calls, sends nothing
    tab.goto(f"{site.url}/asked")
    [event] = collector.wait_for("pageview")
    assert event["url"] == f"{site.url}/asked"
    assert len(collector.sent()) == 1
    assert {ping["url"] for ping in collector.pings()} <= {event["url"]}


def test_inherited_options_are_not_read(tab: Page, site: Site, collector: Collector) -> None:
    polluted = "<script>Object.prototype.serverUrl = 'http://127.0.0.1:1'</script>"
    site.html = page(polluted + HEAD, FIRST % (KEY, collector.url))
    tab.goto(f"{site.url}/?__proto__[polluted]=1&constructor[prototype][polluted]=1")
    collector.wait_for("pageview")
    assert tab.evaluate("({}).polluted") is None
