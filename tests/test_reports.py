"""The reports of the catalogue: every page and table of it answers, its numbers are those of its
definitions, and what needs another module is left out for whoever may not view that."""

import csv
import html
import re
from datetime import timedelta
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest

from tests.history import Happening, at, roll_up, write
from tests.people import grant, new_account, new_property, new_user, signed_in_as

RANGE = "?range=2026-03-01..2026-03-31"
# What the address of a page uses for something else than tabs.
RESERVED = {
    "range",
    "interval",
    "metric",
    "filter",
    "compare",
    "align",
    "changes",
    "bots",
    "sort",
    "page",
    "from",
    "to",
}


def later(minutes: float, day: int = 2) -> Any:
    return at(f"2026-03-{day:02d}T09:00") + timedelta(minutes=minutes)


VITALS = [1200, 2000, 3000, 9000]  # the third of four is the 75th percentile
HISTORY = [
    # Reads /a to its half, then its end, goes on to /b and leaves there.
    Happening(later(0), 1, page="/a", texts={"country": "DE"}, load_ms=180),
    Happening(later(1), 1, "engagement", "/a", engaged_ms=20_000, scroll=50),
    Happening(later(2), 1, page="/b", props={"search": "red shoes"}),
    Happening(later(3), 1, "engagement", "/b", engaged_ms=4_000, scroll=100),
    Happening(later(4), 1, "outbound", "/b", props={"url": "https://elsewhere.example/x"}),
    # Bounces on /a; another day on /b, and misses a page.
    Happening(later(10), 2, page="/a", texts={"country": "FR"}),
    Happening(later(11), 2, "engagement", "/a", engaged_ms=1_000, scroll=20),
    Happening(later(0, 5), 2, page="/b", texts={"referrer": "blog.example"}),
    Happening(later(1, 5), 2, "not_found", "/missing", texts={"referrer": "blog.example"}),
    Happening(later(2, 5), 2, "download", "/b", props={"url": "/files/list.pdf"}),
    *(
        Happening(later(20 + n), 3, "web_vitals", "/a", props={"lcp": lcp, "cls": 0.3})
        for n, lcp in enumerate(VITALS)
    ),
    Happening(later(30), -1, page="/a", bot=True, texts={"browser": "Googlebot"}),
]


@pytest.fixture(scope="module")
def world(django_db_blocker: Any, django_db_setup: Any) -> Any:
    from properties.models import Goal
    from tracking.models import Ledger

    with django_db_blocker.unblock():
        owner = new_user("owner")
        place = new_property(new_account(owner), timezone="UTC")
        # Without a goal no table speaks of conversions.
        Goal.objects.create(account=place.account, property=place, name="Left", event="outbound")
        write(place, HISTORY)
        roll_up(place, HISTORY)
        refused = {"hostname": 6, "dnt": 2}
        Ledger.objects.using("worker").create(
            account_id=place.account_id, property_id=place.pk, hour=later(0),
            accepted=13, bots=1, duplicate=3, refused=refused,
        )  # fmt: skip
        yield SimpleNamespace(place=place, owner=owner)


def get(user: Any, place: Any, tail: str, expected: int = 200) -> str:
    response = signed_in_as(user).get(f"/p/{place.key}/{tail}")
    body = b"".join(response.streaming_content) if response.streaming else response.content
    assert response.status_code == expected, (tail, body[:300])
    return body.decode()


def rows(user: Any, place: Any, tail: str) -> dict[str, dict[str, str]]:
    """The CSV of a table, by the value of its dimension."""
    read = csv.DictReader(StringIO(get(user, place, tail)))
    dimension = (read.fieldnames or [""])[0]
    return {row[dimension]: row for row in read}


def test_the_catalogue_is_well_formed() -> None:
    from properties.capture import NAMES
    from reports.catalogue import OVERVIEW, REPORTS
    from reports.metrics import METRICS
    from reports.parts import SHARE, asked

    for report in (OVERVIEW, *REPORTS.values()):
        tables = [table for card in report.cards for table in card.tables]
        names = [card.name for card in report.cards]
        assert len(names) == len(set(names)), report.name
        assert not RESERVED & set(names), report.name
        assert len(tables) == len(report.tables), f"{report.name}: two tables of one name"
        assert set(report.tiles) <= set(METRICS)
        assert set(report.switches) <= set(NAMES)
        for table in tables:
            assert table.columns[0] != SHARE
            assert set(asked(table.columns)) <= set(METRICS)
            assert all(all(table.words_of(column)) for column in table.columns)
    assert not set(REPORTS) & {"table", "now", "live", "settings", "snippet", "inspector"}


