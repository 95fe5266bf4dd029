"""Whether a run was right: what was acknowledged is there once, and every number agrees.

Enters: the clients' journals, and the product after its last drain and rollup. Leaves: a Verdict.
The product is not asked what was sent, and the clients are not asked what is stored; numbers are
counted three times: from the journal, from the raw table and by the API.
"""

import json
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import psycopg

from tests.instruments.chaos.journal import Journal, Sent
from tests.instruments.chaos.product import Place, Product

GAP_MS = 30 * 60_000
METRICS = ("events", "pageviews", "visitors", "sessions")
Numbers = dict[str, int]


@dataclass
class Verdict:
    """Jepsen's set test, and what has to agree besides."""

    attempted: int
    acknowledged: int
    lost: int  # acknowledged and not stored
    recovered: int  # stored though never acknowledged: allowed
    unexpected: int  # stored and never sent
    doubled: int  # copies beyond the first
    faults: list[str] = field(default_factory=list)  # whatever else is wrong, in words

    @property
    def holds(self) -> bool:
        return not (self.lost or self.doubled or self.unexpected or self.faults)

    def rows(self) -> list[tuple[str, str]]:
        names = ("attempted", "acknowledged", "lost", "recovered", "unexpected", "doubled")
        return [(name, f"{getattr(self, name):,}") for name in names]


def judge(
    attempted: Collection[bytes], acknowledged: set[bytes], stored: Mapping[bytes, int]
) -> Verdict:
    """`stored`: how often each id stands in the table."""
    known = set(attempted)
    return Verdict(
        attempted=len(known),
        acknowledged=len(acknowledged),
        lost=len(acknowledged - stored.keys()),
        recovered=len((stored.keys() & known) - acknowledged),
        unexpected=len(stored.keys() - known),
        doubled=sum(count - 1 for count in stored.values()),
    )


def check(product: Product, journal: Journal) -> Verdict:
    """Drain, roll up, and judge everything that is in the product's Postgres then."""
    *_, told = product.manage(("drain",), ("roll_up",), ("reconcile",))
    stored, raw = read_events(product)
    verdict = judge(journal.attempted, journal.acknowledged, stored)
    if journal.refused:
        verdict.faults.append(f"{len(journal.refused):,} events of ours were refused")
    verdict.faults += ledger_faults(product, told)
    expected = {place.number: expected_of(number, place, journal, stored)
                for number, place in enumerate(product.places)}  # fmt: skip
    for place in product.places:
        verdict.faults += differences(place, "raw events", raw[place.number],
                                      expected[place.number], leave_out="sessions")  # fmt: skip
        told = ask(product, place, list(expected[place.number]))
        verdict.faults += differences(place, "the report", told, expected[place.number])
    return verdict


# -- what is stored --------------------------------------------------------------------------

EVENTS = "SELECT event_id, count(*) FROM events GROUP BY event_id"
DAYS = """
SELECT (time AT TIME ZONE %(zone)s)::date::text, count(*), count(*) FILTER (WHERE name =
    'pageview'), count(DISTINCT visitor) FROM events WHERE property_id = %(place)s GROUP BY 1
"""
TROUBLE = {
    "events in quarantine": "SELECT count(*) FROM quarantined",
    "conflicting payloads": "SELECT count(*) FROM conflicts",
    "dirty hours after the rollup": "SELECT count(*) FROM dirty_hours",
}


def read_events(product: Product) -> tuple[Counter[bytes], dict[int, dict[str, Numbers]]]:
    """Every id with its copies, and the numbers of every property by local day."""
    stored: Counter[bytes] = Counter()
    raw: dict[int, dict[str, Numbers]] = {}
    with psycopg.connect(product.postgres.urls["superuser"]) as to:
        with to.cursor("ids", binary=True) as cursor:
            cursor.itersize = 50_000
            for event_id, count in cursor.execute(EVENTS):
                stored[event_id.bytes] = count
        for place in product.places:
            rows = to.execute(DAYS, {"zone": place.zone, "place": place.number})
            raw[place.number] = {
                day: dict(zip(METRICS, numbers, strict=False)) for day, *numbers in rows
            }
    return stored, raw


