"""The report page as a reader has it: mouse, keyboard, two widths, two themes, without scripts,
and with every hostile string that a visitor can send."""

import json
from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.history import Happening, at, roll_up, write
from tests.people import signed_in_as
from tests.test_collector import pageview, post
from tests.test_report_page import HOSTILE, MARCH, fill, history

from .conftest import Look, findings, overflow

LONG = "/" + "a-title-without-any-end-" * 40
RIGHT_TO_LEFT = "/مرحبا/بالعالم/" * 6


@pytest.fixture
def busy(shop: Any) -> Any:
    fill(shop, [*history(days=20), Happening(at("2026-03-05T09:00"), 900, page=LONG)])
    return shop


def report(place: Any, query: str = "") -> str:
    return f"/p/{place.key}/?range={MARCH}{query}"


def drawn(page: Page) -> Page:
    """The page, once its curve is drawn."""
    expect(page.locator("#chart canvas")).to_be_visible()
    return page


# -- every page, every width, both themes ------------------------------------------------------


@pytest.mark.parametrize("width", [1280, 390, 360])
def test_pages_fit_and_axe_finds_nothing(
    look: Look, alice: Any, busy: Any, blog: Any, width: int
) -> None:
    page = drawn(look(alice, report(busy, "&filter=page:is_not:/none"), width))
    week = "range=2026-03-09..2026-03-15&changes=1"
    for path in (
        "",
        f"/p/{blog.key}/",
        f"/p/{busy.key}/table/page/?range={MARCH}",
        f"/p/{busy.key}/?{week}",
        f"/p/{busy.key}/table/page/?{week}",
    ):
        if path:
            page.goto(page.url.split("/p/")[0] + path)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert (path, scheme, overflow(page)) == (path, scheme, 0)
            assert (path, scheme, findings(page)) == (path, scheme, [])


def test_no_shift_when_the_curve_arrives(look: Look, alice: Any, busy: Any) -> None:
    page = drawn(look(alice, report(busy)))
    shift = page.evaluate(
        "new Promise((done) => new PerformanceObserver((list) =>"
        " done(list.getEntries().reduce((sum, each) => sum + each.value, 0)))"
        ".observe({type: 'layout-shift', buffered: true}) || setTimeout(() => done(0), 300))"
    )
    assert shift == 0


# -- hostile strings ---------------------------------------------------------------------------


def test_hostile_strings_are_text(look: Look, alice: Any, shop: Any) -> None:
    """In rows, titles, chips, option lists and the table; nothing runs, nothing is a link."""
    happenings = [
        Happening(
            at("2026-03-02T09:00") + timedelta(minutes=number),
            number,
            name=name,
            page=value,
            source=value,
            channel=value,
            texts=dict.fromkeys(("country", "device", "browser", "os", "campaign"), value),
        )
        for name in ("pageview", HOSTILE[0], HOSTILE[1])
        # The first comes twice, so that it stands on top of every card.
        for number, value in enumerate([HOSTILE[0], *HOSTILE, LONG, RIGHT_TO_LEFT], 1)
    ]
    write(shop, happenings)
    roll_up(shop, happenings)
    page = drawn(look(alice, report(shop)))
    expect(page.get_by_role("link", name=HOSTILE[0], exact=True).first).to_be_visible()
    for tab in ("Channels", "Campaigns", "Entry pages", "Browsers", "Systems"):
        page.get_by_role("link", name=tab, exact=True).click()
        expect(page.get_by_role("link", name=tab, exact=True)).to_have_attribute(
            "aria-current", "true"
        )
    page.locator("#card-pages").get_by_role("link", name=HOSTILE[0], exact=True).click()
    expect(page.locator(".chip bdi")).to_have_text(HOSTILE[0])
    page.goto(page.url.split("/p/")[0] + f"/p/{shop.key}/table/page/?range={MARCH}")
    expect(page.get_by_role("link", name=HOSTILE[1], exact=True)).to_be_visible()
    assert overflow(page) == 0
    assert page.evaluate("window.__xss") is None
    assert page.locator("a[href^='javascript:'], a[href^='data:'], main img").count() == 0


