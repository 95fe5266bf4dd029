"""Sources and audience: attribution, conversions, the map, and with what a page compares."""

import csv
import html
import re
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest

from tests.history import Happening, at, roll_up, write
from tests.test_report_page import curve_of, get, links, rows_of, text_of, tiles_of

MARCH = "2026-03-01..2026-03-31"
NOON = at("2026-03-10T12:00")


@pytest.fixture
def visited(shop: Any) -> Any:
    """Three visitors: one of them came by a newsletter first, and signed up when she was back."""
    history = [
        Happening(NOON - timedelta(days=3), 1, source="news", channel="Email"),
        Happening(NOON, 1, source="Direct", texts={"country": "DE"}),
        Happening(NOON + timedelta(minutes=1), 1, "signup", source="Direct"),
        Happening(
            NOON,
            2,
            source="Google",
            channel="Organic Search",
            texts={"country": "DE", "campaign": "spring"},
        ),
        Happening(NOON, 3, source="Direct", texts={"country": "SG"}),
        Happening(NOON - timedelta(days=400), 9, source="Direct"),
        Happening(NOON - timedelta(days=358), 9, source="Direct"),
    ]
    write(shop, history)
    roll_up(shop, history)
    return shop


def add_goal(place: Any) -> None:
    from properties.models import Goal

    Goal.objects.create(
        account=place.account, property=place, name="Sign-up", kind="event", event="signup"
    )


def map_of(page: str) -> dict[str, tuple[str, str]]:
    """code -> what its link says, and its shade."""
    found = re.findall(
        r'<a href="([^"]*)" aria-label="([^"]*)">.*?class="shade-(\d)" href="[^"]*#(..)"', page
    )
    return {code: (html.unescape(text), shade) for _, text, shade, code in found}


# -- sources -----------------------------------------------------------------------------------


def test_sessions_are_shown_by_first_and_last_touch(alice: Any, visited: Any) -> None:
    def sources(tab: str) -> dict[str, str]:
        page = get(alice, f"/p/{visited.key}/sources/?range={MARCH}&sources={tab}")
        return {row[0]: row[2] for row in rows_of(page.content.decode(), "sources")}

    assert sources("sources") == {"Direct": "2", "Google": "1", "news": "1"}
    assert sources("first-sources") == {"news": "2", "Direct": "1", "Google": "1"}
    assert sources("last-sources") == {"news": "2", "Direct": "1", "Google": "1"}


def test_campaigns_are_shown_with_their_sources(alice: Any, visited: Any) -> None:
    path = f"/p/{visited.key}/sources/campaign-sources.csv?range={MARCH}"
    (row,) = csv.DictReader(StringIO(get(alice, path).getvalue().decode()))
    assert (row["campaign"], row["source"], row["sessions"]) == ("spring", "Google", "1")
    page = get(alice, f"/p/{visited.key}/sources/?range={MARCH}&campaigns=campaign-sources")
    assert rows_of(page.content.decode(), "campaigns")[0][:2] == ("spring", "Google")


def test_conversions_stand_where_there_is_a_goal_and_a_right(
    alice: Any, bob: Any, visited: Any
) -> None:
    path = f"/p/{visited.key}/sources/?range={MARCH}"
    assert "Conversion" not in get(alice, path).content.decode()
    add_goal(visited)
    page = get(alice, path + "&sources=first-sources").content.decode()
    assert tiles_of(page)["conversion_rate"].startswith("Conversion rate: 25.0 %")
    assert {row[0]: row[-2:] for row in rows_of(page, "sources")}["news"] == ("1", "50 %")
    assert "Conversion" not in get(bob, path).content.decode()  # no right to view events
    file = f"/p/{visited.key}/sources/channels.csv?range={MARCH}&sort=-conversion_rate"
    rows = list(csv.DictReader(StringIO(get(alice, file).getvalue().decode())))
    assert (rows[0]["channel"], rows[0]["conversion_rate"]) == ("Direct", "0.5")
    get(bob, file, 400)
    assert "Sign-up" in get(alice, f"/p/{visited.key}/?range={MARCH}&events=goal").content.decode()


