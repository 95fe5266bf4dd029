"""The report page: its numbers are those of `ask` and the API, its address is its whole view,
nobody sees more than granted, and what strangers typed is text."""

import csv
import html
import json
import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from tests.history import Happening, at, roll_up, write
from tests.people import new_key, new_property, signed_in_as, with_key

MARCH = "2026-03-01..2026-03-31"
FEBRUARY_AND_MARCH = "2026-02-01..2026-03-31"
HOSTILE = [
    "<script>window.__xss=1</script>",
    "\"><img src=x onerror=window.__xss=1>",
    "javascript:window.__xss=1",
    "data:text/html,<script>window.__xss=1</script>",
    "</script><script>window.__xss=1</script>",
    "{{7*7}}{% debug %}${7*7}",
    "=HYPERLINK(\"http://evil.example\",\"x\")",
    "\u202egnp.exe",
    "a:b:c&filter=page:is:/&x=#y?z%2F+ é",
]  # fmt: skip


def history(first: str = "2026-03-02T09:00", days: int = 10, pages: int = 4) -> list[Happening]:
    """A few visitors a day, of whom every third reads on; some from campaigns."""
    happenings = []
    for day in range(days):
        for visitor in range(1, 8):
            start = at(first) + timedelta(days=day, minutes=41 * visitor)
            source, channel = [("Google", "Organic Search"), ("Direct", "Direct")][visitor % 2]
            texts = {
                "country": ["DE", "SE", ""][visitor % 3],
                "device": "mobile" if visitor % 2 else "desktop",
                "browser": "Firefox",
                "os": "Linux",
                "campaign": "spring" if visitor == 3 else "",
            }
            for step in range(1 + visitor % 3):
                happenings.append(
                    Happening(
                        start + timedelta(minutes=step),
                        visitor + 100 * (day % 3),
                        page=f"/page-{(visitor + step) % pages}",
                        source=source,
                        channel=channel,
                        texts=texts,
                    )
                )
            happenings.append(
                Happening(
                    start + timedelta(minutes=5),
                    visitor + 100 * (day % 3),
                    name="engagement",
                    page="/page-0",
                    source=source,
                    channel=channel,
                    engaged_ms=12_345,
                    texts=texts,
                )
            )
    return happenings


def fill(place: Any, happenings: list[Happening]) -> None:
    write(place, happenings)
    roll_up(place, happenings)


@pytest.fixture
def busy(shop: Any) -> Any:
    """`shop` with ten days of March."""
    fill(shop, history())
    return shop


def get(user: Any, path: str, expected: int = 200, **headers: str) -> Any:
    response = signed_in_as(user).get(path, headers=headers)
    assert response.status_code == expected, response.content[:500]
    return response