def ledger_faults(product: Product, told: Mapping[str, Any]) -> list[str]:
    """`told`: what `reconcile` says."""
    found = []
    keys = {place.key for place in product.places}
    for balance in told["properties"]:
        wrong = {name: by for name, by in balance["differences"].items() if by}
        is_ours = balance["property"] in keys
        if wrong or balance["in_flight"] or (is_ours and balance["rolled_up"] is None):
            found.append(f"the ledger of {balance['property']} does not close: {wrong or balance}")
    if not told["adds_up"] and not found:
        found.append(f"the ledger does not close: {told}")
    with psycopg.connect(product.postgres.urls["superuser"]) as to:
        for what, asked in TROUBLE.items():
            row = to.execute(asked).fetchone()  # type: ignore[call-overload]
            if row[0] != product.expected_trouble.get(what, 0):
                found.append(f"{row[0]:,} {what}")
    return found


# -- what should be counted ------------------------------------------------------------------


def expected_of(
    number: int, place: Place, journal: Journal, stored: Mapping[bytes, int]
) -> dict[str, Numbers]:
    """Numbers by local day, from what the senders know of the events that are stored."""
    zone = ZoneInfo(place.zone)
    sent = [
        event
        for event_id, event in journal.attempted.items()
        if event.place == number and event_id in stored
    ]
    return count_by_day(sent, lambda ms: datetime.fromtimestamp(ms / 1000, zone).date().isoformat())


def count_by_day(sent: list[Sent], day_of: Callable[[int], str]) -> dict[str, Numbers]:
    days: dict[str, list[Sent]] = {}
    for event in sent:
        days.setdefault(day_of(event.time), []).append(event)
    starts = Counter(map(day_of, session_starts(sent)))
    return {
        day: {
            "events": len(events),
            "pageviews": sum(event.is_pageview for event in events),
            "visitors": len({event.visitor for event in events}),
            "sessions": starts[day],
        }
        for day, events in sorted(days.items())
    }


def session_starts(sent: list[Sent]) -> list[int]:
    """The first moment of every session, counted without the product."""
    times: dict[int, list[int]] = {}
    for event in sent:
        times.setdefault(event.visitor, []).append(event.time)
    starts = []
    for own in times.values():
        own.sort()
        starts.append(own[0])
        starts += [after for before, after in pairwise(own) if after - before > GAP_MS]
    return starts


def differences(
    place: Place,
    who: str,
    told: Mapping[str, Numbers],
    expected: Mapping[str, Numbers],
    leave_out: str = "",
) -> list[str]:
    found = []
    for day in sorted({*told, *expected}):
        for metric in METRICS:
            mine = expected.get(day, {}).get(metric, 0)
            theirs = told.get(day, {}).get(metric, 0)
            if mine != theirs and metric != leave_out:
                found.append(
                    f"{place.zone} {day}: {who} has {theirs:,} {metric}, {mine:,} are right"
                )
    return found


def ask(product: Product, place: Place, days: list[str]) -> dict[str, Numbers]:
    """What the API answers, day by day."""
    today = datetime.now(UTC).date().isoformat()
    body = {
        "metrics": METRICS,
        "dimensions": ["time:day"],
        "range": {"from": min(days, default=today), "to": max(days, default=today)},
    }
    request = urllib.request.Request(
        f"http://127.0.0.1:{product.web_port}/api/v1/properties/{place.key}/query",
        json.dumps(body).encode(),
        {"Authorization": f"Bearer {product.api_key}", "Content-Type": "application/json"},
    )
    rows: list[dict[str, Any]] = json.loads(answer_of(request))["rows"]
    return {row["time:day"][:10]: {name: row[name] for name in METRICS} for row in rows}


def answer_of(request: urllib.request.Request, seconds: float = 60) -> bytes:
    """The body; a 503 right after the faults is asked again, as Retry-After says."""
    until = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return response.read()
        except urllib.error.HTTPError as error:
            if error.code != 503 or time.monotonic() > until:
                raise
            time.sleep(1)
