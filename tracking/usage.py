"""What an account has used: accepted events per property and UTC day of receipt, from the ledger.

Enters: an account and days. Leaves: `Use`, whose numbers are those of the ledger: bots are in it,
pings are apart, a late duplicate is none of the accepted. What Valkey counted in the last hours is
looked up, so the numbers are as new as the question. Asked by reports/usage.py behind THE DOOR;
tracking/quota.py adds up in the same way across accounts.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import redis
from django.db import connections

from accounts.models import Account
from accounts.plans import next_month
from tracking import ledger
from tracking.models import Ledger


@dataclass
class Tally:
    """What became of events. `accepted` is what a plan counts."""

    accepted: int = 0
    bots: int = 0
    duplicate: int = 0
    pings: int = 0
    refused: Counter[str] = field(default_factory=Counter)

    def __iadd__(self, other: "Tally") -> "Tally":
        self.accepted += other.accepted
        self.bots += other.bots
        self.duplicate += other.duplicate
        self.pings += other.pings
        self.refused.update(other.refused)
        return self

    @property
    def refusals(self) -> int:
        return self.refused.total()

    @property
    def is_empty(self) -> bool:
        return not (self.accepted or self.duplicate or self.pings or self.refused)


@dataclass
class Use:
    """By property id and day. `complete_until` None: what came just now cannot be looked up."""

    cells: dict[tuple[int, date], Tally]
    complete_until: datetime | None

    def total(self) -> Tally:
        return _sum(self.cells.values())

    def by_property(self) -> dict[int, Tally]:
        """Most accepted first."""
        ids = {property_id for property_id, _ in self.cells}
        sums = {one: _sum(t for (p, _), t in self.cells.items() if p == one) for one in ids}
        return dict(sorted(sums.items(), key=lambda pair: (-pair[1].accepted, pair[0])))

    def by_day(self) -> dict[date, Tally]:
        """Days with something in them, in their order."""
        days = sorted({day for _, day in self.cells})
        return {one: _sum(t for (_, d), t in self.cells.items() if d == one) for one in days}


def _sum(tallies: Iterable[Tally]) -> Tally:
    total = Tally()
    for tally in tallies:
        total += tally
    return total


DAYS = """
SELECT property_id, (hour AT TIME ZONE 'UTC')::date, sum(accepted - late_duplicate)::bigint,
    sum(bots)::bigint, sum(duplicate + late_duplicate)::bigint, sum(pings)::bigint
FROM ledger WHERE account_id = %(account)s AND hour >= %(begin)s AND hour < %(end)s
    AND hour <> ALL(%(recent)s)
GROUP BY 1, 2
"""
REFUSED = """
SELECT property_id, (hour AT TIME ZONE 'UTC')::date, key, sum(value::bigint)::bigint
FROM ledger, jsonb_each_text(refused)
WHERE account_id = %(account)s AND hour >= %(begin)s AND hour < %(end)s
    AND hour <> ALL(%(recent)s)
GROUP BY 1, 2, 3
"""


def between(account: Account, first: date, last: date, now: datetime) -> Use:
    """Use of the days from `first` to `last`, both inclusive. Asks inside the account's tenant."""
    begin, end = start_of(first), start_of(last + timedelta(days=1))
    recent = [datetime.fromtimestamp(hour, UTC) for hour in ledger.hours_until(now, ledger.RECENT)]
    wanted: dict[str, Any] = {"account": account.pk, "begin": begin, "end": end, "recent": recent}
    cells: dict[tuple[int, date], Tally] = {}
    with connections["default"].cursor() as cursor:
        cursor.execute(DAYS, wanted)
        for property_id, day, accepted, bots, duplicate, pings in cursor.fetchall():
            cells[property_id, day] = Tally(accepted, bots, duplicate, pings)
        cursor.execute(REFUSED, wanted)
        for property_id, day, reason, number in cursor.fetchall():
            cells[property_id, day].refused[reason] = number
    try:
        lines, complete_until = _counted_lately(account, now), min(now, end)
    except redis.exceptions.RedisError:
        lines, complete_until = {}, None
    for (property_id, hour), tally in _lately(account, recent, lines).items():
        if begin <= hour < end and not tally.is_empty:
            place = (property_id, hour.date())
            cells[place] = _sum([cells.get(place, Tally()), tally])
    return Use(cells, complete_until)


def of_month(account: Account, month: date, now: datetime) -> Use:
    return between(account, month, next_month(month) - timedelta(days=1), now)


