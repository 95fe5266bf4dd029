"""Days of a property, driven into a Valkey through the real scripts, the server's time included.

In: a crowd and a day's active visitors. Out: the Valkey as it would be then, and what went in, to
be compared with what it says. The stream is emptied every hour, as the drain would.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from tests.instruments.memory.passing import pass_time
from tests.instruments.memory.plain import PlainKeys
from tests.instruments.memory.traffic import DAY, HOUR, ONLINE, Crowd
from tracking import keys, store
from tracking.bits import read_bits
from tracking.intake import Ping
from tracking.items import Item, item_of


class Wrong(Exception):
    """Valkey says something else than what went in."""


class Simulation:
    """`first_number`: what Valkey calls visitor 0 of the crowd."""

    def __init__(
        self, client: Any, crowd: Crowd, say: Callable[[str], None], first_number: int = 1
    ) -> None:
        self.client, self.crowd, self.say = client, crowd, say
        self.first_number = first_number
        self.plain = PlainKeys()
        self.events = 0
        self.waiting_bytes = 0.0  # of an event in the stream
        self._hour: int | None = None
        self.now = 0
        # Of the last full day: who came, by hour, dimension and value; and its first items.
        self._truth: dict[tuple[int, str, str], set[int]] = {}
        self._oldest: tuple[int, list[Item]] = (0, [])
        self._day = 0

    def full_day(self, start: int, active: Sequence[int]) -> None:
        """All events of the day; time passes hour by hour."""
        self._truth = defaultdict(set)
        self._oldest = 0, []
        live_from = DAY - HOUR  # who is online is forgotten within the hour
        for now, visitors, items in self.crowd.minutes(start, active, live_from=live_from):
            self._reach(now)
            self._accept(now, items)
            numbers = [who + self.first_number for who in visitors]
            self.plain.see(now, numbers, items)
            self._note(now, numbers, items)

    def thin_day(self, start: int, active: Sequence[int]) -> None:
        """One event for each active visitor: what a day leaves when its bits and ids are gone."""
        self._reach(start)
        for now, _, items in self.crowd.minutes(start, active, each=1):
            self._accept(now, items)

    def go_online(self, count: int = ONLINE) -> None:
        """So many readers show that they are there."""
        expires = self.now + 32_000
        readers = [str(UUID(bytes=who)) for who in self.crowd.uuids[-count:]]
        page, country, device = "/shop/article-1", "DE", "desktop"
        pings = [
            Ping(who, who, "engaged", expires, page, country, device, bot=False) for who in readers
        ]
        items = [item_of(ping, self.crowd.record, self.now) for ping in pings]
        verdicts = store.accept(self.crowd.record, Counter(), items, self.now)
        if verdicts != "p" * len(items):
            raise Wrong("A ping was not taken.")

    def check(self) -> str:
        """The last full day: does Valkey know who came, and every id? Raises Wrong."""
        record = self.crowd.record
        names = {
            dimension: self.client.hgetall(keys.dictionary(record.prefix, self._day, dimension))
            for dimension in keys.DIMENSIONS
        }
        wanted: dict[str, set[int]] = {}
        for (hour, dimension, value), numbers in self._truth.items():
            who = "a"
            if dimension:
                who = {"event": "E", "page": "P"}[dimension]
                who += names[dimension][value.encode()].decode()
            wanted[keys.bits(record.prefix, keys.HOUR, hour, who)] = numbers
        for key, bits in zip(wanted, read_bits(self.client, list(wanted)), strict=True):
            if set(bits) != wanted[key]:
                raise Wrong(f"{key} holds {len(bits)} visitors, {len(wanted[key])} came.")
        now, items = self._oldest
        verdicts = store.accept(record, Counter(), items, now + DAY - 1)
        if verdicts != "d" * len(items):
            raise Wrong(f"Retries after a day: {Counter(verdicts)}.")
        return (
            f"{len(wanted):,} keys of bits hold exactly who came; "
            f"{len(items):,} retries after 24 hours are duplicates"
        )

    def _note(self, now: int, numbers: Sequence[int], items: Sequence[Item]) -> None:
        if not self._oldest[1]:
            self._oldest = now, list(items)
        hour, self._day = self.crowd.record.clock.stamps(now)[1:]
        for number, item in zip(numbers, items, strict=True):
            assert item[2] is not None and item[3] is not None
            self._truth[hour, "", ""].add(number)
            self._truth[hour, "event", item[2][3]].add(number)
            self._truth[hour, "page", item[3][2]].add(number)

    def empty_stream(self) -> None:
        stream = keys.stream(self.crowd.record.prefix)
        if waiting := self.client.xlen(stream):
            self.waiting_bytes = self.client.memory_usage(stream, samples=0) / waiting
        self.client.xtrim(stream, maxlen=0, approximate=False)

    def _reach(self, now: int) -> None:
        hour = now // HOUR
        if self._hour is not None and hour > self._hour:
            self.empty_stream()
            pass_time(self.client, (hour - self._hour) * HOUR)
        self._hour = hour

    def _accept(self, now: int, items: Sequence[Item]) -> None:
        self.now = now
        verdicts = store.accept(self.crowd.record, Counter(), items, now)
        if verdicts != "a" * len(items):
            raise Wrong(f"Verdicts on new events: {Counter(verdicts)}.")
        self.events += len(items)