# What is wider than its own place.
BURSTS = (
    "[...document.querySelectorAll('main h2, main th')].filter((each) =>"
    " each.scrollWidth > each.clientWidth).map((each) => each.textContent.slice(0, 40))"
)


@pytest.mark.parametrize("width", [1280, 390])
def test_names_without_a_space_keep_to_their_place(
    look: Look, alice: Any, acme: Any, shop: Any, width: int
) -> None:
    """Senders name events and properties; a filter of a segment may be as long as a page."""
    name = "N" * 200
    fill(shop, [Happening(at("2026-03-02T09:00"), 1, name=name, props={name: "v", "price": 1})])
    filters = ["is", "page", [LONG]]
    made = signed_in_as(alice).post(
        f"/api/v1/accounts/{acme.slug}/segments",
        json.dumps({"name": "L" * 60, "filters": filters}),
        content_type="application/json",
    )
    assert made.status_code == 201
    page = look(alice, f"/p/{shop.key}/events/events/?range={MARCH}&by=props:{name}", width)
    assert (page.evaluate(BURSTS), overflow(page)) == ([], 0)
    root = page.url.split("/p/")[0]
    page.goto(f"{root}/p/{shop.key}/events/?range={MARCH}&filter=event:is:{name}&prop={name}")
    assert (page.evaluate(BURSTS), overflow(page)) == ([], 0)
    page.goto(f"{root}/a/{acme.slug}/segments/")
    box = page.get_by_role("link", name="Change LLL").bounding_box()
    card = page.locator(".card.scroll").bounding_box()
    assert box is not None and card is not None
    assert box["x"] + box["width"] <= card["x"] + card["width"]
    words = page.get_by_text("Page is /a-title").bounding_box()
    assert words is not None
    assert words["width"] > 150
    assert words["height"] < 100
    assert (page.evaluate(BURSTS), overflow(page)) == ([], 0)


# -- without a page load, without scripts ------------------------------------------------------


def test_links_swap_the_report_and_the_back_button_brings_it_back(
    look: Look, alice: Any, busy: Any
) -> None:
    page = drawn(look(alice, report(busy)))
    page.evaluate("window.isTheSamePage = true")
    page.locator("#tile-pageviews").click()
    expect(page.locator("#tile-pageviews")).to_have_attribute("aria-current", "true")
    expect(page.locator(".chart-head h2")).to_have_text("Pageviews")
    drawn(page)
    assert "metric=pageviews" in page.url
    page.locator("#card-sources").get_by_role("link", name="Google").click()
    expect(page.locator(".chip")).to_contain_text("Source is Google")
    assert "filter=source:is:Google" in page.url
    assert page.evaluate("window.isTheSamePage") is True
    page.go_back()
    expect(page.locator(".chip")).to_have_count(0)
    drawn(page)
    page.go_back()
    expect(page.locator("#tile-visitors")).to_have_attribute("aria-current", "true")
    drawn(page)


def test_a_tab_does_not_move_the_page(look: Look, alice: Any, busy: Any) -> None:
    page = drawn(look(alice, report(busy)))
    tab = page.get_by_role("link", name="Systems", exact=True)
    page.evaluate("scrollTo(0, 500)")
    before = page.evaluate("scrollY"), tab.bounding_box()
    tab.click()
    expect(tab).to_have_attribute("aria-current", "true")
    expect(page.get_by_role("columnheader", name="System")).to_be_visible()
    assert (page.evaluate("scrollY"), tab.bounding_box()) == before
    expect(tab).to_be_focused()


def test_forms_swap_the_report_too(
    look: Look, alice: Any, busy: Any, complaints: list[str]
) -> None:
    page = drawn(look(alice, report(busy)))
    page.get_by_text("Filter", exact=True).click()
    page.get_by_label("Show only where").select_option("entry_page")
    page.get_by_role("combobox", name="Value").fill("/page-1")
    page.get_by_role("button", name="Add filter").click()
    expect(page.locator(".chip")).to_contain_text("Entry page is /page-1")
    assert page.url.endswith(f"?range={MARCH}&filter=entry_page:is:/page-1")
    page.get_by_label("How it compares").select_option("contains")
    page.get_by_role("button", name="Add filter").click()
    expect(page.get_by_role("alert")).to_contain_text("its value is empty")
    assert [each for each in complaints if "400" not in each] == []
    complaints.clear()  # the browser reports every 400


