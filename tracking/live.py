"""Who is here now? Reads the live set of a property, which events and pings keep.

Out: a snapshot of three numbers that are never mixed (open, active, engaged) and where those
visitors are. An entry lives until its own expiry, so a sender that backs off stays counted; a
visitor with several tabs is one visitor, in the most active state of them.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import orjson
import redis.exceptions

from properties.models import Property
from tracking import keys, store

OPEN, ACTIVE, ENGAGED = "open", "active", "engaged"
_RANK = {"hidden": 0, "visible": 1, "engaged": 2}
MOST_ROWS = 50
CHUNK = 5_000  # members a command: a long one would keep the collector waiting


def snapshot(place: Property, now: int) -> dict[str, Any]:
    """{"open", "active", "engaged", "pages": [{"page", "open", "active", "engaged"}], "sources",
    "countries", "devices"}; rows by open visitors, at most MOST_ROWS. `now` in epoch ms.

    Raises store.Unavailable.
    """
    try:
        return summary(_tabs(keys.prefix(place.account_id, place.pk), now))
    except redis.exceptions.RedisError as error:
        raise store.Unavailable(str(error)) from error


def _tabs(prefix: str, now: int) -> Iterable[tuple[bytes, dict[str, Any]]]:
    """(visitor, what its tab shows) of every entry that has not expired."""
    client = store.events_client()
    members = client.zrangebyscore(keys.online(prefix), f"({now}", "+inf")
    for start in range(0, len(members), CHUNK):
        part = members[start : start + CHUNK]
        for member, info in zip(part, client.hmget(keys.online_tabs(prefix), part), strict=True):
            if info is not None:
                yield member[:16], orjson.loads(info)


def summary(tabs: Iterable[tuple[bytes, dict[str, Any]]]) -> dict[str, Any]:
    """The snapshot of these tabs: pure, so that its rule can be tested without a server."""
    best: dict[bytes, tuple[int, dict[str, Any]]] = {}
    for visitor, info in tabs:
        rank = _RANK.get(info.get("state", ""), 0)
        known = best.get(visitor)
        if known is None or rank > known[0]:
            best[visitor] = (rank, info)
    states = Counter(rank for rank, _ in best.values())
    return {
        OPEN: len(best),
        ACTIVE: states[1] + states[2],
        ENGAGED: states[2],
        "pages": _rows("page", best.values()),
        "sources": _rows("source", best.values()),
        "countries": _rows("country", best.values()),
        "devices": _rows("device", best.values()),
    }


def _rows(field: str, visitors: Iterable[tuple[int, dict[str, Any]]]) -> list[dict[str, Any]]:
    rows: dict[str, list[int]] = {}
    for rank, info in visitors:
        value = info.get(field)
        if value:
            counts = rows.setdefault(value, [0, 0, 0])
            for state in range(rank + 1):
                counts[state] += 1
    ranked = sorted(rows.items(), key=lambda row: (-row[1][0], row[0]))[:MOST_ROWS]
    return [
        {field: value, OPEN: counts[0], ACTIVE: counts[1], ENGAGED: counts[2]}
        for value, counts in ranked
    ]
