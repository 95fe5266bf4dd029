"""Bits are exact: against Python's sets, and against plain SETBIT keys on the same Valkey.

The library that does the same with plain keys, bitmapist, does not install beside our redis-py
(it wants one below 6); what it writes is SETBIT and what it asks is BITCOUNT and BITOP, as here.
"""

import random
import uuid
from collections import Counter, defaultdict

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.people import new_property

HOUR = 3_600_000
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
        from datetime import UTC, datetime

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
                pipe.setbit(self.plain(key), self.numbers[one], 1)
        pipe.execute()

    def plain(self, key: str) -> str:
        return f"{self.record.prefix}:plain:{key}"

    def ours(self, key: str) -> str:
        from tracking import keys

        hour, name = key.split(":")
        _, start, day = self.record.clock.stamps(START + int(hour) * HOUR)
        if name == "a":
            return keys.bits(self.record.prefix, keys.HOUR, start, "a")
        names = self.client.hgetall(keys.dictionary(self.record.prefix, day, "event"))
        return keys.bits(self.record.prefix, keys.HOUR, start, f"E{names[name.encode()].decode()}")


@settings(max_examples=6, deadline=None, phases=[Phase.generate])
@given(steps=st.lists(step, min_size=1, max_size=4), seed=st.integers(0, 2**32))
def test_bits_are_those_of_sets_and_of_plain_keys(
    steps: list[tuple[int, int, int, int, float]], seed: int
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
    for key in asked:
        assert set(found[key]) == both.sets[key]
        assert len(found[key]) == both.client.bitcount(both.plain(key))
    scratch = both.plain("scratch")
    for one in asked:
        for other in asked:
            for word, ours in (
                ("AND", found[one] & found[other]),
                ("OR", found[one] | found[other]),
                ("XOR", found[one] ^ found[other]),
            ):
                both.client.bitop(word, scratch, both.plain(one), both.plain(other))
                assert both.client.bitcount(scratch) == len(ours)
    both.client.delete(scratch, *map(both.plain, asked))
