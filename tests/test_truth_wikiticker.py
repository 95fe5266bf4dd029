"""A day of edits of an encyclopedia, sent as custom events: the figures that others counted.

39,244 real events go through the collector's door with an API key, as an integrator would send
them, and come back by the query API, the seed's counters, the page and its CSV file.
"""

import csv
import gzip
import json
import uuid
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from tests.people import new_account, new_key, new_property, new_user, signed_in_as, with_key
from tests.test_collector import post

DAY = {"from": "2015-09-12", "to": "2015-09-12"}
# Not sent: the text of the comment, which has no figure.
PROPS = (
    "channel", "cityName", "countryIsoCode", "countryName", "isAnonymous", "isMinor", "isNew",
    "isRobot", "isUnpatrolled", "metroCode", "namespace", "page", "regionIsoCode", "regionName",
    "user", "delta", "added", "deleted",
)  # fmt: skip


class Ticker:
    """The edits in a property of its own, sent, drained, rolled up and packed."""

    def __init__(self, folder: Path, web: str) -> None:
        from reports import packing, rollups
        from tracking.drain import drain_property

        self.truth = json.loads((folder / "ground_truth.json").read_text())
        self.owner = new_user("owner")
        self.account = new_account(self.owner)
        self.place = new_property(self.account, timezone="UTC", retention_days=10_000)
        _, self.secret = new_key(
            self.account, "events:manage", "events:view", "audience:view", "content:view"
        )
        [file] = folder.glob("*.json.gz")
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            events = [self._event(json.loads(line)) for line in lines]
        for start in range(0, len(events), 1_000):
            batch = {"property": self.place.key, "events": events[start : start + 1_000]}
            answer = post(web, batch, authorization=f"Bearer {self.secret}")
            assert answer.status == 202, answer.body
            assert answer.json["rejected"] == []
        drain_property(self.place)
        now = datetime.now(UTC)
        rollups.roll_up_property(self.place, now)
        assert packing.pack_all(now, self.place) == 1

    @staticmethod
    def _event(edit: dict[str, Any]) -> dict[str, Any]:
        return {
            "name": "edit",
            "event_id": str(uuid.uuid4()),
            "visitor": str(uuid.uuid5(uuid.NAMESPACE_URL, edit["user"])),
            "time": edit["time"],
            "props": {name: edit[name] for name in PROPS if edit[name] is not None},
        }

    def ask(self, *metrics: str, **body: Any) -> dict[str, Any]:
        """The API's answer."""
        question = {"metrics": metrics, "range": DAY, "limit": 10_000} | body
        reply = with_key(self.secret).post(
            f"/api/v1/properties/{self.place.key}/query", question, content_type="application/json"
        )
        assert reply.status_code == 200, reply.content
        found: dict[str, Any] = reply.json()
        return found

    def by(self, name: str, *filters: Any) -> dict[str, int]:
        """Events by a property of theirs."""
        found = self.ask("events", dimensions=[f"props:{name}"], **_filtered(*filters))
        assert found["meta"]["route"] == "columns"
        return {row[f"props:{name}"]: row["events"] for row in found["rows"]}

    def total(self, metric: str, *filters: Any) -> Any:
        return self.ask(metric, **_filtered(*filters))["totals"][metric]

    def counters(self, *parts: Any) -> list[int]:
        """The seed's counters."""
        path = "/".join(map(str, (self.account.slug, *parts)))
        reply = with_key(self.secret).get(f"/api/stats/track/{path}")
        assert reply.status_code == 200, reply.content
        return list(reply.json()["data"].values())


def _filtered(*filters: Any) -> dict[str, Any]:
    return {"filters": ["and", *filters]} if filters else {}


def has(name: str, *values: str) -> list[Any]:
    return ["is", f"props:{name}", list(values)]


@pytest.fixture(scope="module")
def ticker(testdata: Path, web_server: str) -> Ticker:
    return Ticker(testdata / "wikiticker_2015", web_server)


def test_all_events_and_users(ticker: Ticker) -> None:
    known = ticker.truth
    found = ticker.ask("events", "visitors", "new_visitors", "pageviews")["totals"]
    assert found["events"] == known["rows"] == known["published_from_memory_druid_tutorial"]["rows"]
    assert found["visitors"] == found["new_visitors"] == known["users"]
    assert found["pageviews"] == 0


def test_hours(ticker: Ticker) -> None:
    for dimension in ("time:hour", "time:hour_of_day"):
        rows = ticker.ask("events", "visitors", dimensions=[dimension])["rows"]
        assert [row["events"] for row in rows] == list(ticker.truth["rows_per_hour_utc"].values())
        visitors = [row["visitors"] for row in rows]
        assert visitors == list(ticker.truth["users_per_hour_utc"].values())


