"""Bits are exact: against Python's sets, and against bitmapist's plain keys on the same Valkey.

bitmapist says that it wants a redis-py below 6; what it calls of it has not changed since, so it
is installed without what it asks for (requirements/oracle.txt).
"""

import random
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import bitmapist
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.people import new_property

HOUR = 3_600_000
ORACLE = "aktivat"
START = 1_800_000_000_000
NAMES = ("pageview", "signup", "order")

# Numbers on both sides of a container's border, and far away; sizes on both sides of 512.
jumps = st.sampled_from([0, 100, 65_000, 65_530, 131_000, 1_000_000, 16_777_000])
sizes = st.sampled_from([1, 60, 511, 512, 513, 600])
step = st.tuples(st.integers(0, 2), st.integers(0, 2), jumps, sizes, st.floats(0, 1))


class Both:
    """A property, and the plain keys of whoever sent to it."""

    def __init__(self) -> None:
        from tracking import keys, store
        from tracking.directory import Record

        self.place = new_property()
        self.record = Record.of(self.place)
        self.client = store.events_client()
        self.meta = keys.meta(self.record.prefix)
        self.numbers: dict[uuid.UUID, int] = {}
        self.sets: dict[str, set[int]] = defaultdict(set)
        store.accept(self.record, Counter(), [], START)

    def send(self, hour: int, name: str, who: list[uuid.UUID]) -> None:
        from tests.streams import as_judged, make_event
        from tracking import store
        from tracking.items import item_of

        now = START + hour * HOUR + 5_000
        at = datetime.fromtimestamp(now / 1000, UTC)
        highest = int(self.client.hget(self.meta, "n"))
        for one in who:
            if one not in self.numbers:
                highest += 1
                self.numbers[one] = highest
        events = [make_event(at, visitor_uuid=one, name=name, page=f"/{name}") for one in who]
        items = [item_of(as_judged(event), self.record, now) for event in events]
        assert set(store.accept(self.record, Counter(), items, now)) <= {"a"}
        pipe = self.client.pipeline(transaction=False)
        for one in who:
            for key in (f"{hour}:a", f"{hour}:{name}"):
                self.sets[key].add(self.numbers[one])
                bitmapist.mark_event(
                    self.event_of(key), self.numbers[one], pipe, at, True, use_pipeline=False
                )
        pipe.execute()

    def event_of(self, key: str) -> str:
        return f"{self.record.prefix}:{key}"

    def theirs(self, key: str) -> Any:
        """What bitmapist knows of the same hour."""
        hour = datetime.fromtimestamp((START + int(key.split(":")[0]) * HOUR) / 1000, UTC)
        return bitmapist.HourEvents.from_date(self.event_of(key), hour, ORACLE)

    def ours(self, key: str) -> str:
        from tracking import keys

        hour, name = key.split(":")
        _, start, day = self.record.clock.stamps(START + int(hour) * HOUR)
        if name == "a":
            return keys.bits(self.record.prefix, keys.HOUR, start, "a")
        names = self.client.hgetall(keys.dictionary(self.record.prefix, day, "event"))
        return keys.bits(self.record.prefix, keys.HOUR, start, f"E{names[name.encode()].decode()}")


@pytest.fixture
def oracle() -> Iterator[None]:
    """bitmapist on the Valkey that holds the events."""
    from tracking.store import events_client

    bitmapist.SYSTEMS[ORACLE] = events_client()
    yield
    bitmapist.delete_all_events(ORACLE)
    del bitmapist.SYSTEMS[ORACLE]


@settings(
    max_examples=6,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=st.lists(step, min_size=1, max_size=4), seed=st.integers(0, 2**32))
def test_bits_are_those_of_sets_and_of_bitmapist(
    steps: list[tuple[int, int, int, int, float]], seed: int, oracle: None
) -> None:
    from tracking.bits import read_bits

    both, dice = Both(), random.Random(seed)
    for hour, name, jump, size, again in steps:
        highest = int(both.client.hget(both.meta, "n"))
        both.client.hset(both.meta, "n", max(highest, jump))
        known = dice.sample(sorted(both.numbers), round(again * min(len(both.numbers), size)))
        new = [uuid.UUID(int=dice.getrandbits(128), version=4) for _ in range(size)]
        both.send(hour, NAMES[name], [*known, *new])
    asked = list(both.sets)
    found = dict(zip(asked, read_bits(both.client, [both.ours(key) for key in asked]), strict=True))
    theirs = {key: both.theirs(key) for key in asked}
    for key in asked:
        assert set(found[key]) == both.sets[key]
        assert len(found[key]) == len(theirs[key])
        assert list(found[key]) == list(theirs[key])
    for one in asked:
        for other in asked:
            for theirs_say, ours in (
                (bitmapist.BitOpAnd, found[one] & found[other]),
                (bitmapist.BitOpOr, found[one] | found[other]),
                (bitmapist.BitOpXor, found[one] ^ found[other]),
            ):
                assert len(theirs_say(ORACLE, theirs[one], theirs[other])) == len(ours)
