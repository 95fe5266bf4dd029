"""A page that loads is one page view with all that a report needs."""

import re
from uuid import UUID

import pytest
from playwright.sync_api import BrowserContext, Page

from .collector import BUILT, Collector, Site
from .conftest import KEY, modern, page

UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def test_a_page_view_says_what_was_seen(
    tab: Page, site: Site, collector: Collector, visitor: BrowserContext
) -> None:
    tab.goto(f"{site.url}/shop?utm_source=news#token=secret", referer="http://127.0.0.1/from")
    [event] = collector.wait_for("pageview")

    assert event["url"] == f"{site.url}/shop?utm_source=news"
    assert event["title"] == "A page"
    assert event["referrer"].startswith("http://127.0.0.1/")
    assert re.fullmatch(r"\d+x\d+", event["screen"])
    assert event["language"] == "de-AT"
    assert event["load_ms"] >= 0
    assert isinstance(event["time"], int)
    for name in ("event_id", "visitor", "session", "tab"):
        assert UUID4.fullmatch(event[name]), name
    assert "user" not in event
    assert "secret" not in str(collector.requests)

    cookies = {cookie["name"]: cookie for cookie in visitor.cookies()}
    assert cookies["trackit_v_visitor"]["value"] == event["visitor"]
    assert cookies["trackit_session"]["value"] == event["session"]
    assert "trackit_visitor" not in cookies
    assert {cookie["sameSite"] for cookie in cookies.values()} == {"Lax"}
    lives = cookies["trackit_v_visitor"]["expires"] - event["time"] / 1000
    assert 390 * 86_400 < lives < 397 * 86_400
    assert tab.evaluate("window.name") == "trackit_tab_" + event["tab"]


def test_one_envelope_without_preflight(tab: Page, site: Site, collector: Collector) -> None:
    tab.goto(site.url)
    collector.wait_for("pageview")
    collector.wait_for_ping("engaged")
    [batch] = collector.batches
    assert batch.method == "POST"
    assert batch.path == "/track"
    assert batch.headers["content-type"].startswith("text/plain")
    assert "cookie" not in batch.headers
    assert set(batch.body) == {"property", "events", "sent_at"}
    assert batch.body["property"] == KEY
    assert {request.method for request in collector.requests} == {"POST"}  # no OPTIONS


@pytest.mark.leaves_pages
def test_the_same_visitor_and_tab_on_the_next_page(
    tab: Page, site: Site, collector: Collector, visitor: BrowserContext
) -> None:
    tab.goto(f"{site.url}/1")
    collector.wait_for("pageview")
    tab.goto(f"{site.url}/2")
    first, second = collector.wait_for("pageview", 2)
    assert {name for name in ("visitor", "session", "tab") if first[name] == second[name]} == {
        "visitor",
        "session",
        "tab",
    }
    other = visitor.new_page()
    other.goto(f"{site.url}/3")
    third = collector.wait_for("pageview", 3)[2]
    assert third["visitor"] == first["visitor"]
    assert third["tab"] != first["tab"]


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param('<script src="{src}" data-property="{key}"></script>', id="loading"),
        pytest.param('<script defer src="{src}" data-property="{key}"></script>', id="interactive"),
        pytest.param(
            "<script>addEventListener('load', () => setTimeout(() => {{"
            "const s = document.createElement('script'); s.src = '{src}';"
            "s.dataset.property = '{key}'; document.head.append(s)}}))</script>",
            id="complete",
        ),
    ],
)
def test_counts_whenever_the_script_comes(
    moment: str, tab: Page, site: Site, collector: Collector
) -> None:
    snippet = moment.format(src=f"{collector.url}/js/trackr.js", key=KEY)
    site.html = page("", title="Late").replace("<title>", snippet + "<title>")
    tab.goto(site.url)
    [event] = collector.wait_for("pageview")
    assert event["title"] == "Late"  # also where the script came before the title
    tab.evaluate("trackr.track('sentinel')")
    collector.wait_for("sentinel")
    assert len(collector.sent("pageview")) == 1


def test_the_same_snippet_twice_counts_once(tab: Page, site: Site, collector: Collector) -> None:
    site.html = page(modern(collector) + modern(collector))
    tab.goto(site.url)
    tab.evaluate("trackr('track', 'sentinel')")
    collector.wait_for("sentinel")
    assert len(collector.sent("pageview")) == 1


def test_the_built_script_does_the_same(tab: Page, site: Site, collector: Collector) -> None:
    assert BUILT.exists(), "frontend/dist is missing: run `npm ci && npm run build` in frontend/"
    collector.script = BUILT
    tab.goto(site.url)
    tab.evaluate("trackr.track('signup', {plan: 'pro'})")
    [event] = collector.wait_for("signup")
    assert event["props"] == {"plan": "pro"}
    assert len(collector.accepted("pageview")) == 1
    assert UUID(event["visitor"]) == UUID(collector.accepted("pageview")[0]["visitor"])
