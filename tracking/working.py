"""What the worker's jobs share: its connection, a lock per property and job, marks, clocks.

Enters: a property. Leaves: a cursor inside a transaction of the worker's database user, or marks
in `dirty_hours`. Called by the drain, by reconciling and by the rollups.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal

from django.db import connections, transaction

from properties.models import Property
from properties.periods import Clock
from tracking.models import DirtyHour

WORKER = "worker"
Job = Literal["drain", "roll up"]

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
    name = f"{job} {place.pk}"
    if wait:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [name])
        got = True
    else:
        cursor.execute("SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", [name])
        got = cursor.fetchone()[0]
    cursor.execute("SELECT set_config('lock_timeout', %s, true)", [LOCK_TIMEOUT])
    return got


# The mark of an hour keeps its oldest moment, so that it tells since when the hour lags. The
# rollup notices a mark that was renewed meanwhile by its xmin, which every update changes.
MARK = """
INSERT INTO dirty_hours (account_id, property_id, hour, why, marked_at)
SELECT %(account)s, %(property)s, to_timestamp(hour), %(why)s, %(since)s
FROM unnest(%(hours)s::bigint[]) AS hour ORDER BY hour
ON CONFLICT (property_id, hour, why)
DO UPDATE SET marked_at = least(dirty_hours.marked_at, excluded.marked_at)
"""


def mark_dirty(
    cursor: Any, place: Property, hours: Iterable[int], why: DirtyHour.Why, since: datetime
) -> None:
    """Hours (starts in epoch seconds) whose rollup lacks what came since that moment."""
    wanted = sorted(set(hours))
    if wanted:
        values = {"account": place.account_id, "property": place.pk, "hours": wanted}
        cursor.execute(MARK, values | {"why": why.value, "since": since})


@lru_cache(maxsize=256)
def clock_of(timezone: str) -> Clock:
    """The property zone's clock; it remembers quarters of hours, so it is kept."""
    return Clock(timezone)


def instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
