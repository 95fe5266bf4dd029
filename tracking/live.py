"""Who is here now? Reads the live set of a property, which events and pings keep.

Out: a snapshot of three numbers that are never mixed (open, active, engaged) and where those
visitors are. An entry lives until its own expiry, so a sender that backs off stays counted; a
visitor with several tabs is one visitor, in the most active state of them.

Visitors who look alike (the same page, source, country, device and state, to the byte) are counted
together and read once: of 100,000 visitors a sixth. Above MANY tabs a snapshot is shared by all
who ask within a second. Called by reports/api.py and reports/views.py.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import compress
from operator import itemgetter, not_
from sys import intern
from typing import Any, NamedTuple

import orjson
import redis.exceptions
import structlog
from django.core.cache import cache
from django_redis.exceptions import ConnectionInterrupted

from properties.models import Property
from tracking import keys, store

OPEN, ACTIVE, ENGAGED = "open", "active", "engaged"
_RANK = {"hidden": 0, "visible": 1, "engaged": 2}
MOST_ROWS = 50
CHUNK = 2_000  # members a command: a long one would keep the collector waiting
MANY = 2_000  # tabs; below, counting costs less than sharing what was counted
FRESH = 1_000  # ms for which a snapshot of many is shared
KEPT = 10  # seconds for which it stands in while somebody counts the next one

LOOKS = 50_000  # different ones that a process remembers, at most some 20 MB

_visitor = itemgetter(slice(0, 16))  # of a member: visitor and tab, 16 bytes each

log = structlog.get_logger(__name__)


class Tabs(NamedTuple):
    """Members of the live set and what their tabs show. While the set grows a member may be read
    twice, the newer one last. `expired` members may still be among them, not swept yet."""

    members: list[bytes]
    infos: list[bytes]
    expired: set[bytes]


class Look(NamedTuple):
    """What a tab shows, read. Texts that nobody sent are empty."""

    rank: int
    page: str
    source: str
    country: str
    device: str


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
        return summary(_tabs(keys.prefix(place.account_id, place.pk), now))
    except redis.exceptions.RedisError as error:
        raise store.Unavailable(str(error)) from error


def _tabs(prefix: str, now: int) -> Tabs:
    """The live set as it is in Valkey, read in steps."""
    client = store.events_client()
    tabs = Tabs([], [], set(client.zrangebyscore(keys.online(prefix), "-inf", now)))
    cursor = 0
    while True:
        cursor, part = client.hscan(keys.online_tabs(prefix), cursor, count=CHUNK)
        tabs.members.extend(part)
        tabs.infos.extend(part.values())
        if not cursor:
            return tabs


def summary(tabs: Tabs) -> dict[str, Any]:
    """The snapshot of these tabs: pure, so that its rule can be tested without a server."""
    states = [0, 0, 0]
    pages, sources, countries, devices = (defaultdict[str, list[int]](_nobody) for _ in range(4))
    for info, count in _alike(tabs).items():
        rank, page, source, country, device = _look(info)
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


def _alike(tabs: Tabs) -> Counter[bytes]:
    """How many visitors show the same, each by the most active of her tabs.

    Most visitors have one tab, read once: they are counted without a look at each of them. The
    others go in one by one.
    """
    visitors = list(map(_visitor, tabs.members))
    apart = set(map(_visitor, tabs.expired))
    tabs_of = Counter(visitors)
    if len(tabs_of) < len(visitors):
        apart.update(visitor for visitor, count in tabs_of.items() if count > 1)
    if not apart:
        return Counter(tabs.infos)
    is_apart = list(map(apart.__contains__, visitors))
    counts = Counter(compress(tabs.infos, map(not_, is_apart)))
    counts.update(_best(dict(compress(zip(tabs.members, tabs.infos, strict=True), is_apart)), tabs))
    return counts


def _best(infos: Mapping[bytes, bytes], tabs: Tabs) -> Iterable[bytes]:
    """What the most active tab of each visitor shows; of equals always the same one."""
    best: dict[bytes, bytes] = {}
    for member, info in infos.items():
        if member not in tabs.expired:
            visitor = member[:16]
            known = best.get(visitor)
            if known is None or _activity(info) > _activity(known):
                best[visitor] = info
    return best.values()


def _activity(info: bytes) -> tuple[int, bytes]:
    return _look(info)[0], info


@lru_cache(maxsize=LOOKS)
def _look(info: bytes) -> Look:
    read = orjson.loads(info)
    texts = (intern(str(read.get(field) or "")) for field in Look._fields[1:])
    return Look(_RANK.get(read.get("state", ""), 0), *texts)


def _by_activity(states: list[int]) -> dict[str, int]:
    """Who is engaged is active too, and who is active has a tab open."""
    return {OPEN: sum(states), ACTIVE: states[1] + states[2], ENGAGED: states[2]}


def _rows(field: str, found: Mapping[str, list[int]]) -> list[dict[str, Any]]:
    counted = [(value, _by_activity(states)) for value, states in found.items() if value]
    counted.sort(key=lambda row: (-row[1][OPEN], row[0]))
    return [{field: value, **counts} for value, counts in counted[:MOST_ROWS]]
