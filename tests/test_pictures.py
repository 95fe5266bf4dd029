"""Pictures of what is no curve: the map, how numbers are spread, web vitals; of the same numbers as
the page, harmless whatever the texts in them, by the rights of the page."""

import re
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.test_audience_page import map_of, visited
from tests.test_event_pages import measured
from tests.test_report_page import HOSTILE, MARCH, get

__all__ = ["measured", "visited"]
ACCENT = "#0b756b"
SVG = "{http://www.w3.org/2000/svg}"
ALLOWED = {"svg", "title", "desc", "rect", "text", "path", "g", "circle"}
APRIL = "range=2026-04-13..2026-04-14"


def drawn(text: str) -> ElementTree.Element:
    root = ElementTree.fromstring(text)
    for element in root.iter():
        assert element.tag.removeprefix(SVG) in ALLOWED
        assert not [name for name in element.attrib if name.startswith("on") or "href" in name]
    return root


def titles_in(root: ElementTree.Element) -> list[str]:
    return [each.text or "" for group in root.iter() for each in group if each.tag == f"{SVG}title"]


def test_the_map_as_a_file_has_the_countries_of_the_page(alice: Any, visited: Any) -> None:
    path = f"/p/{visited.key}/audience/"
    page = get(alice, f"{path}?range={MARCH}").content.decode()
    (address,) = set(re.findall(r'data-save-png="([^"]*map.svg[^"]*)"', page))
    answer = get(alice, address.replace("&amp;", "&"))
    assert answer["Content-Type"] == "image/svg+xml; charset=utf-8"
    root = drawn(answer.content.decode())
    told = {text for text, _ in map_of(page).values()}
    assert told == set(titles_in(root)[1:])  # the first is that of the picture
    assert "Not on the map: Unknown: 1" in (root.findtext(f"{SVG}desc") or "")
    assert visited.timezone in answer.content.decode()
    saved = get(alice, f"{path}map.svg?range={MARCH}&download=1&theme=dark")
    assert saved["Content-Disposition"].endswith('-map-2026-03-01-to-2026-03-31.svg"')
    get(alice, f"{path}map.svg?range=nonsense", expected=400)


def test_the_histogram_as_a_file_has_the_bars_of_the_page(alice: Any, measured: Any) -> None:
    query = f"{APRIL}&filter=event:is:buy&prop=price"
    page = get(alice, f"/p/{measured.key}/events/?{query}").content.decode()
    root = drawn(get(alice, f"/p/{measured.key}/events/properties.svg?{query}").content.decode())
    shown = re.findall(r'<g class="histogram-bin">\s*<title>(.*?)</title>', page)
    assert shown
    assert titles_in(root)[1:] == shown
    bars = [each for each in root.iter(f"{SVG}rect") if each.attrib["fill"] == ACCENT]
    told = [int(re.search(r": ([0-9,]+) event", text)[1]) for text in shown]  # type: ignore[index]
    highest = max(float(bar.attrib["height"]) for bar in bars)
    for bar, events in zip(bars, told, strict=True):
        assert float(bar.attrib["height"]) == pytest.approx(highest * events / max(told), abs=0.1)
    nothing = get(alice, f"/p/{measured.key}/events/properties.svg?{APRIL}").content.decode()
    assert "Nothing in this range" in nothing


def test_web_vitals_are_drawn_against_their_limits(alice: Any, visited: Any) -> None:
    from reports.drawing import as_text
    from reports.pictures import Source, of_vitals
    from reports.speed import _vital

    vitals = [_vital("lcp", 3_000), _vital("cls", None)]
    root = drawn(as_text(of_vitals(vitals, Source(HOSTILE[0], HOSTILE, "light"))))
    words = root.findtext(f"{SVG}desc") or ""
    assert words == "Largest contentful paint 3s (needs work); Layout shift -"
    [mark] = [each for each in root.iter(f"{SVG}path") if each.attrib["stroke-width"] == "4"]
    assert mark.attrib["d"].startswith("M520 ")  # half of 6 s, between 290 and 750
    page = get(alice, f"/p/{visited.key}/speed/?range={MARCH}").content.decode()
    assert "/speed/web-vitals.svg?" in page
    get(alice, f"/p/{visited.key}/speed/web-vitals.svg?range={MARCH}")


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_of_strangers_are_text_in_a_histogram(text: str) -> None:
    from reports.drawing import as_text
    from reports.event_properties import Bar, Drawing, Properties
    from reports.pictures import Source, of_histogram

    bar = Bar(text, text, text, text, 0, "0", "100", "50", "50")
    drawing = Drawing([bar], 10, [text, text], [(text, text, text)], True, 3)
    shown = Properties(text, (), text, drawing)
    drawn(as_text(of_histogram(shown, Source(text, [text], "dark"))))


def test_the_live_graph_as_a_file_has_the_seconds_of_the_page(alice: Any, shop: Any) -> None:
    from reports.drawing import as_svg
    from reports.live_picture import SECONDS, seconds
    from reports.live_picture import drawn as live

    until = 1_773_480_600
    opened, active, engaged = seconds([[until - 20, 4, 3, 2], [until - 2, 5, 1, 0]], until)
    assert (len(opened), len(active), len(engaged)) == (SECONDS, SECONDS, SECONDS)
    # A number stands for twelve seconds, then nobody knows.
    assert opened[-21:] == [4] * 13 + [None] * 5 + [5] * 3
    assert (opened[-22], active[-1], engaged[-1]) == (None, 1, 0)
    now = datetime.fromtimestamp(until, UTC)
    for snapshot in (None, {"recent": [[until - 5, 4, 3, 2]]}):
        picture = live(snapshot, {until - until % 60: 3.5}, now, "Shop", ["now"], "light", "UTC")
        root = drawn(as_svg(picture))
        assert ("No value" in (root.findtext(f"{SVG}desc") or "")) == (snapshot is None)
        legend = {each.text for each in root.iter(f"{SVG}text")}
        assert {"Open", "Active", "Engaged", "open, a week before"} <= legend
    path = f"/p/{shop.key}/live.svg"
    assert get(alice, f"{path}?filter=page:is:/")["Content-Type"].startswith("image/svg+xml")
    assert "-live-" in get(alice, f"{path}?download=1")["Content-Disposition"]
    assert f'data-save-png="{path}?"' in get(alice, f"/p/{shop.key}/live/").content.decode()
    for wrong in ("theme=pink", "filter=luck:is:x"):
        get(alice, f"{path}?{wrong}", expected=400)
    drawn(get(alice, f"/a/{shop.account.slug}/live.svg").content.decode())
