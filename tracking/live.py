"""Who is here now? Reads the live set of a property, which events and pings keep.

Out: a snapshot of three numbers that are never mixed (open, active, engaged) and where those
visitors are. An entry lives until its own expiry, so a sender that backs off stays counted; a
visitor with several tabs is one visitor, in the most active state of them.

Visitors are counted when they come, change and go (lua/online.lua), those who look alike (the same
page, source, country, device and state, to the byte) together. A reader first lets those leave
whose time is up, then reads how many show what. Above MANY tabs a snapshot is shared by all who
ask within a second. Called by reports/api.py and reports/views.py.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import redis.exceptions
import structlog
from django.core.cache import cache
from django_redis.exceptions import ConnectionInterrupted

from properties.models import Property
from tracking import keys, looks, store

OPEN, ACTIVE, ENGAGED = "open", "active", "engaged"
MOST_ROWS = 50
CHUNK = 5_000  # looks a command: a long one would keep the collector waiting
MANY = 2_000  # tabs; below, counting costs less than sharing what was counted
FRESH = 1_000  # ms for which a snapshot of many is shared
KEPT = 10  # seconds for which it stands in while somebody counts the next one

log = structlog.get_logger(__name__)


def shown(place: Property, now: int) -> dict[str, Any]:
    """The snapshot for a reader; of many tabs it may be some seconds old. Raises Unavailable."""
    try:
        tabs = store.events_client().zcard(keys.online(keys.prefix(place.account_id, place.pk)))
    except redis.exceptions.RedisError as error:
        raise store.Unavailable(str(error)) from error
    if tabs < MANY:
        return snapshot(place, now)
    try:
        return _shared(place, now)
    except (ConnectionInterrupted, redis.exceptions.RedisError) as error:
        log.warning("live snapshot not shared", error=str(error))
        return snapshot(place, now)  # sharing is a saving, not a need


def _shared(place: Property, now: int) -> dict[str, Any]:
    """One reader counts, the others take what the last one counted."""
    name, turn = f"online:{place.pk}", f"online:{place.pk}:turn"
    known = cache.get(name)
    if known and (abs(now - known["at"]) < FRESH or not cache.add(turn, 1, KEPT)):
        return known["snapshot"]
    fresh = snapshot(place, now)
    cache.set(name, {"at": now, "snapshot": fresh}, KEPT)
    cache.delete(turn)
    return fresh


def snapshot(place: Property, now: int) -> dict[str, Any]:
    """{"open", "active", "engaged", "pages": [{"page", "open", "active", "engaged"}], "sources",
    "countries", "devices"}; rows by open visitors, at most MOST_ROWS. `now` in epoch ms.

    Raises store.Unavailable.
    """
    try:
        return summary(counts(keys.prefix(place.account_id, place.pk), now))
    except redis.exceptions.RedisError as error:
        raise store.Unavailable(str(error)) from error


def counts(prefix: str, now: int) -> dict[bytes, int]:
    """How many visitors show what. Where more than CHUNK looks are read in steps, somebody who
    changes meanwhile may be missed or seen twice: one in a thousand at most."""
    store.sweep(prefix, now)
    found: dict[bytes, bytes] = {}
    cursor = 0
    while True:
        cursor, part = store.events_client().hscan(keys.online_looks(prefix), cursor, count=CHUNK)
        found.update(part)
        if not cursor:
            return {look: int(count) for look, count in found.items()}


def summary(counts: Mapping[bytes, int]) -> dict[str, Any]:
    """The snapshot of so many visitors by what they show."""
    states = [0, 0, 0]
    pages, sources, countries, devices = (defaultdict[str, list[int]](_nobody) for _ in range(4))
    for look, count in counts.items():
        rank, page, source, _, country, device = looks.read(look)
        states[rank] += count
        pages[page][rank] += count
        sources[source][rank] += count
        countries[country][rank] += count
        devices[device][rank] += count
    return {
        **_by_activity(states),
        "pages": _rows("page", pages),
        "sources": _rows("source", sources),
        "countries": _rows("country", countries),
        "devices": _rows("device", devices),
    }


def _nobody() -> list[int]:
    """Visitors by rank."""
    return [0, 0, 0]


def _by_activity(states: list[int]) -> dict[str, int]:
    """Who is engaged is active too, and who is active has a tab open."""
    return {OPEN: sum(states), ACTIVE: states[1] + states[2], ENGAGED: states[2]}


def _rows(field: str, found: Mapping[str, list[int]]) -> list[dict[str, Any]]:
    counted = [(value, _by_activity(states)) for value, states in found.items() if value]
    counted.sort(key=lambda row: (-row[1][OPEN], row[0]))
    return [{field: value, **counts} for value, counts in counted[:MOST_ROWS]]
