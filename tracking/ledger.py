"""The ledger: every event that was received is accounted for, per property and hour of receipt.

received = accepted + duplicate + sum(refused);  accepted = stored + in flight + quarantined +
erased + expired. The columns `accepted` to `refused` are copied from Valkey, by setting and never
downwards; `stored`, `quarantined` and `late_duplicate` are counted by the drain in its own
transactions. The table's `stored` is what was ever stored, so what is shown as stored is less by
what was erased or has expired. Called by reports/tasks.py and by `manage.py reconcile`.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from properties.models import Property
from tracking import keys
from tracking.drain import AT_ONCE, READ, chunks, drain_property, stream_of
from tracking.store import events_client
from tracking.working import WORKER, lock, transaction_of_worker

HOUR = 3600
RECENT = 3  # hours that a tick copies
KEPT = 8 * 24  # hours that Valkey remembers
COLUMNS = {b"accepted": "accepted", b"duplicate": "duplicate", b"ping": "pings", b"bot": "bots"}


class Line(NamedTuple):
    """What Valkey counted for a property in an hour."""

    account_id: int
    property_id: int
    hour: int
    counts: dict[bytes, bytes]


# -- copying ---------------------------------------------------------------------------------

# Never downwards: Valkey may have lost its memory, or forgotten the hour.
COPY = """
INSERT INTO ledger (account_id, property_id, hour, accepted, duplicate, pings, bots, refused,
    stored, quarantined, late_duplicate, erased, expired)
SELECT account_id, property_id, to_timestamp(hour), accepted, duplicate, pings, bots, refused,
    0, 0, 0, 0, 0
FROM jsonb_to_recordset(%s::jsonb) AS line(
    account_id bigint, property_id bigint, hour bigint, accepted bigint, duplicate bigint,
    pings bigint, bots bigint, refused jsonb)
ORDER BY property_id, hour
ON CONFLICT (property_id, hour) DO UPDATE SET
    accepted = greatest(ledger.accepted, excluded.accepted),
    duplicate = greatest(ledger.duplicate, excluded.duplicate),
    pings = greatest(ledger.pings, excluded.pings),
    bots = greatest(ledger.bots, excluded.bots),
    refused = (
        SELECT coalesce(jsonb_object_agg(reason, number), '{}')
        FROM (
            SELECT key AS reason, max(value::bigint) AS number
            FROM (
                SELECT * FROM jsonb_each_text(ledger.refused)
                UNION ALL SELECT * FROM jsonb_each_text(excluded.refused)
            ) AS both_sides GROUP BY key
        ) AS greatest_of_both
    )
"""


def copy_recent(now: datetime) -> None:
    """Copy the last hours of every property and of what named no known one."""
    places = Property.objects.across_accounts().using(WORKER).values_list("account_id", "pk")
    numbers = [(0, 0), *places]
    for chunk in chunks(numbers, AT_ONCE):
        lines = read([*chunk], hours_until(now, RECENT))
        with transaction_of_worker() as cursor:
            write(cursor, lines)


def hours_until(now: datetime, count: int) -> list[int]:
    """The last `count` UTC hours, as epoch seconds of their starts."""
    current = int(now.timestamp()) // HOUR * HOUR
    return [current - back * HOUR for back in range(count)]


def read(places: Iterable[tuple[int, int]], hours: list[int]) -> list[Line]:
    """What Valkey counted for (account, property) pairs, in one round trip."""
    pipe = events_client().pipeline(transaction=False)
    asked = [(*place, hour) for place in places for hour in hours]
    for account_id, property_id, hour in asked:
        pipe.hgetall(keys.ledger(keys.prefix(account_id, property_id), hour))
    answers = pipe.execute()
    return [Line(*names, counts) for names, counts in zip(asked, answers, strict=True) if counts]


def write(cursor: Any, lines: list[Line]) -> None:
    """Set the columns that belong to Valkey."""
    if lines:
        cursor.execute(COPY, [orjson.dumps([_as_record(line) for line in lines]).decode()])


def _as_record(line: Line) -> dict[str, Any]:
    record: dict[str, Any] = dict.fromkeys(COLUMNS.values(), 0)
    refused = {}
    for name, number in line.counts.items():
        if name in COLUMNS:
            record[COLUMNS[name]] = int(number)
        elif name.startswith(b"r."):
            refused[name[2:].decode()] = int(number)
    names = {"account_id": line.account_id, "property_id": line.property_id, "hour": line.hour}
    return record | names | {"refused": refused}


# -- reconciling -----------------------------------------------------------------------------


@dataclass
class Balance:
    """A property's ledger over all its hours. Both differences are 0, or something is wrong."""

    key: str
    received: int = 0
    accepted: int = 0
    duplicate: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    pings: int = 0
    bots: int = 0
    stored: int = 0
    in_flight: int = 0
    quarantined: int = 0
    erased: int = 0
    expired: int = 0
    late_duplicate: int = 0
    raw_events: int = 0
    rolled_up: int | None = None  # events of people in the rollups; None: not comparable now
    raw_of_people: int = 0

    @property
    def difference(self) -> int:
        known = self.stored + self.in_flight + self.quarantined + self.erased + self.expired
        return self.accepted - known

    @property
    def differences(self) -> dict[str, int]:
        """Each is 0 when everything adds up."""
        found = {"ledger": self.difference, "raw": self.raw_events - self.stored}
        if self.rolled_up is not None:
            found["rollup"] = self.rolled_up - self.raw_of_people
        return found

    @property
    def adds_up(self) -> bool:
        return not any(self.differences.values())

    def as_json(self) -> dict[str, Any]:
        numbers = asdict(self)
        return (
            {"property": numbers.pop("key")}
            | numbers
            | {
                "difference": self.difference,
                "differences": self.differences,
                "adds_up": self.adds_up,
            }
        )