Counts = dict[tuple[int, datetime], dict[bytes, bytes]]


def _counted_lately(account: Account, now: datetime) -> Counts:
    """What Valkey has counted in the last hours, by property and hour."""
    from properties.models import Property

    places = Property.objects.of(account).values_list("account_id", "pk")
    lines = ledger.read(list(places), ledger.hours_until(now, ledger.RECENT))
    return {
        (line.property_id, datetime.fromtimestamp(line.hour, UTC)): line.counts for line in lines
    }


def _lately(
    account: Account, hours: list[datetime], lines: Counts
) -> dict[tuple[int, datetime], Tally]:
    """The last hours, as far as Valkey has counted beyond what was copied. The table is read once
    for both: what is copied in between would be missed, or counted twice."""
    rows = Ledger.objects.filter(account_id=account.pk, hour__in=hours)
    found = {(row.property_id, row.hour): row for row in rows}
    return {
        key: _sum([_of(found.get(key)), _beyond(lines.get(key, {}), found.get(key))])
        for key in {*found, *lines}
    }


def _of(row: Ledger | None) -> Tally:
    if row is None:
        return Tally()
    return Tally(
        accepted=row.accepted - row.late_duplicate,
        bots=row.bots,
        duplicate=row.duplicate + row.late_duplicate,
        pings=row.pings,
        refused=Counter(row.refused),
    )


def _beyond(counts: dict[bytes, bytes], row: Ledger | None) -> Tally:
    def more(name: bytes, column: str) -> int:
        return max(0, int(counts.get(name, 0)) - (getattr(row, column) if row else 0))

    copied = row.refused if row else {}
    refused = {
        name[2:].decode(): max(0, int(number) - copied.get(name[2:].decode(), 0))
        for name, number in counts.items()
        if name.startswith(b"r.")
    }
    return Tally(
        accepted=more(b"accepted", "accepted"),
        bots=more(b"bot", "bots"),
        duplicate=more(b"duplicate", "duplicate"),
        pings=more(b"ping", "pings"),
        refused=Counter({reason: number for reason, number in refused.items() if number}),
    )


MONTHS = """
SELECT date_trunc('month', hour AT TIME ZONE 'UTC')::date AS month,
    sum(accepted - late_duplicate)::bigint, sum(bots)::bigint,
    sum(duplicate + late_duplicate)::bigint, sum(pings)::bigint
FROM ledger WHERE account_id = %(account)s AND hour >= %(begin)s AND hour < %(end)s
GROUP BY 1 ORDER BY 1 DESC
"""
MONTHS_REFUSED = """
SELECT date_trunc('month', hour AT TIME ZONE 'UTC')::date, key, sum(value::bigint)::bigint
FROM ledger, jsonb_each_text(refused)
WHERE account_id = %(account)s AND hour >= %(begin)s AND hour < %(end)s
GROUP BY 1, 2
"""


def months_before(account: Account, month: date, count: int = 12) -> dict[date, Tally]:
    """The `count` months before that one which have something in them, newest first."""
    year, index = divmod(month.year * 12 + month.month - 1 - count, 12)
    first = date(year, index + 1, 1)
    wanted: dict[str, Any] = {
        "account": account.pk,
        "begin": start_of(first),
        "end": start_of(month),
    }
    found: dict[date, Tally] = {}
    with connections["default"].cursor() as cursor:
        cursor.execute(MONTHS, wanted)
        for one, accepted, bots, duplicate, pings in cursor.fetchall():
            found[one] = Tally(accepted, bots, duplicate, pings)
        cursor.execute(MONTHS_REFUSED, wanted)
        for one, reason, number in cursor.fetchall():
            found[one].refused[reason] = number
    return found


def start_of(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


# -- across accounts, for the worker -----------------------------------------------------------

USED = """
SELECT account_id, property_id, sum(accepted - late_duplicate)::bigint,
    coalesce(sum(accepted) FILTER (WHERE hour = %(hour)s), 0)::bigint
FROM ledger WHERE account_id = ANY(%(accounts)s) AND hour >= %(begin)s AND hour < %(end)s
GROUP BY 1, 2
"""


def used_across_accounts(
    cursor: Any, accounts: list[int], month: date, hour: datetime
) -> list[tuple[int, int, int, int]]:
    """(account, property, accepted in the month, accepted in that hour as Valkey counts)."""
    bounds = {"begin": start_of(month), "end": start_of(next_month(month))}
    cursor.execute(USED, {"accounts": accounts, "hour": hour} | bounds)
    return cursor.fetchall()
