"""What plain SETBIT keys would take for the same history: a bit for each visitor number, in a key
for each event name and each source with campaign, per minute, hour, day, month and year.

In: what came in which minute. Out: bytes of the keys. A key is as long as its highest number; that
is all that is counted here, without the server's own cost of a key and of growing it. The same
life times are assumed as ours have, though those keys had none.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from tests.instruments.memory.traffic import HOUR, MINUTE, SOURCES
from tracking.items import Item

KEEP_MINUTES, KEEP_HOURS = 3 * HOUR, 72 * HOUR


class PlainKeys:
    """The highest visitor number of each (minute, name) and (minute, source)."""

    def __init__(self) -> None:
        self.highest: dict[tuple[int, str | int], int] = {}

    def see(self, now: int, numbers: Sequence[int], items: Sequence[Item]) -> None:
        minute, highest = now // MINUTE, self.highest
        for number, item in zip(numbers, items, strict=True):
            assert item[2] is not None
            for what in (item[2][3], number % SOURCES):
                key = minute, what
                if highest.get(key, -1) < number:
                    highest[key] = number

    def kept(self, now: int) -> list[int]:
        """The highest number of each key that there would be: minutes and hours as long as ours,
        this day, month and year."""
        return [*self.kept_of_events(now), *self.kept_of_sources(now)]

    def kept_of_events(self, now: int) -> list[int]:
        return self._kept(now, str)

    def kept_of_sources(self, now: int) -> list[int]:
        return self._kept(now, int)

    def _kept(self, now: int, kind: type) -> list[int]:
        found: dict[tuple[Any, ...], int] = {}
        for (minute, what), number in self.highest.items():
            if not isinstance(what, kind):
                continue
            age = now - minute * MINUTE
            names: list[tuple[Any, ...]] = [("month", what), ("year", what), ("day", what)]
            if age <= KEEP_MINUTES:
                names.append(("minute", minute, what))
            if age <= KEEP_HOURS:
                names.append(("hour", minute * MINUTE // HOUR, what))
            for name in names:
                found[name] = max(found.get(name, 0), number)
        return list(found.values())

    def bytes_of_a_day(self) -> float:
        """Of the minute keys that one day adds, which then had no end."""
        days = max(1, len({minute for minute, _ in self.highest}) / 1440)
        return size(self.highest.values()) / days


def size(highest: Iterable[int]) -> int:
    return sum(number // 8 + 1 for number in highest)


def load_sample(client: Any, highest: Sequence[int], most: int = 200) -> tuple[int, int]:
    """(bytes by the formula, bytes that a server really uses) of some of these keys, as they come
    about: each bit set by SETBIT, ending with the highest."""
    sample = list(highest)[:: max(1, len(highest) // most)][:most]
    real = 0
    for place, number in enumerate(sample):
        name = f"plain:{place}"
        client.setbit(name, number // 2, 1)
        client.setbit(name, number, 1)
        real += client.memory_usage(name, samples=0)
        client.delete(name)
    return size(sample), real