def text_of(fragment: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", " ", fragment)).strip()


def tiles_of(page: str) -> dict[str, str]:
    """metric -> the title with the exact numbers."""
    found = re.findall(r'id="tile-(\w+)".*?class="tile-line" title="([^"]*)"', page, re.S)
    return {name: html.unescape(title) for name, title in found}


def rows_of(page: str, card: str) -> list[tuple[str, ...]]:
    """(value, first number, ...) of each row that a card shows."""
    section = page[page.index(f'id="card-{card}"') :].split("</section>")[0]
    body = section.split("<tbody>")[1].split("</tbody>")[0] if "<tbody>" in section else ""
    return [
        tuple(text_of(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S))
        for row in re.findall(r"<tr>(.*?)</tr>", body, re.S)
    ]


def curve_of(page: str) -> dict[str, Any]:
    """What chart.js draws."""
    (data,) = re.findall(r'<script id="curve"[^>]*>(.*?)</script>', page, re.S)
    return json.loads(data)


def asked(place: Any, within: str, **question: Any) -> Any:
    from accounts.tenancy import tenant
    from properties.periods import parse_range, zone
    from reports.queries import Question, ask

    now = datetime.fromisoformat("2026-04-15T10:00+00:00")
    asked_range = parse_range(within, zone(place.timezone), now)
    with tenant(place.account_id):
        return ask(place, Question(range=asked_range, **question), now)


def links(page: str) -> Iterator[str]:
    for href in re.findall(r'href="([^"]*)"', page):
        yield html.unescape(href)


# -- the same number everywhere ----------------------------------------------------------------


def test_tiles_show_what_ask_and_the_api_say(alice: Any, busy: Any) -> None:
    from reports.catalogue import OVERVIEW
    from reports.formatting import exact
    from reports.metrics import METRICS

    tiles = OVERVIEW.shown_tiles(lambda module: True, has_goals=False)
    page = get(alice, f"/p/{busy.key}/?range={MARCH}").content.decode()
    totals = asked(busy, MARCH, metrics=tiles).totals
    _, secret = new_key(busy.account, "audience:view", place=busy)
    body = {"metrics": list(tiles), "range": {"from": "2026-03-01", "to": "2026-03-31"}}
    api = with_key(secret).post(
        f"/api/v1/properties/{busy.key}/query", json.dumps(body), content_type="application/json"
    )
    assert api.status_code == 200, api.content
    assert api.json()["totals"] == totals
    assert totals["visitors"] == 21
    assert totals["pageviews"] == sum(event.name == "pageview" for event in history())
    titles = tiles_of(page)
    for name in tiles:
        assert titles[name].startswith(
            f"{METRICS[name].label}: {exact(totals[name], METRICS[name].unit)}"
        )


def test_rows_show_what_ask_says(alice: Any, busy: Any) -> None:
    page = get(alice, f"/p/{busy.key}/?range={MARCH}").content.decode()
    by_page = asked(busy, MARCH, metrics=("pageviews", "visitors"), dimensions=("page",)).rows
    assert rows_of(page, "pages") == [
        (row["page"], str(row["pageviews"]), str(row["visitors"])) for row in by_page
    ]
    by_country = asked(busy, MARCH, metrics=("visitors",), dimensions=("country",)).rows
    names = {"DE": "Germany", "SE": "Sweden", "": "Unknown"}
    assert [row[:2] for row in rows_of(page, "places")] == [
        (names[row["country"]], str(row["visitors"])) for row in by_country
    ]


def test_a_tab_shows_its_dimension(alice: Any, busy: Any) -> None:
    page = get(alice, f"/p/{busy.key}/?range={MARCH}&sources=campaign").content.decode()
    answer = asked(busy, MARCH, metrics=("visitors",), dimensions=("campaign",)).rows
    assert (
        [row[0] for row in rows_of(page, "sources")]
        == ["spring"]
        == [row["campaign"] for row in answer]
    )


def test_a_filter_narrows_every_number(alice: Any, busy: Any) -> None:
    path = f"/p/{busy.key}/?range={MARCH}&filter=source:is:Google&filter=country:is:DE"
    page = get(alice, path).content.decode()
    filters = ["and", ["is", "source", ["Google"]], ["is", "country", ["DE"]]]
    totals = asked(busy, MARCH, metrics=("visitors",), filters=filters).totals
    assert 0 < totals["visitors"] < 21
    shown = tiles_of(page)["visitors"]
    assert shown.startswith(f"Visitors: {totals['visitors']}; nothing was counted yet")
    assert [row[0] for row in rows_of(page, "sources")] == ["Google"]
    assert page.count('class="chip"') == 2


def test_the_series_is_a_table_and_a_curve_of_the_same_numbers(alice: Any, busy: Any) -> None:
    path = f"/p/{busy.key}/?range={MARCH}&metric=pageviews"
    page = get(alice, path).content.decode()
    answer = asked(busy, MARCH, metrics=("pageviews",), dimensions=("time:day",))
    curve = curve_of(page)
    # Before the first event nothing was counted: that day is unknown, and not 0.
    assert [row["pageviews"] for row in answer.rows] == curve["values"]
    assert curve["values"][0] is None
    assert len(curve["values"]) == 31
    assert curve["openFrom"] is None
    table = page[page.index('class="chart-numbers"') :].split("</table>")[0]
    shown = re.findall(r'<th scope="row">(.*?)</th>\s*<td class="number">(.*?)</td>', table)
    assert [int(number) for _, number in shown[1:]] == curve["values"][1:]
    assert shown[0][1] == "-"
    alone = "?range=2026-03-02..2026-03-02&amp;metric=pageviews"  # that day by itself
    assert shown[1][0] == f'<a href="{alone}">Monday 2 March 2026</a>'


def test_bots_are_counted_where_they_are_asked_for(alice: Any, shop: Any) -> None:
    """In tiles, curve, cards, table and CSV alike, and the choice stays in every link."""
    crawler = [Happening(at("2026-03-03T09:00"), -7, page="/robots", bot=True)] * 3
    fill(shop, [Happening(at("2026-03-03T08:00"), 1, page="/people"), *crawler])
    path = f"/p/{shop.key}/"
    wanted = {
        "": (1, ["/people"]),
        "&bots=include": (4, ["/robots", "/people"]),
        "&bots=only": (3, ["/robots"]),
    }
    for choice, (pageviews, names) in wanted.items():
        page = get(alice, f"{path}?range={MARCH}{choice}&metric=pageviews").content.decode()
        assert tiles_of(page)["pageviews"].startswith(f"Pageviews: {pageviews}")
        assert sum(value or 0 for value in curve_of(page)["values"]) == pageviews
        assert [row[0] for row in rows_of(page, "pages")] == names
        query = f"?range={MARCH}{choice}&sort=-pageviews"
        table = get(alice, f"{path}table/page/{query}").content.decode()
        assert [text_of(n) for n in re.findall(r'class="row-link".*?>(.*?)</a>', table)] == names
        file = get(alice, f"{path}table/page.csv{query}").getvalue().decode()
        rows = csv.DictReader(StringIO(file))
        assert [row["page"] for row in rows] == names
        kept = [href for href in links(page) if href.startswith("?") and choice in href]
        assert len(kept) > 20
    page = get(alice, f"{path}?range={MARCH}").content.decode()
    assert {f"?range={MARCH}&bots={other}" for other in ("include", "only")} <= set(links(page))


def test_bots_that_are_kept_apart_are_named(alice: Any, shop: Any) -> None:
    from reports.rollups import roll_up_property
    from tracking.collecting import collect
    from tracking.drain import drain_all
    from tracking.intake import Origin
    from tracking.ledger import copy_recent

    def count() -> None:  # of this property: a tick may end before its turn comes
        drain_all()
        copy_recent(datetime.now(UTC))
        roll_up_property(shop, datetime.now(UTC))

    path, event = f"/p/{shop.key}/?range=today", {"name": "pageview", "url": "https://a.example/"}
    collect(shop, [event])
    count()
    assert "kept apart" not in get(alice, path).content.decode()
    collect(shop, [event] * 3, Origin(agent="Googlebot/2.1"))
    count()
    assert "3 bot events kept apart" in get(alice, path).content.decode()
    for choice in ("&bots=include", "&bots=only", "&filter=page:is:/"):
        assert "kept apart" not in get(alice, path + choice).content.decode()


def test_the_csv_holds_the_unshortened_rows(alice: Any, busy: Any) -> None:
    from reports.metrics import METRICS
    from reports.parts import whole

    response = get(alice, f"/p/{busy.key}/table/source.csv?range={MARCH}")
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert (
        f'filename="{busy.key}-source-2026-03-01-to-2026-03-31.csv"'
        in response["Content-Disposition"]
    )
    rows = list(csv.DictReader(StringIO(response.getvalue().decode())))
    names = whole("source", lambda module: True).columns
    assert {"visitors", "sessions", "bounce_rate"} <= set(names) <= set(METRICS)
    answer = asked(busy, MARCH, metrics=names, dimensions=("source",)).rows
    assert [row["source"] for row in rows] == [row["source"] for row in answer]
    for row, wanted in zip(rows, answer, strict=True):
        assert {name: float(row[name]) for name in names} == {n: wanted[n] for n in names}


# -- the table ---------------------------------------------------------------------------------


def test_a_table_sorts_and_goes_on_page_by_page(alice: Any, shop: Any) -> None:
    happenings = [
        Happening(at("2026-03-02T09:00") + timedelta(minutes=n), n, page=f"/{n:03d}")
        for n in range(1, 251)
    ]
    fill(shop, [*happenings, Happening(at("2026-03-03T09:00"), 999, page="/200")])
    path = f"/p/{shop.key}/table/page/?range={MARCH}"
    first = get(alice, path).content.decode()
    assert text_of(re.findall(r'<a class="row-link"[^>]*>(.*?)</a>', first)[0]) == "/200"
    seen = []
    while path:
        page = get(alice, path).content.decode()
        seen += [text_of(name) for name in re.findall(r'<a class="row-link".*?>(.*?)</a>', page)]
        following = re.search(r'href="([^"]*)" rel="next"', page)
        path = f"/p/{shop.key}/table/page/{html.unescape(following[1])}" if following else ""
    assert len(seen) == 250
    assert set(seen) == {f"/{n:03d}" for n in range(1, 251)}
    turned = get(alice, f"/p/{shop.key}/table/page/?range={MARCH}&sort=visitors&page=3")
    last = re.findall(r'<a class="row-link".*?>(.*?)</a>', turned.content.decode())[-1]
    assert text_of(last) == "/200"
    assert 'aria-sort="ascending"' in turned.content.decode()


@pytest.mark.parametrize("query", ["sort=-nonsense", "page=0", "page=1000", "page=x", "page=²"])
def test_a_table_that_cannot_be_shown_says_why(alice: Any, shop: Any, query: str) -> None:
    page = get(alice, f"/p/{shop.key}/table/page/?{query}", 400).content.decode()
    assert 'role="alert"' in page


# -- the address -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("range=yesteryear", "Unknown range &#x27;yesteryear&#x27;"),
        ("range=custom&from=2026-02-31&to=2026-03-01", "&#x27;2026-02-31&#x27; is no date"),
        ("range=custom&from=2026-03-02&to=2026-03-01", "ends (2026-03-01) before it begins"),
        ("range=custom", "&quot;from&quot; is missing"),
        ("interval=fortnight", "Unknown interval"),
        ("range=9000d&interval=minute", "Too many points"),
        ("metric=horoscopes", "There is no curve of"),
        ("compare=maybe", "Unknown comparison"),
        ("bots=robots", "Unknown choice of bots"),
        ("from=2026-03-02&to=2026-03-01", "ends (2026-03-01) before it begins"),
        ("filter=page", "A filter is written page:is:value"),
        ("filter=shoe_size:is:44", "There is no filter by"),
        ("filter=page:contains:", "its value is empty"),
        ("filter=page:is:a%00b", "holds a NUL"),
        ("filter=props:%00:is:a", "There is no filter by"),
        (f"filter=props:{'p' * 201}:is:a", "There is no filter by"),
        ("&".join(f"filter=page:is:/{n}" for n in range(21)), "Over 20 filters"),
    ],
)
def test_an_address_that_cannot_be_shown_says_what_to_write(
    alice: Any, shop: Any, query: str, says: str
) -> None:
    assert says in get(alice, f"/p/{shop.key}/?{query}", 400).content.decode()