def test_everything_works_without_scripts(look: Look, alice: Any, busy: Any) -> None:
    page = look(alice, report(busy), java_script_enabled=False)
    expect(page.locator(".tile-number").first).to_have_text("22")
    expect(page.get_by_role("row", name="Monday 2 March 2026").first).to_be_visible()
    page.locator("#card-sources").get_by_role("link", name="Google").click()
    expect(page.locator(".chip")).to_contain_text("Source is Google")
    page.get_by_text("to 31 Mar 2026").click()
    page.get_by_label("To", exact=True).fill("2026-03-09")
    page.get_by_role("button", name="Show").click()
    assert "range=2026-03-01..2026-03-09" in page.url
    expect(page.locator(".chip")).to_contain_text("Source is Google")


# -- keyboard, live, themes --------------------------------------------------------------------


def test_the_keyboard_reaches_tiles_curve_and_rows(look: Look, alice: Any, busy: Any) -> None:
    page = drawn(look(alice, report(busy)))
    reached: list[str] = []
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("document.activeElement.id || document.activeElement.className")
        )
    tiles = [each for each in reached if each.startswith("tile-")]
    assert len(tiles) == 6
    order = [reached.index(each) for each in ("tile-visitors", "chart", "row-link")]
    assert order == sorted(order)
    page.locator("#tile-sessions").focus()
    page.keyboard.press("Tab")  # what it means stands behind it
    page.keyboard.press("Enter")
    meaning = page.locator("#means-tile-sessions")
    expect(meaning).to_be_visible()
    expect(meaning).to_be_in_viewport()
    page.keyboard.press("Escape")
    expect(meaning).to_be_hidden()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#tile-sessions")).to_have_attribute("aria-current", "true")
    expect(page.locator("#tile-sessions")).to_be_focused()
    page.locator("#chart").focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".readout-name")).to_have_text("Tuesday 31 March 2026")
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".readout-name")).to_have_text("Monday 30 March 2026")


def test_a_menu_has_the_focus_again_when_something_was_chosen(
    look: Look, alice: Any, busy: Any
) -> None:
    page = drawn(look(alice, report(busy)))
    for menu, choice in (("#range-menu", "Last 90 days"), ("#compare-menu", "no comparison")):
        summary = page.locator(f"{menu} > summary")
        summary.focus()
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        page.keyboard.press("Escape")
        expect(summary).to_be_focused()
        expect(page.locator(f"{menu} .menu-list")).to_be_hidden()
        page.keyboard.press("Enter")
        page.get_by_role("link", name=choice).focus()
        page.keyboard.press("Enter")
        expect(summary).to_contain_text(choice)
        expect(summary).to_be_focused()


def test_the_arrows_turn_to_the_months_beside_and_back_again(
    look: Look, alice: Any, busy: Any
) -> None:
    page = drawn(look(alice, report(busy, "&metric=pageviews"), 360))
    name = page.locator(".pick-name")
    page.get_by_role("link", name="Before: 1 to 28 Feb 2026").click()
    expect(name).to_have_text("1 to 28 Feb 2026")
    page.get_by_role("link", name="After: 1 to 31 Mar 2026").click()
    expect(name).to_have_text("1 to 31 Mar 2026")
    assert page.url.endswith(f"?range={MARCH}&metric=pageviews")
    assert overflow(page) == 0
    page.go_back()
    expect(name).to_have_text("1 to 28 Feb 2026")
    page.goto(page.url.partition("?")[0] + "?range=year")
    expect(page.locator("#turn-back")).to_be_visible()
    expect(page.locator("#turn-on")).to_have_count(0)  # nothing of it has begun


