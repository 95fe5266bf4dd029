"""Who is here now? Reads the live set of a property, which events and pings keep.

Out: a snapshot of three numbers that are never mixed (open, active, engaged), where those
visitors are and how often they come. An entry lives until its own expiry, so a sender that backs
off stays counted; a visitor with several tabs is one visitor, in the most active state of them.

Visitors are counted when they come, change and go (lua/online.lua), those who look alike (the same
page, source, country, device and state, to the byte) together. A reader first lets those leave
whose time is up, then reads how many show what. Above MANY tabs a snapshot is shared by all who
ask within a second. Called by reports/realtime.py and reports/views.py.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, Final

import redis.exceptions
import structlog
from django.core.cache import cache
from django_redis.exceptions import ConnectionInterrupted

from properties.models import Property
from tracking import keys, looks, store
from tracking.looks import VISITS, Look

OPEN, ACTIVE, ENGAGED = "open", "active", "engaged"
NEW = VISITS["n"]
# A list of the snapshot -> the dimension of its rows, which is a text of a look.
LISTS: Final = {
    "pages": "page",
    "sources": "source",
    "campaigns": "campaign",
    "countries": "country",
    "devices": "device",
}
MOST_ROWS = 50
CHUNK = 5_000  # looks a command: a long one would keep the collector waiting
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


def here(place: Property, now: int) -> dict[bytes, int]:
    """How many visitors show what (looks.py), once those have left whose time is up. Raises
    store.Unavailable."""
    try:
        return counts(keys.prefix(place.account_id, place.pk), now)
    except redis.exceptions.RedisError as error:
        raise store.Unavailable(str(error)) from error


def counts_of_a_second(place: Property, now: int) -> Mapping[bytes, int]:
    """`here`, shared by those who ask this process within a second, where they are dear."""
    at, known = _counted.get(place.pk, (0, {}))
    if len(known) < MANY or not 0 <= now - at < FRESH:
        known = here(place, now)
        if len(_counted) >= MOST_COUNTED:
            _counted.clear()
        _counted[place.pk] = now, known
    return known


_counted: dict[int, tuple[int, Mapping[bytes, int]]] = {}


def counts(prefix: str, now: int) -> dict[bytes, int]:
    """Where more than CHUNK looks are read in steps, somebody who changes meanwhile may be missed
    or seen twice: one in a thousand at most."""
    store.sweep(prefix, now)
    found: dict[bytes, bytes] = {}
    cursor = 0
    while True:
        cursor, part = store.events_client().hscan(keys.online_looks(prefix), cursor, count=CHUNK)
        found.update(part)
        if not cursor:
            return {look: int(count) for look, count in found.items()}


def summary(
    counts: Mapping[bytes, int],
    fits: Callable[[Look], bool] | None = None,
    most: int = MOST_ROWS,
) -> dict[str, Any]:
    """{"open", "active", "engaged", "pages": [{"page", "open", "active", "engaged", "new"}],
    "sources", "campaigns", "countries", "devices", "visits": {"new", "returning", "loyal"}} of so
    many visitors by what they show, of whom only those count whose look `fits`; rows by open
    visitors, at most `most`. `new` is the share of new ones, None where of nobody it is known.
    """
    states = [0, 0, 0]
    found = {name: defaultdict[str, list[int]](_nobody) for name in LISTS}
    visits = dict.fromkeys(VISITS.values(), 0)
    new: dict[str, list[int]] = defaultdict(lambda: [0, 0])  # page -> new, known
    for packed, count in counts.items():
        look = looks.read(packed)
        if fits and not fits(look):
            continue
        rank = look.rank
        states[rank] += count
        for value, by_value in zip(look[1:6], found.values(), strict=True):
            by_value[value][rank] += count
        if look.visit:
            visits[look.visit] += count
            of_page = new[look.page]
            of_page[0] += count if look.visit == NEW else 0
            of_page[1] += count
    answer: dict[str, Any] = by_activity(states)
    for name, field in LISTS.items():
        answer[name] = _rows(field, found[name], most)
    for row in answer["pages"]:
        few, all_known = new.get(row["page"], (0, 0))
        row["new"] = few / all_known if all_known else None
    return answer | {"visits": visits}


def _nobody() -> list[int]:
    """Visitors by rank."""
    return [0, 0, 0]


def by_activity(states: list[int]) -> dict[str, int]:
    """Who is engaged is active too, and who is active has a tab open."""
    return {OPEN: sum(states), ACTIVE: states[1] + states[2], ENGAGED: states[2]}


def _rows(field: str, found: Mapping[str, list[int]], most: int) -> list[dict[str, Any]]:
    counted = [(value, by_activity(states)) for value, states in found.items() if value]
    counted.sort(key=lambda row: (-row[1][OPEN], row[0]))
    return [{field: value, **counts} for value, counts in counted[:most]]