@pytest.mark.parametrize(
    ("figure", "name"),
    [
        ("robots", "isRobot"),
        ("anonymous", "isAnonymous"),
        ("new_pages", "isNew"),
        ("minor", "isMinor"),
    ],
)
def test_flags(ticker: Ticker, figure: str, name: str) -> None:
    known, rows = ticker.truth[figure], ticker.truth["rows"]
    assert ticker.by(name) == {"true": known, "false": rows - known}
    assert ticker.total("events", has(name, "true")) == known
    assert ticker.total("events", ["not", has(name, "false")]) == known


@pytest.mark.parametrize(
    ("figure", "name"),
    [
        ("top10_pages", "page"),
        ("top10_channels", "channel"),
        ("top10_countries", "countryName"),
        ("top10_users", "user"),
    ],
)
def test_the_ten_most_frequent(ticker: Ticker, figure: str, name: str) -> None:
    known, found = dict(ticker.truth[figure]), ticker.by(name)
    assert {value: found[value] for value in known} == known
    assert sorted(found.values())[-10:] == sorted(known.values())


def test_without_robots(ticker: Ticker) -> None:
    no_robots = has("isRobot", "false")
    known, found = dict(ticker.truth["top10_pages_no_robots"]), ticker.by("page", no_robots)
    assert {page: found[page] for page in known} == known
    assert sorted(found.values())[-10:] == sorted(known.values())
    assert ticker.total("visitors", no_robots) == ticker.truth["users_no_robots"]


def test_how_many_values_there_are(ticker: Ticker) -> None:
    assert len(ticker.by("channel")) == ticker.truth["channels"]
    countries = ticker.by("countryName")
    assert len(countries) == ticker.truth["countries_known"]
    assert sum(countries.values()) == ticker.truth["rows_with_country"]
    # There are more users and pages than rows of an answer: they are asked for in parts.
    anonymous, known = (ticker.by("user", has("isAnonymous", flag)) for flag in ("true", "false"))
    assert len(anonymous) + len(known) == ticker.truth["users"]
    pages: set[str] = set()
    for channels in in_parts(ticker.by("channel"), most=10_000):
        pages.update(ticker.by("page", has("channel", *channels)))
    assert len(pages) == ticker.truth["pages"]


def in_parts(counted: dict[str, int], most: int) -> list[list[str]]:
    """The values in groups of no more events, or of a single value."""
    parts: list[list[str]] = []
    room = 0
    for value, count in counted.items():
        if count > room:
            parts.append([])
            room = most
        parts[-1].append(value)
        room -= count
    return parts


@pytest.mark.parametrize("name", ["added", "deleted", "delta"])
def test_sums(ticker: Ticker, name: str) -> None:
    found = sum(int(value) * events for value, events in ticker.by(name).items())
    assert found == ticker.truth[f"sum_{name}"]


def test_page_api_csv_and_counters_agree(ticker: Ticker) -> None:
    """One number, wherever it is shown."""
    from reports.formatting import exact

    asked = ticker.ask("events", "visitors", dimensions=["event"])
    [row] = asked["rows"]
    assert row == {"event": "edit"} | asked["totals"]
    assert asked["totals"] == {
        name: ticker.truth[figure] for name, figure in (("events", "rows"), ("visitors", "users"))
    }
    browser = signed_in_as(ticker.owner)
    query = "range=2015-09-12..2015-09-12"
    page = browser.get(f"/p/{ticker.place.key}/?{query}").content.decode()
    assert f"Visitors: {exact(row['visitors'])}" in page
    table = browser.get(f"/p/{ticker.place.key}/table/event/?{query}").content.decode()
    assert f"Events: {exact(row['events'])}" in table
    file = browser.get(f"/p/{ticker.place.key}/table/event.csv?{query}").getvalue().decode()
    [line] = csv.DictReader(StringIO(file))
    assert {name: int(line[name]) for name in ("events", "visitors")} == asked["totals"]
    hours = ticker.ask("events", "visitors", dimensions=["time:hour"])["rows"]
    assert ticker.counters("edit", 2015, 9, 12) == [hour["events"] for hour in hours]
    assert ticker.counters("unique", 2015, 9, 12) == [hour["visitors"] for hour in hours]
    assert ticker.counters("edit", 2015)[8] == ticker.counters("edit", 2015, 9)[11]
    assert ticker.counters("edit", 2015, 9)[11] == row["events"]
    assert ticker.counters("unique", 2015)[8] == row["visitors"]
    minutes = ticker.counters("edit", 2015, 9, 12, 17)
    assert sum(minutes) == hours[17]["events"]
