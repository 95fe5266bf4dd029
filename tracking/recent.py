"""The last minutes of the live numbers: each second somebody looked, and every few seconds the
worker's rounds of sampling (rounds.py).

In: a count, from whoever shows it (reports/realtime.py). Out: up to ten minutes of seconds, and
what the pages had ten minutes ago. The seconds are kept in the cache's Valkey, where nothing has to
last: what is lost is drawn more coarsely, or not at all.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import redis.exceptions
import structlog
from django_redis import get_redis_connection
from django_redis.exceptions import ConnectionInterrupted

from properties.models import Property
from tracking import keys, rounds, store

LASTS = 600  # seconds that are shown
KEPT = 900  # seconds
BEFORE = 10  # minutes back, with which pages are compared
MOST_KNOWN = 10_000  # of what a process remembers

_AWAY = (redis.exceptions.RedisError, ConnectionInterrupted)
_noted: dict[str, int] = {}  # whose -> the last second that this process told
_minutes: dict[tuple[str, int], list[list[int]]] = {}  # whose, minute that is over -> its rounds
_pages: dict[str, tuple[int, dict[str, float] | None]] = {}  # whose -> minute, its pages

log = structlog.get_logger()


def note(whose: str, second: int, numbers: Sequence[int]) -> None:
    """Keep open, active and engaged visitors of a second."""
    if _noted.get(whose) == second:
        return
    _make_room(_noted)
    _noted[whose] = second
    name = keys.seconds(whose)
    try:
        pipe = get_redis_connection("default").pipeline(transaction=False)
        pipe.zadd(name, {":".join(map(str, (second, *numbers))): second})
        pipe.zremrangebyscore(name, "-inf", second - KEPT)
        pipe.expire(name, KEPT)
        pipe.execute()
    except _AWAY as error:
        log.warning("live sample not kept", error=str(error))


def seconds(
    places: Sequence[Property],
    whose: str,
    until: int,
    is_all: bool = True,
    of: tuple[str, str] | None = None,
) -> list[list[int]]:
    """[epoch second, open, active, engaged], oldest first, one for a second; of minutes in which
    nobody looked, those of the worker's rounds. These know everybody (`is_all`) and the visitors
    of one value (`of`: dimension and value), not those of any filter; `whose` says which is meant.
    """
    known = {sample[0]: sample for sample in _looked_at(whose, until)}
    if not is_all and (of is None or of[0] not in rounds.DIMENSIONS):
        return [known[second] for second in sorted(known)]
    seen = {second // 60 for second in known}
    for minute in range((until - LASTS) // 60, until // 60):
        if minute not in seen:
            found = _rounds_of(places, whose, minute * 60, of)
            known |= {sample[0]: sample for sample in found if sample[0] > until - LASTS}
    return [known[second] for second in sorted(known)]


def _looked_at(whose: str, until: int) -> list[list[int]]:
    try:
        found = get_redis_connection("default").zrange(
            keys.seconds(whose), until - LASTS, until, byscore=True
        )
    except _AWAY:
        return []
    return [list(map(int, sample.decode().split(":"))) for sample in found]


def _rounds_of(
    places: Sequence[Property], whose: str, minute: int, of: tuple[str, str] | None
) -> list[list[int]]:
    """The rounds of a minute that is over; whoever has no sample in one of them had nobody."""
    if (whose, minute) not in _minutes:
        _make_room(_minutes)
        sums = [(moment, _sum_of(found, of)) for moment, found in _samples(places, minute)]
        _minutes[whose, minute] = [[moment // 1000, *three] for moment, three in sums if three]
    return _minutes[whose, minute]


def _sum_of(found: Sequence[rounds.Counts], of: tuple[str, str] | None) -> list[int] | None:
    """None where a sample does not know: it holds the values with the most visitors."""
    threes = []
    for counts in found:
        values = {} if of is None else counts.by[of[0]]
        six = counts.total if of is None else values.get(of[1])
        if six is None and len(values) >= rounds.SAMPLED:
            return None
        threes.append(six or [0] * 6)
    return [sum(six[at] for six in threes) for at in range(3)]


def pages_before(places: Sequence[Property], second: int) -> dict[str, float] | None:
    """Open visitors of pages on average of the minute ten minutes ago; None when unknown. A page
    with few of many is not on it."""
    minute = (second // 60 - BEFORE) * 60
    whose = ",".join(str(place.pk) for place in places)
    known = _pages.get(whose)
    if known is None or known[0] != minute:
        _make_room(_pages)
        known = _pages[whose] = minute, _pages_of(places, minute)
    return known[1]


def _pages_of(places: Sequence[Property], minute: int) -> dict[str, float] | None:
    samples = _samples(places, minute)
    if not samples:
        return None
    sums: Counter[str] = Counter()
    for _, found in samples:
        for counts in found:
            sums.update({page: six[3] for page, six in counts.by["page"].items()})
    return {page: count / len(samples) for page, count in sums.items()}


def _samples(places: Sequence[Property], minute: int) -> list[tuple[int, list[rounds.Counts]]]:
    """Moment of each whole round -> the samples of those of the properties that had somebody."""
    try:
        whole, _ = rounds.of_minute(minute)
        by_place = rounds.samples(places, minute, rounds.LIVE) if whole else {}
    except redis.exceptions.RedisError as error:
        raise store.Unavailable(str(error)) from error
    return [
        (int(moment), [rounds.unpack(of[moment]) for of in by_place.values() if moment in of])
        for moment in sorted(whole, key=int)
    ]


def _make_room(known: dict[Any, Any]) -> None:
    if len(known) >= MOST_KNOWN:
        known.clear()
