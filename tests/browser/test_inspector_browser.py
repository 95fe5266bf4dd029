"""The event inspector in a real browser: live, still while it is read, safe with hostile text."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.test_collector import pageview, post

from .conftest import Look, findings, overflow

HOSTILE = [
    "<script>window.hit = 1</script>",
    "\"><img src=x onerror='window.hit = 1'>",
    "javascript:window.hit=1",
    "{{constructor.constructor('window.hit=1')()}}",
    "'-window.hit-'",
    "\u202egnp.exe\u202c مرحبا",
    "a\u0000b\r\nc",
    "</textarea></title></pre><svg onload=window.hit=1>",
]


@pytest.fixture
def place(shop: Any) -> Any:
    shop.hostnames = ["shop.example"]
    shop.save()
    return shop


def send(web: str, place: Any, *events: dict[str, Any]) -> None:
    post(web, {"property": place.key, "events": list(events)})


def faults(page: Page) -> list[str]:
    """What axe objects to, while the list stands still: it reads each element twice."""
    page.evaluate("dispatchEvent(new PointerEvent('pointerdown'))")
    found = findings(page)
    page.evaluate("dispatchEvent(new PointerEvent('pointerup'))")
    return found


def row(page: Page, text: str) -> Any:
    return page.locator("#events tbody tr", has_text=text)


def test_an_event_appears_by_itself_and_a_click_shows_it_whole(
    look: Look, alice: Any, place: Any, web_server: str
) -> None:
    page = look(alice, f"/p/{place.key}/inspector/")
    expect(page.locator("#events")).to_contain_text("Nothing has arrived yet")
    expect(page.locator("#events")).to_contain_text(place.key)
    wrong = pageview(name="wrong", url="https://elsewhere.example/x")
    send(web_server, place, pageview(name="first", props={"plan": "pro"}), wrong)
    expect(row(page, "wrong")).to_contain_text("refused: hostname")
    expect(row(page, "wrong")).to_contain_text("elsewhere.example/x")
    expect(row(page, "first").locator(".c-page")).to_have_text("/p")

    page.get_by_role("link", name="wrong").click()
    event = page.locator("#event")
    expect(event).to_contain_text("does not count elsewhere.example")
    expect(event).to_contain_text("add the page's host")
    expect(event.locator("pre")).to_contain_text('"https://elsewhere.example/x"')
    expect(event).to_contain_text("A refused event is stored nowhere")
    assert "event=" in page.url
    expect(row(page, "wrong")).to_have_attribute("aria-current", "true")

    # What is open stays as it is while more arrives.
    event.locator("pre").evaluate("pre => { pre.dataset.mine = '1' }")
    send(web_server, place, pageview(name="second"))
    expect(row(page, "second")).to_contain_text("accepted")
    expect(event.locator("pre[data-mine]")).to_be_visible()
    expect(row(page, "wrong")).to_have_attribute("aria-current", "true")
    page.get_by_role("link", name="second").click()
    expect(event.locator("dl")).to_contain_text("shop.example")
    event.get_by_role("link", name="Close").click()
    expect(event).to_contain_text("Choose an event")
    page.go_back()
    expect(event.locator("h2")).to_have_text("second")


def test_the_last_click_wins(look: Look, alice: Any, place: Any, web_server: str) -> None:
    send(web_server, place, pageview(name="one", screen="x"), pageview(name="two", screen="x"))
    page = look(alice, f"/p/{place.key}/inspector/")
    first: list[Any] = []

    def hold_the_first(route: Any) -> None:
        if first:
            route.continue_()
        else:
            first.append(route)

    page.route("**/inspector/?event=*", hold_the_first)
    page.get_by_role("link", name="one").click()
    page.get_by_role("link", name="two").click()
    expect(page.locator("#event h2")).to_have_text("two")
    with page.expect_response(first[0].request.url):
        first[0].continue_()
    page.get_by_role("link", name="Close").click()
    expect(page.locator("#event")).to_contain_text("Choose an event")
    expect(page).to_have_url(f"{web_server}/p/{place.key}/inspector/")


def test_pause_holds_the_list(look: Look, alice: Any, place: Any, web_server: str) -> None:
    page = look(alice, f"/p/{place.key}/inspector/")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.get_by_role("button", name="Pause").click()
    expect(page.locator(".when-paused")).to_be_visible()
    asked.clear()
    send(web_server, place, pageview(name="later", screen="x"))
    # Its turns come and are let pass.
    page.evaluate(
        "document.addEventListener('htmx:beforeRequest', () => {"
        " const { dataset } = document.documentElement;"
        " dataset.turns = Number(dataset.turns || 0) + 1 })"
    )
    expect(page.locator("html")).to_have_attribute("data-turns", re.compile("[2-9]"))
    assert asked == []
    page.get_by_role("button", name="Go on").click()
    expect(row(page, "later")).to_be_visible()


def test_hostile_text_does_nothing(look: Look, alice: Any, place: Any, web_server: str) -> None:
    events = []
    for text in HOSTILE:
        events.append(pageview(name=text, title=text, props={text: text}, referrer=text))
        wrong = {"event_id": text, "visitor": text, "screen": text}
        events.append(pageview(name=text[:30], url=f"https://x.example/{text}", user=text) | wrong)
    page = look(alice, f"/p/{place.key}/inspector/")
    send(web_server, place, *events)
    links = page.locator("#events .events-link")
    expect(links).to_have_count(len(events))
    page.get_by_role("button", name="Pause").click()
    for number in range(len(events)):
        links.nth(number).click()
        own = links.nth(number).get_attribute("id")
        expect(page.locator("#chosen")).to_have_value(str(own).removeprefix("e-"))
        assert page.evaluate("window.hit") is None
    page.goto(f"{web_server}/p/{place.key}/inspector/?name={HOSTILE[0]}&verdict=accepted")
    expect(page.get_by_role("searchbox")).to_have_value(HOSTILE[0])
    assert page.evaluate("[window.hit, document.querySelector('main script')]") == [None, None]


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_the_inspector_fits_and_axe_finds_nothing(
    look: Look, alice: Any, place: Any, web_server: str, width: int, scheme: str
) -> None:
    place.name = "مرحبا بالعالم " * 6
    place.save()
    page = look(alice, f"/p/{place.key}/inspector/", width, scheme)
    assert (overflow(page), faults(page)) == (0, [])
    long = pageview(name="n" * 150, url=f"https://shop.example/{'p' * 300}", title="t" * 400)
    send(web_server, place, long, pageview(name="bad", screen="x"), {"name": "ping"})
    page.get_by_role("link", name="bad").click()
    expect(page.locator("#event pre")).to_be_visible()
    assert (overflow(page), faults(page)) == (0, [])
    page.locator("#event").get_by_role("link", name="Close").click()
    page.get_by_role("link", name="nnn").click()
    expect(page.locator("#event dl")).to_be_visible()
    assert (overflow(page), faults(page)) == (0, [])


def test_without_scripts_there_is_a_link_to_look_again(
    look: Look, alice: Any, place: Any, web_server: str
) -> None:
    send(web_server, place, pageview(name="bad", screen="x"))
    page = look(alice, f"/p/{place.key}/inspector/", java_script_enabled=False)
    look_again = page.get_by_role("link", name="Look again")
    while not row(page, "bad").count():
        look_again.click()
    page.get_by_role("link", name="bad").click()
    expect(page.locator("#event")).to_contain_text("screen must look like 1440x900")


def test_the_list_stands_open_on_the_snippet_page(
    look: Look, alice: Any, place: Any, web_server: str
) -> None:
    page = look(alice, f"/p/{place.key}/snippet/")
    expect(page.locator("#events")).to_contain_text("Nothing has arrived yet")
    send(web_server, place, pageview(name="bad", screen="x"))
    expect(row(page, "bad")).to_contain_text("refused: invalid")
    assert faults(page) == []
    page.get_by_role("link", name="bad").click()
    expect(page.locator("#event")).to_contain_text("screen must look like 1440x900")


def test_who_signed_out_elsewhere_comes_to_the_log_in_page(
    look: Look, alice: Any, place: Any
) -> None:
    page = look(alice, f"/p/{place.key}/inspector/")
    page.context.clear_cookies()
    page.wait_for_url("**/user/login/**")