def test_every_page_and_file_answers_and_says_what_it_means(world: Any) -> None:
    from reports.catalogue import REPORTS

    for report in REPORTS.values():
        page = html.unescape(get(world.owner, world.place, f"{report.name}/{RANGE}"))
        assert report.question in page
        for name in report.tiles:
            assert report.words_of(name)[1] in page
        for name, table in report.tables.items():
            found = html.unescape(get(world.owner, world.place, f"{report.name}/{name}/{RANGE}"))
            for column in () if 'class="nothing"' in found else table.columns:
                label, definition = table.words_of(column)
                assert f'aria-label="What does {label} mean?"' in found
                assert definition in found
            head = get(world.owner, world.place, f"{report.name}/{name}.csv{RANGE}").splitlines()[0]
            assert head.split(",")[0] == table.dimension
    # Every one of them is a page that can be gone to from any other.
    assert {f"/p/{world.place.key}/{name}/" for name in REPORTS} <= set(
        re.findall(r'href="([^"]*)"', page)
    )


def test_pages_tell_reading_entries_and_exits(world: Any) -> None:
    found = rows(world.owner, world.place, f"pages/pages.csv{RANGE}")
    a, b = found["/a"], found["/b"]
    assert [a[n] for n in ("pageviews", "entries", "entry_bounce_rate", "exits")] == [
        "2", "2", "0.5", "1",
    ]  # fmt: skip
    assert [b[n] for n in ("pageviews", "entries", "entry_bounce_rate", "exits", "exit_rate")] == [
        "2", "1", "0.0", "2", "1.0",
    ]  # fmt: skip
    assert float(a["time_on_page"]) == 10_500
    assert [float(row["scroll_depth"]) for row in (a, b)] == [0.35, 1.0]
    reached = rows(world.owner, world.place, f"pages/scroll.csv{RANGE}")["/a"]
    assert [reached[f"scroll_{depth}"] for depth in (25, 50, 75, 100)] == [
        "0.5", "0.5", "0.0", "0.0",
    ]  # fmt: skip


def test_what_a_page_did_not_tell_is_nothing_and_not_zero(world: Any) -> None:
    path = f"pages/pages.csv{RANGE}&filter=country:is:IT"
    assert rows(world.owner, world.place, path) == {}
    page = get(world.owner, world.place, f"pages/{RANGE}&filter=page:is:/missing")
    tile = page[page.index('id="tile-scroll_depth"') :].split("</a>")[0]
    assert '<span class="tile-number">-</span>' in tile


def test_speed_is_judged_in_words(world: Any) -> None:
    page = get(world.owner, world.place, f"speed/{RANGE}")
    block = page[page.index('class="card flush vitals"') :].split("</section>")[0]
    parts = [part for part in block.split("</li>") if "rating" in part]
    found = [re.findall(r'title="([^"]*)"|rating [\w-]*">([^<]*)<', part) for part in parts]
    assert found == [
        [("3,000 ms", ""), ("", "needs work")],
        [("0.3000", ""), ("", "poor")],
    ]
    assert "good up to 2.5 s, poor over 4 s" in block
    by_page = rows(world.owner, world.place, f"speed/pages-median.csv{RANGE}")
    assert by_page["/a"]["lcp_p50"] == "2000"
    assert by_page["/a"]["inp_p50"] == ""  # not measured
    by_country = rows(world.owner, world.place, f"speed/countries.csv{RANGE}")
    assert (by_country[""]["vitals"], by_country["DE"]["load_ms_p75"]) == ("4", "180")


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("lcp", 2_500, "good"),
        ("lcp", 2_501, "needs work"),
        ("lcp", 4_001, "poor"),
        ("cls", 0.1, "good"),
        ("cls", 0.26, "poor"),
        ("inp", None, ""),
    ],
)
def test_limits_belong_to_the_better_side(name: str, value: float | None, wanted: str) -> None:
    from reports.speed import rating

    assert rating(name, value) == wanted


def test_events_of_one_kind_have_pages_of_their_own(world: Any) -> None:
    for path, name, number in [
        ("links/outbound.csv", "https://elsewhere.example/x", "1"),
        ("links/outbound-pages.csv", "/b", "1"),
        ("links/downloads.csv", "/files/list.pdf", "1"),
        ("not-found/pages.csv", "/missing", "1"),
        ("not-found/referrers.csv", "blog.example", "1"),
        ("search/terms.csv", "red shoes", "1"),
        ("search/pages.csv", "/b", "1"),
    ]:
        found = rows(world.owner, world.place, path + RANGE)
        assert {key: row["events"] for key, row in found.items()} == {name: number}, path


