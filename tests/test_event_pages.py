"""The events report with the properties of one event, the elements report, and tables of two
dimensions: the numbers of the page are those of the API and of the file."""

import csv
import html
import re
from decimal import Decimal
from io import StringIO
from urllib.parse import quote

import pytest

from tests.history import Happening, at, roll_up, write
from tests.people import signed_in_as
from tests.test_report_page import get, rows_of, text_of, tiles_of

DAY = "range=2026-04-14..2026-04-14"
NOON = at("2026-04-14T12:00")
HOSTILE = "<script>window.__xss=1</script>"


def element(visitor, what, label, position, kind="card", page="/"):
    name = "element_shown" if what == "shown" else "element"
    props = {"type": kind, "label": label, "position": position}
    if what != "shown":
        props["event"] = what
    return Happening(NOON, visitor, name, page, props=props, texts={"device": "desktop"})


HISTORY = [
    *(
        Happening(NOON, visitor, "buy", props={"price": 10 * visitor, "plan": plan, "ok": True})
        for visitor, plan in [(1, "pro"), (1, "pro"), (2, HOSTILE), (3, "free")]
    ),
    Happening(NOON, 4, "buy", props={"a:b": "x", "price": "none"}),
    Happening(at("2026-04-13T12:00"), 9, "buy", props={"price": 15}),
    Happening(NOON, 1, "view", props={"plan": "team"}),
    *(element(1, "shown", label, "1") for label in ("Mug", "Kettle", HOSTILE)),
    *(element(visitor, "shown", "Mug", "2") for visitor in (1, 2, 3)),
    element(2, "mouseover", "Mug", "2"),
    element(2, "click", "Mug", "2", page="/b"),
    element(2, "click", "Menu", "top", kind="link"),
]


@pytest.fixture
def measured(shop):
    write(shop, HISTORY)
    roll_up(shop, HISTORY)
    known = type(shop).objects.across_accounts().filter(pk=shop.pk)
    known.update(first_event_at=at("2026-04-10T00:00"))
    return shop


def block_of(page):
    return page[page.index('id="properties"') :].split("</section>")[0]


def body_of(table):
    return [
        tuple(text_of(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S))
        for row in re.findall(r"<tr>(.*?)</tr>", table.split("<tbody>")[1], re.S)
    ]


def test_one_event_shows_its_values_and_how_its_numbers_are_spread(measured, alice, bob):
    base = f"/p/{measured.key}/events/?{DAY}"
    page = get(alice, base).content.decode()
    assert rows_of(page, "events")[0][:2] == ("element_shown", "6")
    assert "Choose an event" in block_of(page)
    assert f'/p/{measured.key}/inspector/"' in block_of(page)

    of_buy = base + "&filter=event:is:buy"
    page = get(alice, of_buy).content.decode()
    assert tiles_of(page)["events_per_visitor"].startswith("Events per visitor: 1.25")
    block = block_of(page)
    links = re.findall(r'href="(\?[^"]*prop=[^"]*)"', block)
    names = [re.search(r"prop=([^&]*)", link)[1] for link in links]
    assert names == ["price", "ok", "plan", "a:b"]
    assert '/inspector/?name=buy"' in block

    # Mixed: numbers are drawn, in the same bins as the day before, and every value is listed.
    numbers, values = block.split("histogram-numbers")[1].split("</details>")[:2]
    bins = [row for row in body_of(numbers) if row[1] != "0" or row[2] != "0"]
    assert bins == [
        ("10 to 12", "2", "0"),
        ("14 to 16", "0", "1"),
        ("20 to 22", "1", "0"),
        ("30 to 32", "1", "0"),
    ]
    line = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)(?: <span|</dd>)", block))
    assert line == {
        "Least": "10", "Median": "15", "Mean": "17.5", "Most": "30", "With a number": "4",
        "Without": "1",
    }  # fmt: skip
    assert body_of(values)[0][:2] == ("10", "2")

    page = get(alice, of_buy + "&prop=plan").content.decode()
    block = block_of(page)
    assert "<svg viewBox" not in block
    assert [row[:3] for row in body_of(block)] == [
        ("pro", "2", "1"), (HOSTILE, "1", "1"), ("free", "1", "1")
    ]  # fmt: skip
    assert HOSTILE not in page
    assert "filter=props:plan:is:pro" in block
    more = html.unescape(re.search(r'href="([^"]*)"[^>]*>All values', block)[1])
    whole = get(alice, more).content.decode()
    assert ("buy", "pro", "2", "1") in [row[:4] for row in body_of(whole)]

    filtered = get(alice, of_buy + "&prop=price&filter=props:plan:is:pro").content.decode()
    assert ("10", "2", "0") in body_of(
        block_of(filtered).split("histogram-numbers")[1].split("</details>")[0]
    )
    assert body_of(block_of(get(alice, of_buy + "&prop=ok").content.decode()))[0][0] == "true"
    colon = block_of(get(alice, of_buy + "&prop=a:b").content.decode())
    assert body_of(colon)[0][0] == "x"
    assert "filter=props:a" not in colon
    get(alice, of_buy + "&prop=" + "x" * 3_000, 400)
    nothing = get(alice, base + "&filter=event:is:pageview").content.decode()
    assert "no properties" in block_of(nothing)
    get(bob, of_buy, 403)


