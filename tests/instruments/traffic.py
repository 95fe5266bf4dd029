"""Visits to a site as they come: many at a time, each event at its moment.

In: a Traffic. Out: Steps in the order of their time, the same ones for the same seed. A session
has 2 to 10 events, half a minute apart on average, and ends with an engagement.
"""

import heapq
from collections.abc import Iterator
from itertools import count, islice
from random import Random
from typing import NamedTuple

PAUSE = 30.0  # seconds between two events of a visit, on average
SHORTEST, LONGEST = 2, 10  # events of a visit
DAY = 86_400
BEFORE = 900.0  # seconds that are left out: until then more visits begin than end


class Traffic(NamedTuple):
    """`rate` events a second in all; a visit's visitor is one of `visitors`, or new."""

    events: int = 100_000
    rate: float = 1_000
    visitors: int = 200_000
    all_new: bool = False
    properties: int = 1
    days: int = 1  # of this many, the last is measured: then most visitors are known
    seed: int = 1


class Step(NamedTuple):
    second: float  # since the day's beginning
    property: int
    visitor: int
    page: int
    is_last: bool


def steps(traffic: Traffic, day: int = 0) -> Iterator[Step]:
    """The events of a day, at most `traffic.events`."""
    endless = _endless(traffic, Random(traffic.seed * 1_000 + day), day)
    return islice((step for step in endless if step.second >= 0), traffic.events)


def _endless(traffic: Traffic, dice: Random, day: int) -> Iterator[Step]:
    begins, numbers = -BEFORE, count(day * 100_000_000 + 1)
    under_way: list[tuple[float, int, int, int]] = []  # next event, visit, visitor, events left
    for visit in count():
        while under_way and under_way[0][0] <= begins:
            second, other, visitor, left = heapq.heappop(under_way)
            page = dice.randrange(2_000)
            yield Step(second, other % traffic.properties, visitor, page, left == 1)
            if left > 1:
                after = second + dice.expovariate(1 / PAUSE)
                heapq.heappush(under_way, (after, other, visitor, left - 1))
        visitor = next(numbers) if traffic.all_new else dice.randrange(traffic.visitors) + 1
        length = dice.randint(SHORTEST, LONGEST)
        heapq.heappush(under_way, (begins, visit, visitor, length))
        begins += dice.expovariate(traffic.rate / ((SHORTEST + LONGEST) / 2))
