"""How far behind are drain and rollup?

Enters: nothing, or a property and the time. Leaves: seconds, or the moment up to which reports are
complete. Called by `/readyz` (aktivat/health.py) and by every answer of a report.
"""

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from django.db import connections
from django.db.models import Min

from properties.models import Property
from tracking import keys
from tracking.drain import AT_ONCE, chunks
from tracking.models import DirtyHour
from tracking.store import events_client
from tracking.working import WORKER


def measure() -> dict[str, float | int]:
    """drain_seconds and rollup_seconds: age of the oldest event not stored, not rolled up;
    stream_entries: how many wait in all streams."""
    now = time.time()
    places = Property.objects.across_accounts().using(WORKER).values_list("account_id", "pk")
    oldest, entries = now, 0
    for chunk in chunks(list(places), AT_ONCE):
        lengths, firsts = _streams(keys.stream(keys.prefix(*place)) for place in chunk)
        entries += sum(lengths)
        oldest = min([oldest, *(first / 1000 for first in firsts if first is not None)])
    with connections[WORKER].cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM min(marked_at))::float8 FROM dirty_hours")
        marked = cursor.fetchone()[0] or now
    return {
        "drain_seconds": round(max(0.0, now - oldest), 1),
        "rollup_seconds": round(max(0.0, now - marked), 1),
        "stream_entries": entries,
    }


def complete_until(place: Property, now: datetime, using: str = "default") -> datetime:
    """Every event received before this moment is in the property's reports.

    Raises redis.RedisError while Valkey, where events wait for the drain, cannot be asked.
    `using`: the web asks inside the tenant that THE DOOR opened, the worker as itself.
    """
    moments = [now.astimezone(UTC).replace(microsecond=0)]
    _, (first,) = _streams([keys.stream(keys.prefix(place.account_id, place.pk))])
    if first is not None:
        moments.append(datetime.fromtimestamp(first / 1000, UTC))
    marks = DirtyHour.objects.using(using).filter(property_id=place.pk)
    marked = marks.aggregate(oldest=Min("marked_at"))["oldest"]
    return min([*moments, marked] if marked else moments)


def _streams(streams: Iterable[str]) -> tuple[list[int], list[int | None]]:
    """Entries of each stream, and when (ms) Valkey took its first one."""
    pipe = events_client().pipeline(transaction=False)
    for stream in streams:
        pipe.xlen(stream)
        pipe.xrange(stream, count=1)
    answers = pipe.execute()
    return answers[0::2], [_moment(entries) for entries in answers[1::2]]


def _moment(entries: list[Any]) -> int | None:
    return int(entries[0][0].split(b"-")[0]) if entries else None