def test_a_goal_has_a_table_and_filters(alice: Any, visited: Any) -> None:
    add_goal(visited)
    page = get(alice, f"/p/{visited.key}/table/goal/?range={MARCH}").content.decode()
    (query,) = {each for each in links(page) if "filter=goal" in each}
    filtered = get(alice, f"/p/{visited.key}/{query}").content.decode()
    assert tiles_of(filtered)["sessions"].startswith("Sessions: 1")
    gone = get(alice, f"/p/{visited.key}/?filter=goal:is:Gone", 400).content.decode()
    assert "There is no goal &#x27;Gone&#x27;" in gone


# -- the audience ------------------------------------------------------------------------------


def test_the_map_says_what_the_table_says_and_filters(alice: Any, visited: Any) -> None:
    page = get(alice, f"/p/{visited.key}/audience/?range={MARCH}").content.decode()
    countries = {row[0]: row[1] for row in rows_of(page, "countries")}
    assert countries == {"Germany": "2", "Singapore": "1", "Unknown": "1"}
    assert map_of(page) == {
        "DE": ("Germany: 2 visitors (67 %)", "5"),
        "SG": ("Singapore: 1 visitor (33 %)", "5"),
    }
    assert "Not on the map: Unknown: 1" in text_of(page)
    assert f"?range={MARCH}&filter=country:is:DE" in set(links(page))
    assert {row[0] for row in rows_of(page, "visits")} == {"New", "Returning"}
    nobody = get(alice, f"/p/{visited.key}/audience/?range=2024-01-01").content.decode()
    assert map_of(nobody) == {}
    assert "none in this range" in nobody


def test_shades_are_of_the_most_visited_country() -> None:
    from reports.worldmap import Shade, legend, shade_of

    assert [shade_of(n, 1000) for n in (1000, 500, 499, 200, 80, 79, 20, 19, 1)] == [
        5, 5, 4, 4, 3, 2, 2, 1, 1,
    ]  # fmt: skip
    assert legend(1000) == [
        Shade(1, "from 1"), Shade(2, "from 20"), Shade(3, "from 80"), Shade(4, "from 200"),
        Shade(5, "from 500"),
    ]  # fmt: skip
    for most in range(1, 60):  # every shade that is used has a line, which says so rightly
        edges = {line.shade: int(line.text.removeprefix("from ")) for line in legend(most)}
        for number in range(1, most + 1):
            reached = [shade for shade, first in edges.items() if first <= number]
            assert max(reached) == shade_of(number, most)
    assert legend(0) == []


def test_the_map_knows_the_countries_of_the_product() -> None:
    from reports.worldmap import shapes_of_file
    from tracking.places import country_names

    box, codes = shapes_of_file()
    assert re.fullmatch(r"0 0 960 \d+", box)
    assert codes - {"XK"} <= set(country_names())
    assert {"DE", "SG", "XK", "CY", "FJ", "RU", "US"} <= codes and len(codes) > 200


# -- ranges and comparisons ---------------------------------------------------------------------


def test_every_usual_range_opens(alice: Any, visited: Any) -> None:
    from reports.formatting import RANGES

    offered = get(alice, f"/p/{visited.key}/").content.decode()
    for word, name in RANGES.items():
        page = get(alice, f"/p/{visited.key}/?range={word}").content.decode()
        assert f'title="{name}"' in page
        assert word == "28d" or f"?range={word}" in set(links(offered))
    minutes = get(alice, f"/p/{visited.key}/?range=30m").content.decode()
    assert len(curve_of(minutes)["ticks"]) == 30


def test_a_year_before_is_compared_by_date_and_by_weekday(alice: Any, visited: Any) -> None:
    path = f"/p/{visited.key}/?range=2026-03-10..2026-03-16"
    page = get(alice, path).content.decode()
    assert re.findall(r"vs [^<\n]*", page)[1:] == [  # the chosen one stands in the button, too
        "vs previous", "vs year before", "vs year before, same weekdays",
    ]  # fmt: skip
    by_date = get(alice, path + "&compare=year").content.decode()
    assert tiles_of(by_date)["visitors"] == "Visitors: 3, 0 in the year before"
    by_weekday = get(alice, path + "&compare=year&align=weekday").content.decode()
    assert tiles_of(by_weekday)["visitors"] == "Visitors: 3, 1 in the year before"
    assert "&compare=year&align=weekday&metric=sessions" in html.unescape(by_weekday)
    assert '<th scope="col" class="number">Year before</th>' in by_weekday
    assert "Unknown alignment" in get(alice, path + "&align=moon", 400).content.decode()