SUMS = """
SELECT coalesce(sum(accepted), 0)::bigint, coalesce(sum(duplicate), 0)::bigint,
    coalesce(sum(pings), 0)::bigint, coalesce(sum(bots), 0)::bigint,
    coalesce(sum(stored), 0)::bigint, coalesce(sum(quarantined), 0)::bigint,
    coalesce(sum(late_duplicate), 0)::bigint, coalesce(sum(erased), 0)::bigint,
    coalesce(sum(expired), 0)::bigint
FROM ledger WHERE property_id = %s
"""

REFUSED = """
SELECT key, sum(value::bigint)::bigint FROM ledger, jsonb_each_text(refused)
WHERE property_id = %s GROUP BY key ORDER BY key
"""

RAW = "SELECT count(*), count(*) FILTER (WHERE NOT bot) FROM events WHERE property_id = %s"

# Rollups outlive raw events, and lag behind them: compared only while neither is the case.
ROLLED_UP = """
SELECT coalesce(sum(number), 0)::bigint FROM rollups
WHERE property_id = %(property)s AND grain = 'd' AND dimension = '' AND measure = 'events'
HAVING NOT EXISTS (SELECT FROM dirty_hours WHERE property_id = %(property)s)
"""


def reconcile(place: Property, now: datetime) -> Balance:
    """Drain, copy Valkey's side, and compare it with what Postgres holds.

    The drain is held up while both sides are read, so that events which arrive meanwhile are in
    flight, and in no other state.
    """
    drain_property(place)
    with transaction_of_worker() as cursor:
        lock(cursor, "drain", place, wait=True)
        lock(cursor, "roll up", place, wait=True)
        lines, waiting = _snapshot(place, now)
        write(cursor, lines)
        balance = _sums(cursor, place.pk, place.key)
        balance.in_flight = _in_flight(place, waiting)
        cursor.execute(RAW, [place.pk])
        balance.raw_events, balance.raw_of_people = cursor.fetchone()
        if not (balance.in_flight or balance.erased or balance.expired):
            cursor.execute(ROLLED_UP, {"property": place.pk})
            found = cursor.fetchone()
            balance.rolled_up = found[0] if found else None
    return balance


def reconcile_nameless(now: datetime) -> Balance:
    """The instance-wide ledger: what named no known property. Nothing of it can be stored."""
    with transaction_of_worker() as cursor:
        write(cursor, read([(0, 0)], hours_until(now, KEPT)))
        return _sums(cursor, 0, "(no property)")


def _snapshot(place: Property, now: datetime) -> tuple[list[Line], int]:
    """Valkey's ledger and the length of the stream at one and the same moment."""
    prefix = keys.prefix(place.account_id, place.pk)
    hours = hours_until(now, KEPT)
    # The collector's clock may be ahead of ours by an hour's end.
    hours = [hours[0] + HOUR, *hours]
    pipe = events_client().pipeline(transaction=True)
    for hour in hours:
        pipe.hgetall(keys.ledger(prefix, hour))
    pipe.xlen(stream_of(place))
    *answers, waiting = pipe.execute()
    lines = [
        Line(place.account_id, place.pk, hour, counts)
        for hour, counts in zip(hours, answers, strict=True)
        if counts
    ]
    return lines, waiting


def _in_flight(place: Property, waiting: int) -> int:
    """Accepted events among the first entries of the stream; conflicts' payloads are none."""
    count, start = 0, "-"
    client = events_client()
    while waiting > 0:
        entries = client.xrange(stream_of(place), min=start, count=min(READ, waiting))
        if not entries:
            break
        count += sum(b"k" not in fields for _, fields in entries)
        waiting -= len(entries)
        start = "(" + entries[-1][0].decode()
    return count


def _sums(cursor: Any, property_id: int, name: str) -> Balance:
    cursor.execute(SUMS, [property_id])
    accepted, duplicate, pings, bots, stored, quarantined, late, erased, expired = cursor.fetchone()
    cursor.execute(REFUSED, [property_id])
    refused = dict(cursor.fetchall())
    return Balance(
        key=name,
        received=accepted + duplicate + sum(refused.values()),
        accepted=accepted - late,
        duplicate=duplicate + late,
        refused=refused,
        pings=pings,
        bots=bots,
        stored=stored - erased - expired,
        quarantined=quarantined,
        erased=erased,
        expired=expired,
        late_duplicate=late,
    )
