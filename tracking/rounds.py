"""A round of sampling: how many are here at this moment, on every property that has somebody.

Every few seconds the worker asks for the live sets as looks, so the price is that of what visitors
show, not of how many they are, and leaves a sample of each in Valkey: open, active and engaged, in
all and for the pages and sources with the most visitors. A round that did not come to its end
counts for nobody: lost rounds make an average of fewer samples, never a wrong one.
concurrency.py makes rows of the samples when their minute is over.
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from properties.models import Property
from tracking import crowds, keys, live, store
from tracking.crowds import Crowd
from tracking.drain import chunks
from tracking.working import WORKER

EVERY = 5  # seconds from round to round (aktivat/celery.py)
SAMPLED = 100  # pages, and sources, of a sample; one with fewer visitors has nobody in it
AT_ONCE = 500  # properties of a step
SMALL = 1_000  # looks; more are read by themselves (live.py), so that no event waits for long
LIVE = 3 * 3_600  # seconds for which samples wait for Postgres

Six = list[int]  # most open, active, engaged; and their sums
DIMENSIONS = ("page", "source")


@dataclass
class Counts:
    """What a sample, or a period, has: in all, and by value of each dimension."""

    total: Six = field(default_factory=lambda: [0] * 6)
    by: dict[str, dict[str, Six]] = field(default_factory=lambda: {d: {} for d in DIMENSIONS})

    def add(self, other: "Counts") -> None:
        merge(self.total, other.total)
        for dimension, values in other.by.items():
            mine = self.by[dimension]
            for value, six in values.items():
                merge(mine.setdefault(value, [0] * 6), six)

    def most(self, dimension: str, count: int) -> dict[str, Six]:
        """Those with the most visitors over all rounds."""
        ranked = sorted(self.by[dimension].items(), key=lambda item: (-item[1][3], item[0]))
        return dict(ranked[:count])


def merge(six: Six, other: Sequence[int]) -> None:
    """The most of both, and the sums of both."""
    for at in range(3):
        six[at] = max(six[at], other[at])
        six[at + 3] += other[at + 3]


# -- a round ---------------------------------------------------------------------------------------


def take_across_accounts(now: int) -> int:
    """One round, at `now` in epoch ms; how many properties had somebody online."""
    minute = now // 60_000 * 60
    rows = Property.objects.across_accounts().using(WORKER).values_list("account_id", "pk")
    client = store.events_client()
    present = 0
    for chunk in chunks(list(rows), AT_ONCE):
        pipe = client.pipeline(transaction=False)
        for (account_id, property_id), crowd in _present(chunk, now):
            name = keys.samples_of_minute(keys.prefix(account_id, property_id), minute)
            pipe.hset(name, str(now), pack(crowd))
            pipe.expire(name, LIVE)
            pipe.hset(keys.rounds(minute), f"p{property_id}", 1)
            present += 1
        pipe.execute()
    # At last: what is not whole is not there.
    pipe = client.pipeline(transaction=False)
    pipe.hset(keys.rounds(minute), str(now), "")
    pipe.expire(keys.rounds(minute), LIVE)
    pipe.zadd(keys.MINUTES_DUE, {str(minute): minute})
    pipe.execute()
    return present


def _present(rows: Sequence[tuple[int, int]], now: int) -> Iterator[tuple[tuple[int, int], Crowd]]:
    """Those of the properties where somebody is online, and how many show what."""
    prefixes = [keys.prefix(*row) for row in rows]
    pipe = store.events_client().pipeline(transaction=False)
    for prefix in prefixes:
        pipe.hlen(keys.online_looks(prefix))
        pipe.zcount(keys.online(prefix), "-inf", now)
    found = pipe.execute()
    small: list[tuple[tuple[int, int], str]] = []
    for row, prefix, size, left in zip(rows, prefixes, found[::2], found[1::2], strict=True):
        if size > SMALL:
            yield row, live.crowd_of(prefix, now)
        elif size:
            if left:
                store.sweep(prefix, now)
            small.append((row, prefix))
    pipe = store.events_client().pipeline(transaction=False)
    for _, prefix in small:
        pipe.hgetall(keys.online_looks(prefix))
    for (row, _), counts in zip(small, pipe.execute(), strict=True):
        if counts:
            yield row, crowds.of(counts)


def pack(crowd: Crowd) -> bytes:
    """Open, active and engaged of all, and of the values with the most visitors, as a sample."""
    by = {
        dimension: {row.value: _three(row.states) for row in crowd.ranked(dimension, SAMPLED)}
        for dimension in DIMENSIONS
    }
    return zlib.compress(orjson.dumps([_three(crowd.states), by]), 1)


def _three(states: list[int]) -> list[int]:
    return list(live.by_activity(states).values())


def unpack(packed: bytes) -> Counts:
    total, by = orjson.loads(zlib.decompress(packed))
    return Counts(
        total * 2, {name: {value: three * 2 for value, three in by[name].items()} for name in by}
    )


# -- and what became of it -------------------------------------------------------------------------


def of_minute(minute: int) -> tuple[set[bytes], list[int]]:
    """The rounds of a minute that came to their end, and the properties that had somebody."""
    found = store.events_client().hgetall(keys.rounds(minute))
    whole = {name for name in found if not name.startswith(b"p")}
    return whole, [int(name[1:]) for name in found if name.startswith(b"p")]


def let_go(places: Sequence[Property], minute: int, kept: int) -> None:
    """Their samples are gone after `kept` seconds."""
    pipe = store.events_client().pipeline(transaction=False)
    for place in places:
        pipe.expire(keys.samples_of_minute(keys.prefix(place.account_id, place.pk), minute), kept)
    pipe.execute()


def samples(places: Sequence[Property], minute: int, kept: int) -> dict[int, dict[bytes, bytes]]:
    """Property -> moment -> sample (packed); they are gone after `kept` seconds."""
    pipe = store.events_client().pipeline(transaction=False)
    for place in places:
        name = keys.samples_of_minute(keys.prefix(place.account_id, place.pk), minute)
        pipe.hgetall(name)
        pipe.expire(name, kept)
    answers: list[Any] = pipe.execute()
    return dict(zip([place.pk for place in places], answers[::2], strict=True))