def test_a_period_of_the_curve_opens_by_mouse_and_keyboard(
    look: Look, alice: Any, busy: Any
) -> None:
    page = drawn(look(alice, report(busy, "&filter=source:is:Google")))
    page.locator("#chart").focus()
    page.keyboard.press("Enter")  # nothing is read yet
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".readout-name")).to_have_text("Monday 30 March 2026")
    page.keyboard.press("Enter")
    expect(page.locator(".pick-name")).to_have_text("30 Mar 2026")
    expect(page.locator(".chip")).to_contain_text("Source is Google")
    assert "range=2026-03-30..2026-03-30&filter=source:is:Google" in page.url
    page.go_back()
    expect(page.locator(".pick-name")).to_have_text("1 to 31 Mar 2026")
    drawn(page)
    over = page.locator("#chart .u-over")
    over.click(position={"x": 2, "y": 60})
    expect(page.locator(".pick-name")).to_have_text("1 Mar 2026")
    # Hours are the finest that is offered there: nothing to open.
    expect(page.locator(".chart-numbers a")).to_have_count(0)


def test_all_filters_are_cleared_at_once(look: Look, alice: Any, busy: Any) -> None:
    page = drawn(look(alice, report(busy, "&filter=source:is:Google")))
    clear = page.get_by_role("link", name="Clear all filters")
    expect(clear).to_have_count(0)  # one is removed by itself
    page.locator("#card-pages .row-link").first.click()
    expect(page.locator(".chip")).to_have_count(2)
    clear.click()
    expect(page.locator(".chip")).to_have_count(0)
    assert page.url.endswith(MARCH)


def test_more_reports_are_behind_the_tabs(look: Look, alice: Any, busy: Any) -> None:
    page = drawn(look(alice, report(busy), 390))
    menu = page.locator("details.more")
    menu.locator("summary").click()
    expect(menu.get_by_role("link", name="Settings")).to_be_visible()
    menu.get_by_role("link", name="Speed").click()
    expect(page.get_by_role("heading", name="Speed", exact=True)).to_be_visible()
    expect(page.locator("details.more summary")).to_contain_text("Speed")
    assert overflow(page) == 0
    page.locator(".vitals .define").first.click()
    expect(page.locator("#means-vital-lcp")).to_be_in_viewport()
    assert findings(page) == []


def test_the_number_online_follows_by_itself(look: Look, alice: Any, busy: Any) -> None:
    import uuid

    from tracking.collecting import Origin, collect, now_ms

    page = drawn(look(alice, report(busy)))
    expect(page.locator("#now")).to_contain_text("0 now")
    origin = Origin(address="192.0.2.1", agent="Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0")
    ping = {
        "property": busy.key,
        "name": "ping",
        "state": "engaged",
        "next_ms": 60_000,
        "visitor": str(uuid.uuid4()),
        "url": "https://shop.example/",
    }
    collect(busy, [ping], origin, now_ms())
    expect(page.locator("#now")).to_contain_text("1 now", timeout=20_000)
    drawn(page)  # and nothing else was swapped
    assert page.url.endswith(MARCH)


def test_the_curve_takes_the_colours_of_the_theme(look: Look, alice: Any, busy: Any) -> None:
    page = drawn(look(alice, report(busy)))
    light = page.locator("#chart").screenshot()
    page.get_by_role("button", name="Dark").click()
    page.wait_for_function("document.documentElement.dataset.theme === 'dark'")
    drawn(page)
    assert page.locator("#chart").screenshot() != light
    assert page.locator("#chart canvas").count() == 1


# -- taking it away, and paper ---------------------------------------------------------------------

PAPER = 718  # px: A4 between its margins
# What is cut off at the right edge or by its own box, of the texts that a reader sees.
CUT_OFF = """() => [...document.querySelectorAll(".rows th, .rows td, .row-link, .chip > span, h1")]
  .filter((part) => part.checkVisibility())
  .filter((part) => part.getBoundingClientRect().right > document.documentElement.clientWidth
    || part.scrollWidth > part.clientWidth + 1)
  .map((part) => part.textContent)"""