def test_bots_and_refusals_stand_apart(world: Any) -> None:
    found = rows(world.owner, world.place, f"bots/crawlers.csv{RANGE}")
    assert {name: row["events"] for name, row in found.items()} == {"Googlebot": "1"}
    page = get(world.owner, world.place, f"bots/{RANGE}")
    refused = page[page.index('id="refused"') :].split("</section>")[0]
    assert re.findall(r"<code>(\w+)</code>", refused) == ["hostname", "dnt"]
    assert "Add the page&#x27;s host to the property&#x27;s settings" in refused
    received = page[page.index('id="received"') :].split("</section>")[0]
    assert re.findall(r'title="([\d,]+)"', received) == ["13", "1", "3", "8"]
    assert "hostname 6, dnt 2" in received
    assert "Nothing was refused" in get(
        world.owner, world.place, "bots/?range=2026-04-01..2026-04-02"
    )


def test_a_report_says_what_the_property_does_not_capture(world: Any) -> None:
    page = get(world.owner, world.place, f"search/{RANGE}")
    assert "Not captured by this property: site search" in page
    assert f"/p/{world.place.key}/settings/tracking/" in page
    assert "Not captured" not in get(world.owner, world.place, f"links/{RANGE}")


def test_a_card_is_sorted_in_its_place(world: Any) -> None:
    page = get(world.owner, world.place, f"pages/{RANGE}&pages-sort=exits")
    card = page[page.index('id="card-pages"') :].split("</section>")[0]
    assert re.findall(r'class="row-link".*?<bdi>(.*?)</bdi>', card)[:2] == ["/missing", "/a"]
    head = card[: card.index("</thead>")]
    assert re.findall(r'aria-sort="(\w+)"', head) == ["ascending"]
    assert "pages-sort=-exits" in head  # the other way round
    other = html.unescape(card)
    assert "pages=scroll" in other
    assert "pages-sort=exits&pages=scroll" not in other  # another table has an order of its own


def test_what_needs_another_module_is_left_out(world: Any) -> None:
    """With content alone: speed by page, not by country, and no number of all visitors."""
    from accounts.models import Membership

    reader = new_user("reader")
    membership = Membership.objects.create(account=world.place.account, user=reader, role="viewer")
    grant(membership, "content:view", place=world.place)
    page = get(reader, world.place, f"speed/{RANGE}")
    assert re.findall(r'id="card-([\w-]+)"', page) == ["pages"]
    get(reader, world.place, f"speed/pages/{RANGE}")
    for tail in ("speed/countries/", "speed/countries.csv", "bots/", "links/outbound.csv"):
        get(reader, world.place, tail, 403)
    page = get(reader, world.place, f"pages/{RANGE}")
    assert re.findall(r'id="tile-(\w+)"', page) == ["time_on_page", "scroll_depth"]


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("https://a.example/?q=Red++Shoes", "red shoes"),
        ("https://a.example/?S=x&query=y", "x"),
        ("https://a.example/?q=&keyword=%C3%A9t%C3%A9", "été"),
        ("https://a.example/?q=first&q=second", "first"),
        ("https://a.example/?utm_source=q", ""),
        ("https://a.example/search/red", ""),
        ("https://a.example/?q=somebody%40example.com", ""),
        ("https://a.example/?q=somebody%2540example.com", ""),
        ("https://a.example/?q=" + "x" * 90 + "+somebody%40example.com", ""),
        ("https://a.example/?q=4111111111111111", "************1111"),
        ("https://a.example/?q=" + "x" * 200, "x" * 100),
        ("https://a.example/?q=a%00b%ff", "a\ufffdb\ufffd"),
        ("https://[a.example/?q=x", ""),
    ],
)
def test_a_term_is_read_from_the_address(url: str, wanted: str) -> None:
    from properties.capture import SEARCH_PARAMETERS
    from tracking.searches import term

    assert term(url, SEARCH_PARAMETERS) == wanted


def test_terms_are_kept_where_it_is_switched_on() -> None:
    from tests.test_intake import judged

    payload = {"name": "pageview", "url": "https://shop.example/?q=Tea&x=1"}
    own = payload | {"props": {"search": "mine", "n": 1}}
    assert judged(payload).props is None
    for sent, wanted in [
        (payload, b'{"search":"tea"}'),
        (own, b'{"search":"mine","n":1}'),
        (payload | {"name": "signup"}, None),
    ]:
        assert judged(sent, capture=("site_search",)).props == wanted


def test_terms_are_read_from_the_parameters_that_the_property_names() -> None:
    from tests.test_intake import judged

    url = "https://shop.example/?q=Tea&find=Red+Shoes&suche=x&suche=y&wort="
    for names, wanted in [
        (("find", "q"), b'{"search":"red shoes"}'),
        (("wort", "suche"), b'{"search":"x"}'),
        (("s",), None),
    ]:
        found = judged(
            {"name": "pageview", "url": url}, capture=("site_search",), search_parameters=names
        )
        assert found.props == wanted
