"""What the worker's jobs share: its connection, a lock per property and job, marks, clocks.

Enters: a property. Leaves: a cursor inside a transaction of the worker's database user, or marks
in `dirty_hours`. Called by the drain, by reconciling and by the rollups.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal, NamedTuple, get_args

from django.db import connections, transaction

from properties.models import Property
from properties.periods import Clock
from tracking.models import DirtyHour

WORKER = "worker"
Job = Literal["drain", "roll up", "concurrency"]
JOBS: tuple[Job, ...] = get_args(Job)

# Waiting longer for a table that somebody has locked would keep every other property waiting.
LOCK_TIMEOUT = "5s"


@contextmanager
def transaction_of_worker() -> Iterator[Any]:
    """A transaction of the worker's user; what it changes is there after it, or nothing is."""
    with transaction.atomic(using=WORKER), connections[WORKER].cursor() as cursor:
        yield cursor


def lock(cursor: Any, job: Job, place: Property, *, wait: bool) -> bool:
    """One worker at a time per property and job, until the transaction ends.

    Returns False when another has it and `wait` is not set.
    """
    return bool(lock_each(cursor, job, [place], wait=wait))


WAIT = "SELECT pg_advisory_xact_lock(hashtextextended(name, 0)) FROM unnest(%s::text[]) AS name"
TRY = "SELECT pg_try_advisory_xact_lock(hashtextextended(name, 0)) FROM unnest(%s::text[]) AS name"


def lock_each(cursor: Any, job: Job, places: Sequence[Property], *, wait: bool) -> list[Property]:
    """Those that could be locked; all of them, in their order, when `wait` is set."""
    names = [f"{job} {place.pk}" for place in places]
    cursor.execute(WAIT if wait else TRY, [names])
    got = [wait or is_ours for (is_ours,) in cursor.fetchall()]
    cursor.execute("SELECT set_config('lock_timeout', %s, true)", [LOCK_TIMEOUT])
    return [place for place, is_ours in zip(places, got, strict=True) if is_ours]


class Mark(NamedTuple):
    """An hour (its start in epoch seconds) of a property, and why it is rolled up again."""

    account_id: int
    property_id: int
    hour: int
    why: str


# The mark of an hour keeps its oldest moment, so that it tells since when the hour lags. The
# rollup notices a mark that was renewed meanwhile by its xmin, which every update changes.
MARK = """
INSERT INTO dirty_hours (account_id, property_id, hour, why, marked_at)
SELECT account_id, property_id, to_timestamp(hour), why, since
FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::text[], %s::timestamptz[])
    AS mark(account_id, property_id, hour, why, since)
ORDER BY property_id, hour, why
ON CONFLICT (property_id, hour, why)
DO UPDATE SET marked_at = least(dirty_hours.marked_at, excluded.marked_at)
"""


def write_marks(cursor: Any, marks: Mapping[Mark, datetime]) -> None:
    """Marks, and since when each hour's rollup lacks something."""
    if marks:
        columns = [list(column) for column in zip(*marks, strict=True)]
        cursor.execute(MARK, [*columns, list(marks.values())])


def mark_dirty(
    cursor: Any, place: Property, hours: Iterable[int], why: DirtyHour.Why, since: datetime
) -> None:
    """Hours (starts in epoch seconds) whose rollup lacks what came since that moment."""
    marks = {Mark(place.account_id, place.pk, hour, why.value): since for hour in hours}
    write_marks(cursor, marks)


@lru_cache(maxsize=256)
def clock_of(timezone: str) -> Clock:
    """The property zone's clock; it remembers quarters of hours, so it is kept."""
    return Clock(timezone)


def instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
