"""Who is here now? Reads the live set of a property, which events and pings keep.

Out: a snapshot of three numbers that are never mixed (open, active, engaged), where those
visitors are and how often they come. An entry lives until its own expiry, so a sender that backs
off stays counted; a visitor with several tabs is one visitor, in the most active state of them.

Visitors are counted when they come, change and go (lua/online.lua), those who look alike (the same
page, source, country, device and state, to the byte) together. A reader first lets those leave
whose time is up, then reads how many show what, and counts them in columns (crowds.py). Above MANY
tabs a snapshot is shared by all who ask within a second. Called by reports/realtime.py and
reports/views.py.
"""

from typing import Any, Final

import redis.exceptions
import structlog
from django.core.cache import cache
from django_redis.exceptions import ConnectionInterrupted

from properties.models import Property
from tracking import crowds, keys, store
from tracking.crowds import Crowd

OPEN, ACTIVE, ENGAGED = "open", "active", "engaged"
# A list of the snapshot -> the dimension of its rows, which is a text of a look.
LISTS: Final = {
    "pages": "page",
    "sources": "source",
    "campaigns": "campaign",
    "countries": "country",
    "devices": "device",
}
MOST_ROWS = 50
AT_ONCE = 50_000  # looks a command, which takes 10 ms then: steps would take three times as long
CHUNK = 5_000  # looks of a step, where there are more
MANY = 2_000  # tabs, or looks; below, counting costs less than sharing what was counted
FRESH = 1_000  # ms for which a snapshot of many is shared
MOST_COUNTED = 200  # properties
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
    """What `summary` says of those who are here. `now` in epoch ms. Raises store.Unavailable."""
    return summary(here(place, now))


def here(place: Property, now: int) -> Crowd:
    """How many visitors show what, once those have left whose time is up. Raises
    store.Unavailable."""
    try:
        return crowd_of(keys.prefix(place.account_id, place.pk), now)
    except redis.exceptions.RedisError as error:
        raise store.Unavailable(str(error)) from error


def crowd_of_a_second(place: Property, now: int) -> Crowd:
    """`here`, shared by those who ask this process within a second, where it is dear."""
    at, known = _counted.get(place.pk, (0, None))
    if known is None or len(known) < MANY or not 0 <= now - at < FRESH:
        known = here(place, now)
        if len(_counted) >= MOST_COUNTED:
            _counted.clear()
        _counted[place.pk] = now, known
    return known


_counted: dict[int, tuple[int, Crowd]] = {}


def crowd_of(prefix: str, now: int) -> Crowd:
    """Where more than AT_ONCE looks are read in steps, somebody who changes meanwhile may be missed
    or seen twice: one in a thousand at most."""
    store.sweep(prefix, now)
    client, name = store.events_client(), keys.online_looks(prefix)
    if client.hlen(name) <= AT_ONCE:
        return crowds.of(client.hgetall(name))
    found: dict[bytes, bytes] = {}
    cursor = 0
    while True:
        cursor, part = client.hscan(name, cursor, count=CHUNK)
        found.update(part)
        if not cursor:
            return crowds.of(found)


def summary(crowd: Crowd, most: int = MOST_ROWS) -> dict[str, Any]:
    """{"open", "active", "engaged", "pages": [{"page", "open", "active", "engaged", "new"}],
    "sources", "campaigns", "countries", "devices", "visits": {"new", "returning", "loyal"}} of so
    many visitors by what they show; rows by open visitors, at most `most`. `new` is the share of
    new ones, None where of nobody it is known.
    """
    answer: dict[str, Any] = by_activity(crowd.states)
    for name, field in LISTS.items():
        with_new = name == "pages"
        answer[name] = [
            {field: row.value}
            | by_activity(row.states)
            | ({"new": row.new / row.known if row.known else None} if with_new else {})
            for row in crowd.ranked(field, most, with_new)
        ]
    return answer | {"visits": crowd.visits}


def by_activity(states: list[int]) -> dict[str, int]:
    """Who is engaged is active too, and who is active has a tab open."""
    return {OPEN: sum(states), ACTIVE: states[1] + states[2], ENGAGED: states[2]}