def test_the_longest_name_of_a_property_is_chosen_filtered_and_split_by(shop, alice):
    from tracking.fields import TEXT

    name = "n" * TEXT
    history = [Happening(NOON, visitor, "buy", props={name: "v", "price": 1}) for visitor in (1, 2)]
    write(shop, history)
    roll_up(shop, history)
    of_buy = f"/p/{shop.key}/events/?{DAY}&filter=event:is:buy"
    page = get(alice, of_buy).content.decode()
    (query,) = re.findall(rf'href="([^"]*prop={name}[^"]*)"', block_of(page))
    block = block_of(get(alice, f"/p/{shop.key}/events/{html.unescape(query)}").content.decode())
    assert body_of(block)[0][:3] == ("v", "2", "2")
    filtered = get(alice, f"{of_buy}&filter=props:{name}:is:v").content.decode()
    assert tiles_of(filtered)["events"].startswith("Events: 2")
    get(alice, f"{of_buy}&filter=props:{name}n:is:v", 400)


def test_names_of_properties_and_events_show_what_is_in_them(shop, alice):
    """Whoever sends events chooses these, too."""
    name, shown = "\u202ecod\u200b", "\\u202ecod\\u200b"
    history = [Happening(NOON, visitor, name, props={name: visitor}) for visitor in (1, 2)]
    write(shop, history)
    roll_up(shop, history)
    quoted = quote(name)
    of_event = f"{DAY}&filter=event:is:{quoted}"
    for path in (
        f"events/?{of_event}",
        f"events/?{of_event}&filter=props:{quoted}:is:1",
        f"events/events/?{DAY}&by=props:{quoted}",
        f"events/properties.svg?{of_event}",
        f"chart.svg?{DAY}&filter=props:{quoted}:is:1",
    ):
        text = get(alice, f"/p/{shop.key}/{path}").content.decode()
        fields = r'<(?:input|textarea|option)[^>]*>|href="[^"]*"'  # what is sent again
        assert shown in text, path
        assert not re.search("[\u202e\u200b]", re.sub(fields, "", text)), path


def test_elements_show_which_item_works_where(measured, alice, bob):
    base = f"/p/{measured.key}/elements/?{DAY}"
    page = get(alice, base + "&filter=props:type:is:card").content.decode()
    found = {row[:2]: row[2:] for row in rows_of(page, "items")}
    assert found[("Mug", "2")] == ("3", "1", "1", "33 %")
    assert found[("Mug", "1")] == ("1", "0", "0", "0 %")
    assert found[(HOSTILE, "1")] == ("1", "0", "0", "0 %")
    assert ("Menu", "top") not in found
    assert HOSTILE not in page
    assert tiles_of(page)["elements_shown"].startswith("Shown: 6")
    page = get(alice, base).content.decode()
    assert {row[0]: row[1:] for row in rows_of(page, "types")} == {
        "card": ("6", "1", "1", "17 %"),
        "link": ("0", "0", "1", "-"),
    }
    get(bob, base, 403)


def test_a_table_of_two_dimensions_needs_the_rights_of_both(measured, alice, bob):
    base = f"/p/{measured.key}/table/country"
    page = get(alice, f"{base}/?{DAY}&by=page").content.decode()
    rows = [row[:2] for row in body_of(page)]
    assert "/b" in [second for _, second in rows]
    assert 'filter=page:is:/b&amp;by=page"' in page
    assert '<option value="page" selected>' in page
    text = get(alice, f"{base}.csv?{DAY}&by=page").getvalue().decode()
    header, *lines = csv.reader(StringIO(text))
    assert header[:2] == ["country", "page"]
    assert len(lines) == len(rows)
    asked = signed_in_as(alice).post(
        f"/api/v1/properties/{measured.key}/query",
        {"metrics": ["visitors"], "dimensions": ["country", "page"], "range": "2026-04-14"},
        content_type="application/json",
    )
    visitors = header.index("visitors")
    assert {(line[0], line[1], int(line[visitors])) for line in lines} == {
        (row["country"], row["page"], row["visitors"]) for row in asked.json()["rows"]
    }

    # Bob may view the audience and the sources, and no page.
    get(bob, f"{base}/?{DAY}&by=source")
    for denied in (f"{base}/?{DAY}&by=page", f"{base}.csv?{DAY}&by=props:plan"):
        get(bob, denied, 403)
    for wrong in ("by=nothing", "by=props:", "by=%00"):
        get(alice, f"{base}/?{wrong}", 400)
    assert get(alice, f"{base}/?{DAY}&by=country").content  # nothing to split


def test_a_number_is_shown_as_long_as_it_must_be():
    from reports.event_properties import numeral

    shown = {"1234": "1,234", "12.50": "12.5", "0.004567": "0.00457", "-3.14159": "-3.14", "0": "0"}
    shown |= {"0.000000012": "0.000000012", "-1.5e-999": "-1.50e-999"}
    assert {text: numeral(Decimal(text)) for text in shown} == shown