def test_what_was_typed_is_kept_beside_the_error(alice: Any, shop: Any) -> None:
    path = f"/p/{shop.key}/?range=custom&from=2026-99-01&to=2026-03-01"
    page = get(alice, path, 400).content.decode()
    assert 'value="2026-99-01"' in page
    path = f"/p/{shop.key}/?filter_dimension=page&filter_operator=nearly&filter_value=/x%22y"
    assert 'value="/x&quot;y"' in get(alice, path, 400).content.decode()


def test_forms_become_addresses(alice: Any, shop: Any) -> None:
    path = f"/p/{shop.key}/?range=custom&from=2026-03-01&to=2026-03-31&compare=none"
    assert get(alice, path, 302)["Location"] == f"/p/{shop.key}/?range={MARCH}&compare=none"
    path = f"/p/{shop.key}/?from=2026-03-01&to=2026-03-31"
    assert get(alice, path, 302)["Location"] == f"/p/{shop.key}/?range={MARCH}"
    path = (
        f"/p/{shop.key}/?filter=country:is:DE"
        "&filter_dimension=page&filter_operator=contains&filter_value=/docs"
    )
    wanted = f"/p/{shop.key}/?filter=country:is:DE&filter=page:contains:/docs"
    assert get(alice, path, 302)["Location"] == wanted


def test_every_link_of_the_page_leads_to_a_page(alice: Any, busy: Any) -> None:
    """And keeps the rest of the view: only one thing changes at a time."""
    path = f"/p/{busy.key}/"
    query = f"range={MARCH}&compare=none&metric=sessions&filter=country:is:DE&pages=entry_page"
    page = get(alice, f"{path}?{query}").content.decode()
    own = [href for href in links(page) if href.startswith("?")]
    assert len(own) > 25
    before = parse_qsl(query)
    for href in own:
        get(alice, path + href)
        after = parse_qsl(urlsplit(href).query)
        # With weekdays, a comparison is two parameters.
        assert len((set(before) ^ set(after)) - {("align", "weekday")}) <= 2, href
    for href in links(page):
        if "/table/" in href:
            get(alice, href)


def test_equal_views_have_equal_addresses(alice: Any, shop: Any) -> None:
    page = get(alice, f"/p/{shop.key}/?range=28d&compare=previous&metric=visitors&x=y")
    assert 'href="?" aria-current="true"' in page.content.decode()