CONTROLS = "select:visible, input:visible, button:visible, .search:visible, .button:visible"


@pytest.mark.parametrize("report_path", ["", "pages/", "table/page/"])
def test_paper_shows_all_of_a_table_and_no_controls(
    look: Look, alice: Any, busy: Any, report_path: str
) -> None:
    whose = "range=2026-03-02..2026-03-08&changes=1&filter=page:is_not:/none"
    page = look(alice, f"/p/{busy.key}/{report_path}?{whose}", scheme="dark")
    page.set_viewport_size({"width": PAPER, "height": 1000})
    assert page.evaluate(CUT_OFF)  # on a screen a long name is
    page.emulate_media(media="print")
    assert page.evaluate(CUT_OFF) == []
    assert page.locator(CONTROLS).count() == 0
    for menu in ("Filter", "Segments", "Save as segment"):
        expect(page.locator("summary", has_text=menu).first).to_be_hidden()


def test_the_usage_of_an_account_prints_without_controls(
    look: Look, alice: Any, shop: Any, web_server: str
) -> None:
    assert post(web_server, {"property": shop.key, "events": [pageview()]}).json["accepted"] == 1
    page = look(alice, f"/a/{shop.account.slug}/usage/")
    expect(page.get_by_text("The days as a table")).to_be_visible()
    page.emulate_media(media="print")
    expect(page.get_by_role("heading", name="By day")).to_be_visible()
    controls = page.locator("main").locator(f"{CONTROLS}, summary:visible")
    assert [each.inner_text() for each in controls.all()] == []


# Every text that the page draws on a canvas, with the room that it takes.
LISTEN_TO_CANVAS = """
window.drawn = [];
const fillText = CanvasRenderingContext2D.prototype.fillText;
CanvasRenderingContext2D.prototype.fillText = function (text, x, y) {
  const { e, f } = this.getTransform();
  const half = this.measureText(text).width / 2;
  window.drawn.push({ text, line: Math.round(y + f), left: x + e - half, right: x + e + half });
  return fillText.apply(this, arguments);
};
"""
TOUCHING = """() => {
  const axis = drawn.filter((each) => each.text.includes(":"));
  const found = axis.filter((each) => axis.some((other) => other !== each &&
    other.line === each.line && other.left < each.left && other.right > each.left));
  return [axis.length, found.map((each) => each.text)];
}"""


def test_long_names_of_hours_do_not_touch_on_the_axis(
    look: Look, alice: Any, busy: Any, web_server: str
) -> None:
    page = look(alice, "/")
    page.context.add_init_script(LISTEN_TO_CANVAS)
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(f"{web_server}/p/{busy.key}/?range={MARCH}&interval=hour")
        drawn(page)
        many, touching = page.evaluate(TOUCHING)
        assert (many > 1, touching) == (True, [])


def test_the_curve_is_saved_as_a_picture_and_the_report_prints_whole(
    look: Look, alice: Any, busy: Any
) -> None:
    page = drawn(look(alice, report(busy), scheme="dark"))
    page.locator(".save summary").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="PNG").click()
    assert download.value.suggested_filename.endswith("-visitors-2026-03-01-to-2026-03-31.png")
    picture = download.value.path().read_bytes()
    size = [int.from_bytes(picture[at : at + 4], "big") for at in (16, 20)]
    assert (picture[1:4], size) == (b"PNG", [1920, 880])
    screen = page.locator("body").evaluate("(body) => getComputedStyle(body).color")
    page.emulate_media(media="print")
    expect(page.get_by_text("From 1 Mar 2026 until 31 Mar 2026")).to_be_visible()
    numbers = page.get_by_role("region", name="Totals and curve")
    expect(numbers.get_by_text("Accepted events named pageview.")).to_be_visible()
    for hidden in (".bar", ".save", ".footer", ".search"):
        assert page.locator(f"{hidden}:visible").count() == 0
    # Paper is light, in the dark too.
    assert page.locator("body").evaluate("(body) => getComputedStyle(body).color") != screen
