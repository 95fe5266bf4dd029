"""Since when are all raw events of a property there?

Enters: a property and the time. Leaves: the start of the first local day that can be counted anew.
Asked before anything is recomputed: what rests on raw events that are gone is never touched.
"""

from datetime import datetime, timedelta
from typing import Any

from properties.models import Property
from properties.periods import next_start, zone

SHORTEST = timedelta(days=30)  # retention; properties/models.py


def kept_since(cursor: Any, place: Property, now: datetime) -> datetime | None:
    """None if none has expired: then every day can be counted anew, also after an erasure."""
    if not _has_expired(cursor, place):
        return None
    # Older ones, from an import, will expire in their turn. Newer ones are where the retention
    # has been raised since.
    edge = now - timedelta(days=place.retention_days)
    oldest = oldest_event(cursor, place)
    return next_start("day", max(edge, oldest or edge), zone(place.timezone))


def oldest_event(cursor: Any, place: Property) -> datetime | None:
    cursor.execute(
        "SELECT time FROM events WHERE property_id = %s ORDER BY time LIMIT 1", [place.pk]
    )
    found = cursor.fetchone()
    return found[0] if found else None


def _has_expired(cursor: Any, place: Property) -> bool:
    cursor.execute(
        "SELECT EXISTS (SELECT FROM ledger WHERE property_id = %s AND expired > 0)", [place.pk]
    )
    return cursor.fetchone()[0]