@pytest.mark.parametrize("value", HOSTILE)
def test_following_a_row_filters_by_exactly_its_value(alice: Any, shop: Any, value: str) -> None:
    fill(shop, [Happening(at("2026-03-02T09:00"), 1, page=value), *history(days=1)])
    page = get(alice, f"/p/{shop.key}/?range={MARCH}").content.decode()
    wanted = [
        f for f in links(page) if ("filter", f"page:is:{value}") in parse_qsl(urlsplit(f).query)
    ]
    assert wanted
    filtered = get(alice, f"/p/{shop.key}/{wanted[0]}").content.decode()
    assert tiles_of(filtered)["pageviews"].startswith("Pageviews: 1;")


def sites_of(page: str) -> list[str]:
    """Where rows lead to outside of the product."""
    return [href for href in links(page) if href.startswith(("http:", "https:", "//"))]


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/a/b", "https://acme.example/a/b"),
        ("/caf%C3%A9?x=1&y#z", "https://acme.example/caf%C3%A9%3Fx=1&y%23z"),
        ("/a b/é", "https://acme.example/a%20b/%C3%A9"),
        ("//evil.example/", "https://acme.example//evil.example/"),
        ("/\\evil.example", "https://acme.example/%5Cevil.example"),
        ("/@evil.example", "https://acme.example/@evil.example"),
        ('/"><script>', "https://acme.example/%22%3E%3Cscript%3E"),
        ("/" + "x" * 1_023, None),  # cut: who knows what it was
        ("evil.example/", None),
        ("javascript:alert(1)", None),
        ("", None),
    ],
)
def test_a_page_can_be_opened_on_the_propertys_own_host(
    alice: Any, acme: Any, path: str, wanted: str | None
) -> None:
    place = new_property(acme, hostnames=["acme.example"])
    fill(place, [Happening(at("2026-03-02T09:00"), 1, page=path)])
    for tail in ("?", "?pages=entry_page&", "pages/?", "table/page/?"):
        page = get(alice, f"/p/{place.key}/{tail}range={MARCH}").content.decode()
        assert set(sites_of(page)) == ({wanted} if wanted else set()), tail
    every = re.findall(r'<a class="row-open"[^>]*>', page)
    assert len(every) == (wanted is not None)
    assert all('target="_blank" rel="noopener noreferrer"' in link for link in every)


@pytest.mark.parametrize("hostnames", [["*"], ["*.acme.example"], ["acme.example", "shop.example"]])
def test_a_page_that_may_be_on_several_hosts_cannot_be_opened(
    alice: Any, acme: Any, hostnames: list[str]
) -> None:
    place = new_property(acme, hostnames=hostnames)
    fill(place, history(days=1))
    assert not sites_of(get(alice, f"/p/{place.key}/pages/?range={MARCH}").content.decode())


# -- who sees what -----------------------------------------------------------------------------


def test_a_card_shows_only_what_may_be_viewed(bob: Any, busy: Any) -> None:
    """Bob may view audience and sources: no pages, no events, nobody online."""
    page = get(bob, f"/p/{busy.key}/?range={MARCH}").content.decode()
    assert re.findall(r'id="card-(\w+)"', page) == ["sources", "places", "technology"]
    assert "/page-0" not in page
    assert 'id="now"' not in page
    assert 'value="page"' not in page  # nor offered as a filter


