"""Elements with the class and data-trackr-*: what was done to them, never what was typed."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page

from .collector import Collector, Site
from .conftest import modern, page
from .switches import visit

SECRET = "Zq7wXk2v"


def tracked(tag: str, label: str, more: str = "", text: str = "") -> str:
    return (
        f'<{tag} class="track-it" data-trackr-type="t" data-trackr-label="{label}" '
        f'data-trackr-position="top" {more}>{text}</{tag}>'
    )


BODY = (
    tracked("button", "buy", "", "<b>Buy</b> now")
    + tracked("input", "name", "id=name")
    + '<button class="track-it" id=bare>no data</button>'
    + "<button data-trackr-type=t data-trackr-label=x data-trackr-position=p id=plain>.</button>"
)


def told(collector: Collector) -> list[tuple[str, str]]:
    events = [event["props"] for event in collector.accepted("element")]
    return [(each["event"], each["label"]) for each in events]


def open_page(
    tab: Page, site: Site, collector: Collector, body: str, *switches: str, **config: Any
) -> None:
    site.html = page(modern(collector), body)
    visit(tab, site, collector, *(switches or ("elements",)), **config)


def test_click_focus_keys_and_blur(
    tab: Page, site: Site, collector: Collector, sentinel: Callable[[], None]
) -> None:
    open_page(tab, site, collector, BODY)
    tab.locator("b").dispatch_event("click")
    tab.focus("#name")
    tab.keyboard.type(SECRET)
    tab.evaluate("document.activeElement.blur()")
    for other in ("#bare", "#plain"):
        tab.locator(other).dispatch_event("click")
    sentinel()
    assert told(collector) == [
        ("click", "buy"), ("focus", "name"), ("keys", "name"), ("blur", "name")
    ]  # fmt: skip
    click, _, keys, _ = collector.accepted("element")
    assert click["props"] == {"event": "click", "type": "t", "label": "buy", "position": "top"}
    assert keys["props"]["count"] == len(SECRET)
    assert SECRET not in str(collector.requests)


def test_a_secret_field_is_not_even_an_event(
    tab: Page, site: Site, collector: Collector, sentinel: Callable[[], None]
) -> None:
    """Nor inside a tracked form, nor after the page has made it readable."""
    kinds = ["type=password", 'autocomplete="section-x cc-number"', "autocomplete=one-time-code"]
    fields = "".join(tracked("input", "secret", kind) for kind in kinds)
    open_page(tab, site, collector, tracked("form", "form", "", fields))
    for field in tab.locator("input").all():
        field.hover()
        field.click()
        tab.keyboard.type(SECRET)
        field.evaluate("field => { field.type = 'text'; field.autocomplete = '' }")
        tab.keyboard.type(SECRET)
    tab.evaluate("document.activeElement.blur()")
    sentinel()
    assert told(collector) == []
    assert SECRET not in str(collector.requests)


def test_nodes_that_come_later_the_closest_and_shadow_roots(
    tab: Page, site: Site, collector: Collector, sentinel: Callable[[], None]
) -> None:
    open_page(tab, site, collector, "<div id=place></div><div id=host></div>")
    inner = tracked("div", "outer", "", tracked("button", "inner", "id=in", "go"))
    tab.evaluate("html => { place.innerHTML = html }", inner)
    tab.evaluate(
        "html => { host.attachShadow({mode: 'open'}).innerHTML = html }",
        tracked("button", "shadow", "id=deep", "<i>deep</i>"),
    )
    tab.click("#in")
    tab.click("#deep i")
    tab.evaluate("place.firstChild.click()")
    sentinel()
    clicks = [label for event, label in told(collector) if event == "click"]
    assert clicks == ["inner", "shadow", "outer"]


def test_mouseover_is_throttled(
    tab: Page, site: Site, collector: Collector, stopped: None, sentinel: Callable[[], None]
) -> None:
    many = "".join(tracked("p", f"p{i}") for i in range(60))
    open_page(tab, site, collector, tracked("div", "big", "id=big", "<i>a</i><i>b</i>") + many)
    over = "(on, from) => document.querySelector(on).dispatchEvent(new MouseEvent('mouseover', {bubbles: true, composed: true, relatedTarget: from && document.querySelector(from)}))"  # noqa: E501
    tab.evaluate(f"({over})('#big'); ({over})('#big i'); ({over})('#big')")
    tab.clock.run_for(3001)
    tab.evaluate(f"({over})('#big')")
    tab.clock.run_for(3001)
    tab.evaluate(f"({over})('#big i:last-child', '#big i')")  # has not left it
    sentinel()
    assert told(collector) == [("mouseover", "big")] * 2
    tab.evaluate(
        "document.querySelectorAll('p').forEach((each) =>"
        " each.dispatchEvent(new MouseEvent('mouseover', {bubbles: true})))"
    )
    sentinel()
    assert len(told(collector)) == 50
    tab.evaluate("history.pushState({}, '', '/next')")
    tab.clock.run_for(3001)
    tab.evaluate(f"({over})('#big')")
    sentinel()
    assert len(told(collector)) == 51


@pytest.mark.leaves_pages
def test_keys_of_a_field_that_is_left_open(tab: Page, site: Site, collector: Collector) -> None:
    open_page(tab, site, collector, BODY)
    tab.focus("#name")
    tab.keyboard.type("abc")
    tab.goto("about:blank")
    collector.wait(lambda: ("keys", "name") in [
        (e["props"]["event"], e["props"]["label"]) for e in collector.sent("element")
    ], "keys")  # fmt: skip
    keys = [e for e in collector.sent("element") if e["props"]["event"] == "keys"]
    assert keys[0]["props"]["count"] == 3


def test_another_class(
    tab: Page, site: Site, collector: Collector, sentinel: Callable[[], None]
) -> None:
    body = tracked("button", "mine", "id=mine").replace("track-it", "a:b") + BODY
    site.html = page(modern(collector, 'data-trackr-class=".a:b"'), body)
    visit(tab, site, collector, "elements")
    tab.locator("#mine").dispatch_event("click")
    tab.locator("b").dispatch_event("click")
    sentinel()
    assert told(collector) == [("click", "mine")]


def test_switched_off_nothing(
    tab: Page, site: Site, collector: Collector, sentinel: Callable[[], None]
) -> None:
    open_page(tab, site, collector, BODY, "outbound")
    tab.locator("b").dispatch_event("click")
    tab.focus("#name")
    tab.keyboard.type("abc")
    sentinel()
    assert {event["name"] for event in collector.sent()} <= {"pageview", "engagement", "sentinel"}