def test_filters_may_be_as_deep_and_as_many_on_every_report(
    alice: Any, shop: Any, acme: Any
) -> None:
    """What a report asks by itself does not count against what the reader may ask."""
    from accounts.tenancy import tenant
    from reports.catalogue import REPORTS
    from reports.filters import MOST_DEPTH, MOST_FILTERS, MOST_IN_ALL
    from reports.models import Segment

    deep = ["country:is:DE"]
    for level in range(MOST_DEPTH - 1):
        deep = ["any(" if level % 2 else "all(", "country:is:FR", *deep, ")"]
    pages = ["or", *(["is", "page", [f"/{n}"]] for n in range(MOST_FILTERS - 1))]
    many = [f"s{n}" for n in range(MOST_IN_ALL // MOST_FILTERS)]
    with tenant(acme.pk):
        Segment.objects.bulk_create(
            Segment(account_id=acme.pk, slug=slug, name=slug, filters=pages) for slug in many
        )
    with_own = [
        f"{report.name}/{table.name}/"
        for report in REPORTS.values()
        for table in report.tables.values()
        if table.filters
    ][:1] + [f"{report.name}/" for report in REPORTS.values() if report.filters]
    assert len(with_own) > 2
    for filters in ([f"segment:is:{slug}" for slug in many], deep):
        query = urlencode([("filter", text) for text in filters])
        for below in with_own:
            get(alice, f"/p/{shop.key}/{below}?{query}")


def test_a_filter_needs_the_right_to_what_it_filters_by(bob: Any, busy: Any) -> None:
    page = get(bob, f"/p/{busy.key}/?filter=page:is:/page-0", 400).content.decode()
    assert "You may not view content here" in page
    page = get(bob, f"/p/{busy.key}/?filter=props:plan:is:pro", 400).content.decode()
    assert "You may not view events here" in page


@pytest.mark.parametrize("tail", ["", "now/", "table/page/", "table/page.csv", "table/country/"])
def test_others_see_nothing(tail: str, bob: Any, charlie: Any, vera: Any, shop: Any) -> None:
    path = f"/p/{shop.key}/{tail}"
    allowed = tail in ("", "table/country/")
    get(vera, path)
    get(bob, path, 200 if allowed else 403)
    get(charlie, path, 404)
    get(None, path, 302)


def test_a_table_has_a_route_for_every_dimension() -> None:
    from django.urls import resolve, reverse

    from reports.metrics import DIMENSIONS

    for name, dimension in DIMENSIONS.items():
        for route in ("table", "table_csv"):
            view: Any = resolve(reverse(route, kwargs={"key": "AK-2", "dimension": name})).func
            assert view.access.module == dimension.module


def test_only_reading_is_answered(alice: Any, shop: Any) -> None:
    assert signed_in_as(alice).post(f"/p/{shop.key}/").status_code in (403, 405)


# -- what strangers typed is text --------------------------------------------------------------


def test_hostile_values_are_text_on_the_page(alice: Any, shop: Any) -> None:
    happenings = [
        Happening(
            at("2026-03-02T09:00") + timedelta(minutes=number),
            number,
            name=value,
            page=value,
            source=value,
            channel=value,
            texts=dict.fromkeys(("country", "device", "browser", "os", "campaign"), value),
        )
        for number, value in enumerate(HOSTILE, 1)
    ]
    fill(shop, happenings)
    for tail in (f"?range={MARCH}", f"?range={MARCH}&sources=campaign&technology=browser"):
        page = get(alice, f"/p/{shop.key}/{tail}").content.decode()
        assert page.count("<script") == page.count("</script>")
        assert "<script>window" not in page
        assert "<img src" not in page
        assert not re.search(r'href="(javascript|data):', page)
        assert "{{7*7}}{% debug %}${7*7}" in page
        assert "\u202e" not in page
        assert "\\u202egnp.exe" in page


@pytest.mark.parametrize(
    "value",
    ["=1+1", "+1", "-1", "@SUM(A1)", "\t'=1", "\r'=1", "＝1", "\u200b=1", " =1", "－1", "\ufeff@x"],
)
def test_no_cell_of_the_csv_is_a_formula(alice: Any, shop: Any, value: str) -> None:
    sent = value.replace("'", "")
    fill(shop, [Happening(at("2026-03-02T09:00"), 1, page=sent)])
    response = get(alice, f"/p/{shop.key}/table/page.csv?range={MARCH}")
    rows = list(csv.reader(StringIO(response.getvalue().decode(), newline="")))
    assert rows[1][0] == f"'{value}"
    api = asked(shop, MARCH, metrics=("visitors",), dimensions=("page",))
    assert api.rows[0]["page"] == sent


@pytest.mark.parametrize("separator", [";", "\t", "\n", "\r\n", "\r"])
@pytest.mark.parametrize("formula", ["=1+1", "+1", "-1", "@x", "＝1", " =cmd|' /C calc'!A0"])
def test_no_cell_is_a_formula_where_cells_are_separated_otherwise(
    separator: str, formula: str
) -> None:
    """In half of Europe a spreadsheet splits the lines of a file at semicolons, also within quotes
    that stand in the middle of one of its cells."""
    from properties.streaming import csv_lines

    text = csv_lines([[5, f"a{separator}{formula}{separator}b", "c"]])
    assert re.findall(r"(?:^|[;\t\r\n])[\s]*[=+\-@＝]", text) == []
    assert csv.reader(StringIO(text, newline="")).__next__() == [
        "5", f"a{separator}'{formula}{separator}b", "c"
    ]  # fmt: skip


@pytest.mark.parametrize(
    "value", ["/a=b", "a-b", "", "/", "é", "(none)", "a;b", "a\nb; c=d", 5, -5, 0.25]
)
def test_other_cells_stay_as_they_are(value: Any) -> None:
    from properties.strangers_text import csv_cell

    assert csv_cell(value) == value


# -- empty, open, live -------------------------------------------------------------------------


def test_a_property_without_events_shows_the_next_step(alice: Any, bob: Any, shop: Any) -> None:
    from django.urls import reverse

    page = get(alice, f"/p/{shop.key}/").content.decode()
    assert "No event has arrived yet" in page
    snippet = reverse("snippet", args=[shop.key])
    assert page.count(f'href="{snippet}"') == 2  # the tab, and the one next step
    assert 'id="curve"' not in page
    page = get(alice, f"/p/{shop.key}/table/page/").content.decode()
    assert "No event has arrived yet" in page
    assert page.count(f'href="{snippet}"') == 2
    page = get(bob, f"/p/{shop.key}/").content.decode()  # he may not see the snippet
    assert "No event has arrived yet" in page
    assert snippet not in page


def test_a_page_that_waits_is_swapped_only_when_there_is_news(alice: Any, shop: Any) -> None:
    from django.utils import timezone

    from tests.people import signed_in_as

    def looks_again(waits_for: str) -> Any:
        headers = {"HX-Request": "true", "HX-Trigger": waits_for}
        return signed_in_as(alice).get(f"/p/{shop.key}/?range=7d", headers=headers)

    assert looks_again("first-event").status_code == 204
    shop.first_event_at = timezone.now() - timedelta(seconds=2)
    shop.save(update_fields=["first_event_at"])
    assert "The first event has arrived" in looks_again("first-event").content.decode()
    assert looks_again("first-count").status_code == 204
    shop.first_event_at -= timedelta(minutes=10)
    shop.save(update_fields=["first_event_at"])
    assert 'id="curve"' in looks_again("first-count").content.decode()


def test_the_first_event_is_waited_for_until_it_is_counted(alice: Any, shop: Any) -> None:
    from django.utils import timezone

    shop.first_event_at = timezone.now() - timedelta(seconds=2)
    shop.save(update_fields=["first_event_at"])
    page = get(alice, f"/p/{shop.key}/?range=7d").content.decode()
    assert "The first event has arrived" in page
    assert f'hx-get="/p/{shop.key}/?range=7d"' in page  # and looks again by itself
    assert 'id="curve"' not in page
    shop.first_event_at -= timedelta(minutes=10)
    shop.save(update_fields=["first_event_at"])
    page = get(alice, f"/p/{shop.key}/?range=7d").content.decode()
    assert "The first event has arrived" not in page
    assert 'id="curve"' in page


def test_a_quiet_range_says_so_without_false_zeros(alice: Any, busy: Any) -> None:
    busy.first_event_at = at("2026-03-02T09:00")
    busy.save(update_fields=["first_event_at"])
    page = get(alice, f"/p/{busy.key}/?range=2025-01-01..2025-01-31").content.decode()
    assert tiles_of(page)["visitors"].startswith("Visitors: nothing")  # nobody counted
    page = get(alice, f"/p/{busy.key}/?range=2026-04-04..2026-04-05").content.decode()
    assert "Nothing in this range. Choose a longer range." in page
    narrowed = get(alice, f"/p/{busy.key}/?range=2026-04-04..2026-04-05&filter=page:is:/x")
    assert "Remove a filter or choose a longer range." in narrowed.content.decode()
    titles = tiles_of(page)
    assert titles["visitors"].startswith("Visitors: 0")
    assert titles["bounce_rate"].startswith("Bounce rate: nothing")
    assert 'class="change' not in page


def test_an_open_range_is_compared_with_the_same_hours(
    alice: Any, shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Yesterday 1 visitor by 11:00 and 9 in the afternoon; today 2 by 10:20: that is +100 %."""
    now = at("2026-04-15T08:20")  # 10:20 in Berlin
    monkeypatch.setattr("reports.views.timezone", SimpleNamespace(now=lambda: now))
    yesterday = at("2026-04-14T08:00")
    happenings = [Happening(yesterday, 1), Happening(now, 2), Happening(now, 3)]
    happenings += [Happening(yesterday + timedelta(hours=6), n) for n in range(10, 19)]
    fill(shop, happenings)
    page = get(alice, f"/p/{shop.key}/?range=today").content.decode()
    assert tiles_of(page)["visitors"] == (
        "Visitors: 2, 1 in the period before, until 14 Apr 2026 11:00"
    )
    assert 'class="change good up">+100 %' in page
    curve = curve_of(page)
    assert curve["values"] == [0] * 10 + [2] + [None] * 13  # what has not begun is not 0
    assert curve["before"] == [0] * 10 + [1] + [0] * 5 + [9] + [0] * 7
    assert curve["openFrom"] == 10
    assert "complete until" in page


def test_the_same_hours_are_those_on_the_wall(
    alice: Any, acme: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The 6th of September begins at 01:00 in Santiago, and has 23 hours."""
    place = new_property(acme, timezone="America/Santiago")
    happenings = [
        Happening(at(f"2026-09-0{day}T{hour}:10"), 10 * day + number)
        for day in (5, 6, 7)
        for number, hour in enumerate(["03", "13", "14", "15"], 1)
    ]
    fill(place, [Happening(at("2026-09-01T12:00"), 99), *happenings])
    for now, told in (
        # 11:20 there, ten hours after the day began: the day before by 12:00, not by 11:00.
        ("2026-09-06T14:20", "Visitors: 3, 3 in the period before, until 5 Sep 2026 12:00"),
        ("2026-09-07T03:20", "Visitors: 4; there were no such hours in the period before"),
    ):
        monkeypatch.setattr("reports.views.timezone", SimpleNamespace(now=lambda now=now: at(now)))
        page = get(alice, f"/p/{place.key}/?range=today").content.decode()
        assert tiles_of(page)["visitors"] == told


def test_an_hour_that_comes_twice_has_two_names(alice: Any, shop: Any) -> None:
    fill(shop, [Happening(at("2025-10-26T00:15"), 1), Happening(at("2025-10-26T01:15"), 2)])
    page = get(alice, f"/p/{shop.key}/?range=2025-10-26&compare=none").content.decode()
    names = curve_of(page)["names"]
    assert len(names) == len(set(names)) == 25
    assert names[1:5] == [
        "Sun 26 Oct 2025 01:00", "Sun 26 Oct 2025 02:00 +02:00", "Sun 26 Oct 2025 02:00 +01:00",
        "Sun 26 Oct 2025 03:00",
    ]  # fmt: skip


def test_without_comparison_nothing_is_compared(alice: Any, busy: Any) -> None:
    page = get(alice, f"/p/{busy.key}/?range={MARCH}&compare=none").content.decode()
    assert "period before" not in page
    assert 'class="change' not in page


def two_weeks(place: Any) -> None:
    """/a and /new in the week from the 9th of March, /a and /gone in the week before."""
    days = {"/a": (2, 3, 4, 9, 10, 11, 11), "/gone": (5,), "/new": (12,)}
    fill(
        place,
        [
            Happening(at(f"2026-03-{day:02d}T09:00"), 100 * day + number, page=page)
            for page in days
            for number, day in enumerate(days[page])
        ],
    )


WEEK = "2026-03-09..2026-03-15"


def test_the_rows_of_tables_are_compared_for_whoever_asks_for_it(alice: Any, shop: Any) -> None:
    two_weeks(shop)
    path = f"/p/{shop.key}/?range={WEEK}"
    page = get(alice, path).content.decode()
    assert rows_of(page, "pages")[0] == ("/a", "4", "4")
    (query,) = re.findall(r'href="([^"]*)" id="changes-in-tables">Show changes', page)
    assert dict(parse_qsl(html.unescape(query)[1:])) == {"range": WEEK, "changes": "1"}
    page = get(alice, path + "&changes=1").content.decode()
    assert f'href="?range={WEEK}" id="changes-in-tables">Hide changes' in page
    rows = rows_of(page, "pages")
    assert [(row[0], " ".join(row[1].split(".")[0].split())) for row in rows] == [
        ("/a", "4 +33 %"),
        ("/new", "1 was 0"),
    ]
    section = page[page.index('id="card-pages"') :]
    assert 'title="Pageviews: 4, 3 in the period before"' in section
    assert '<span class="change good up">+33 %</span>' in section
    # Every link of the page keeps the switch; without a comparison there is none to keep.
    assert "changes=1" in page[page.index('id="tile-pageviews"') :].split(">")[0]
    assert "changes" not in get(alice, path + "&compare=none&changes=1").content.decode()
    refused = get(alice, path + "&changes=yes", 400).content.decode()
    assert "Write changes=1" in refused


def test_a_whole_table_is_compared_with_its_totals(alice: Any, shop: Any) -> None:
    two_weeks(shop)
    path = f"/p/{shop.key}/table/page/?range={WEEK}&changes=1"
    page = get(alice, path).content.decode()
    assert "compared with the period before" in page
    assert 'title="Pageviews: 5, 4 in the period before"' in page  # all of them: /gone, too
    assert 'title="Pageviews: 1, 0 in the period before"' in page
    # Of the week before the first event nothing is known, and said why.
    page = get(alice, path.replace(WEEK, "2026-03-02..2026-03-08")).content.decode()
    assert "no comparison: nothing was counted yet in part of the period before" in page
    assert 'class="change' not in page
    assert 'title="Pageviews: 4; nothing was counted yet in part of the period before"' in page


def test_rows_of_an_open_range_are_compared_with_the_same_hours(
    alice: Any, shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = at("2026-04-15T08:20")  # 10:20 in Berlin
    monkeypatch.setattr("reports.views.timezone", SimpleNamespace(now=lambda: now))
    yesterday = at("2026-04-14T08:00")
    happenings = [Happening(at("2026-04-13T08:00"), 9), Happening(yesterday, 1)]
    happenings += [Happening(now, 2), Happening(now, 3)]
    happenings += [Happening(yesterday + timedelta(hours=6), n) for n in range(10, 19)]
    fill(shop, happenings)
    page = get(alice, f"/p/{shop.key}/?range=today&changes=1").content.decode()
    assert (
        'title="Visitors: 2, 1 in the period before, until 14 Apr 2026 11:00"'
        in (page[page.index('id="card-pages"') :])
    )


def test_now_counts_who_is_here(alice: Any, shop: Any) -> None:
    from tracking.collecting import Origin, collect, now_ms

    origin = Origin(address="192.0.2.1", agent="Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0")
    states = ["engaged", "visible", "hidden"]
    pings = [
        {
            "property": shop.key,
            "name": "ping",
            "state": state,
            "next_ms": 60_000,
            "visitor": str(uuid.uuid4()),
            "url": "https://shop.example/",
        }
        for state in states
    ]
    collect(shop, pings, origin, now_ms())
    part = get(alice, f"/p/{shop.key}/now/").content.decode()
    assert "<strong>3</strong> now" in part
    assert 'title="3 open, 2 active, 1 engaged"' in part
    assert "<html" not in part
    assert "<strong>3</strong> now" in get(alice, f"/p/{shop.key}/").content.decode()


def test_without_the_live_set_the_page_still_shows_history(
    alice: Any, busy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tracking import live, store

    def unavailable(*_: Any) -> None:
        raise store.Unavailable("stopped")

    monkeypatch.setattr(live, "shown", unavailable)
    page = get(alice, f"/p/{busy.key}/?range={MARCH}").content.decode()
    assert "<strong>-</strong> now" in page
    assert tiles_of(page)["visitors"].startswith("Visitors: 21")


# -- few questions -----------------------------------------------------------------------------


def queries_of(user: Any, path: str) -> int:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    client = signed_in_as(user)
    client.get(path)
    with CaptureQueriesContext(connection) as captured:
        assert client.get(path).status_code == 200
    return len(captured)


def test_the_number_of_queries_does_not_grow_with_rows(alice: Any, acme: Any) -> None:
    few, many = (new_property(acme) for _ in range(2))
    fill(few, history(days=1))
    fill(many, history(days=28, pages=60))
    for tail in ("", "pages/", "speed/", "table/page/"):
        counts = [queries_of(alice, f"/p/{p.key}/{tail}?range={MARCH}") for p in (few, many)]
        assert counts[0] == counts[1]
        assert counts[1] <= 45, "each card is one question, and so are tiles and curve together"


def round_trips_of(user: Any, path: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Statements to Postgres of every kind, and messages to both Valkeys."""
    import psycopg
    from redis.connection import AbstractConnection

    client = signed_in_as(user)
    client.get(path)
    counts = {"execute": 0, "send_packed_command": 0}

    def counted(owner: Any, name: str) -> None:
        plain = getattr(owner, name)

        def method(*args: Any, **kwargs: Any) -> Any:
            counts[name] += 1
            return plain(*args, **kwargs)

        monkeypatch.setattr(owner, name, method)

    counted(psycopg.Cursor, "execute")
    counted(AbstractConnection, "send_packed_command")
    assert client.get(path).status_code == 200
    monkeypatch.undo()
    return counts["execute"], counts["send_packed_command"]


@pytest.mark.parametrize(
    ("tail", "statements"), [("", 45), ("pages/", 42), ("sources/", 34), ("audience/", 41)]
)
def test_a_page_takes_few_round_trips(
    alice: Any, busy: Any, tail: str, statements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to when it is complete is asked once, and so are the totals that its cards share."""
    asked, sent = round_trips_of(alice, f"/p/{busy.key}/{tail}?range={MARCH}", monkeypatch)
    assert asked <= statements
    assert sent <= 6


# -- words -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (None, "count", "-"),
        (0, "count", "0"),
        (9_999, "count", "9,999"),
        (10_000, "count", "10.0k"),
        (12_345, "count", "12.3k"),
        (99_949, "count", "99.9k"),
        (99_950, "count", "100k"),
        (142_500, "count", "142k"),
        (999_499, "count", "999k"),
        (999_500, "count", "1.00M"),
        (12_340_000, "count", "12.3M"),
        (3_200_000_000, "count", "3.20G"),
        (2.4444, "count", "2.4"),
        (0.0, "rate", "0 %"),
        (0.001, "rate", "<1 %"),
        (0.382, "rate", "38 %"),
        (0.999, "rate", ">99 %"),
        (1.0, "rate", "100 %"),
        (0, "duration_ms", "0s"),
        (59_600.0, "duration_ms", "1m 00s"),
        (72_400.0, "duration_ms", "1m 12s"),
        (3_599_600, "duration_ms", "1h 00m"),
        (7_500_000, "duration_ms", "2h 05m"),
    ],
)
def test_numbers_are_short(value: Any, unit: Any, shown: str) -> None:
    from reports.formatting import short

    assert short(value, unit) == shown


@pytest.mark.parametrize(
    ("now", "before", "unit", "more_is_better", "text", "way", "mood"),
    [
        (112, 100, "count", True, "+12 %", "up", "good"),
        (88, 100, "count", True, "−12 %", "down", "bad"),
        (1_000, 1_000, "count", True, "0 %", "same", "even"),
        (12_000, 100, "count", True, "120x", "up", "good"),
        (0.36, 0.38, "rate", False, "−2 pt", "down", "good"),
        (0.40, 0.38, "rate", False, "+2 pt", "up", "bad"),
        (0.0, 0.38, "rate", False, "−38 pt", "down", "good"),
    ],
)
def test_changes_say_how_much_and_whether_it_is_good(
    now: Any, before: Any, unit: Any, more_is_better: bool, text: str, way: str, mood: str
) -> None:
    from reports.formatting import Change, change

    assert change(now, before, unit, more_is_better) == Change(text, way, mood)


@pytest.mark.parametrize(("now", "before"), [(5, 0), (None, 5), (5, None), (0, 0)])
def test_no_percentage_leads_away_from_nothing(now: Any, before: Any) -> None:
    from reports.formatting import change

    assert change(now, before) is None


@pytest.mark.parametrize(
    ("asked_range", "name"),
    [
        ("28d", "Last 28 days"),
        ("13d", "Last 13 days"),
        ("24h", "Last 24 hours"),
        ("quarter", "This quarter"),
        ("2026-03-01", "1 Mar 2026"),
        ("2026-03-01..2026-03-31", "1 to 31 Mar 2026"),
        ("2026-02-27..2026-03-01", "27 Feb to 1 Mar 2026"),
        ("2025-12-28..2026-01-03", "28 Dec 2025 to 3 Jan 2026"),
        ("2026-03-01T10:00..2026-03-01T12:00", "1 Mar 2026 10:00 to 1 Mar 2026 12:00"),
    ],
)
def test_ranges_have_names(asked_range: str, name: str) -> None:
    from properties.periods import parse_range, zone
    from reports.formatting import range_name

    assert (
        range_name(parse_range(asked_range, zone("Europe/Berlin"), at("2026-04-15T10:00"))) == name
    )


def test_tabs_of_a_touch_stand_behind_a_word(alice: Any, busy: Any) -> None:
    def menus(page: str) -> list[str]:
        section = page[page.index('id="card-campaigns"') :]
        return re.findall(r'<summary id="tabs-campaigns-\d">([^<]*)<', section)

    path = f"/p/{busy.key}/sources/?range={MARCH}"
    page = get(alice, path).content.decode()
    assert menus(page) == ["First touch", "Last touch"]
    section = page[page.index('id="card-campaigns"') :]
    (chosen,) = re.findall(r'href="([^"]*)"\s*>Last-touch terms<', section)
    query = dict(parse_qsl(html.unescape(chosen)[1:]))
    assert query == {"range": MARCH, "campaigns": "last-terms"}
    page = get(alice, path + "&campaigns=last-terms").content.decode()
    assert menus(page) == ["First touch", "Last-touch terms"]
    # One table of a touch needs no menu.
    assert 'id="tabs-channels' not in page


# -- at a glance -------------------------------------------------------------------------------


def test_the_list_of_properties_shows_what_each_came_to(alice: Any, busy: Any, shop: Any) -> None:
    shown = get(alice, f"/p/{busy.key}/glance/?range={MARCH}").content.decode()
    visitors = asked(busy, MARCH, metrics=("visitors",)).totals["visitors"]
    assert f"<strong>{visitors}</strong> visitors" in shown
    assert "1 to 31 Mar 2026" in text_of(shown)
    (line,) = re.findall(r'<path d="M([^"]*)"', shown)
    days = asked(busy, MARCH, metrics=("visitors",), dimensions=("time:day",)).rows
    known = [row["visitors"] for row in days if row["visitors"] is not None]
    heights = [float(point.split()[1]) for point in line.split("L")]
    assert len(heights) == len(known)
    assert heights.index(min(heights)) == known.index(max(known))
    page = get(alice, f"/a/{busy.account.slug}/").content.decode()
    assert f'hx-get="/p/{busy.key}/glance/"' in page


@pytest.mark.parametrize(
    "wrong", ["range=nonsense", "from=2026-13-01", "metric=luck", "filter=x:y:z", "changes=2"]
)
def test_a_glance_answers_a_wrong_address_in_words(alice: Any, shop: Any, wrong: str) -> None:
    answer = get(alice, f"/p/{shop.key}/glance/?{wrong}", expected=400)
    assert answer["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.content


def test_a_glance_draws_nothing_where_nothing_is_known() -> None:
    from reports.curves import Point
    from reports.glances import EDGE, HEIGHT, WIDTH, lines

    def points(*values: float | None, is_open: bool = False) -> list[Any]:
        return [Point("", "", value, "", "", None, "", is_open, "") for value in values]

    assert lines([]) == []
    assert lines(points(None, None)) == []
    assert lines(points(0, 0)) == [[(EDGE, HEIGHT - EDGE), (WIDTH - EDGE, HEIGHT - EDGE)]]
    first, second = lines([*points(1, 2, None, 2, 4), *points(1, is_open=True)])
    assert (len(first), len(second)) == (2, 2)
    assert second[-1][1] == EDGE


def test_whoever_may_not_view_the_audience_gets_no_glance(acme: Any, shop: Any) -> None:
    from accounts.models import Membership
    from tests.people import grant, new_user

    dora = new_user("dora")
    grant(Membership.objects.create(account=acme, user=dora), "realtime:view", place=shop)
    fill(shop, history(days=1))
    assert "glance" not in get(dora, f"/a/{acme.slug}/").content.decode()
    get(dora, f"/p/{shop.key}/glance/", expected=403)
