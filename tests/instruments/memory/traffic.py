"""Simulated visitors: who sends which event in which minute of a day.

In: how many, and a seed. Out: items as the collector makes them, minute by minute. A visitor who
is active on a day sends five events in five minutes; there are more of them by day than by night.
60 % are page views, the rest 19 other names; pages follow Zipf's law.
"""

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import accumulate
from math import pi, sin
from typing import Any

from tracking.directory import Record
from tracking.items import Item, item_of

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
A_SESSION = 5  # events, one a minute
PAGES, SOURCES, ONLINE = 5_000, 40, 1_000
NAMES = ("pageview", *(f"event-{number}" for number in range(1, 20)))
DRAWS = 1 << 16  # draws are made once and used again: a round trip of 65,536 is no pattern of days


class Crowd:
    """Visitors of one property. Visitor n (from 0) gets number n + 1 when they come in order."""

    def __init__(self, record: Record, known: int, seed: int, cookieless: bool = False) -> None:
        self.record = record
        self.cookieless = cookieless
        self.dice = random.Random(seed)
        self.uuids = [self.new_id() for _ in range(known)]
        weights = list(accumulate(1 / rank for rank in range(1, PAGES + 1)))
        self.pages = self.dice.choices(
            [f"/shop/article-{number}" for number in range(PAGES)], cum_weights=weights, k=DRAWS
        )
        self.names = self.dice.choices(NAMES, [60] + [40 / 19] * 19, k=DRAWS)
        self._drawn = 0

    def new_id(self) -> bytes:
        """As a browser makes them: a UUID of version 4."""
        number = self.dice.getrandbits(128) & ~(0xF << 76 | 0x3 << 62) | 4 << 76 | 2 << 62
        return number.to_bytes(16, "big")

    def newcomers(self, count: int) -> range:
        """Visitors that nobody has seen, in the order in which they will come."""
        known = len(self.uuids)
        self.uuids += [self.new_id() for _ in range(count)]
        return range(known, known + count)

    def some(self, count: int) -> list[int]:
        return self.dice.sample(range(len(self.uuids)), count)

    def minutes(
        self, start: int, active: Sequence[int], each: int = A_SESSION, live_from: int = DAY
    ) -> Iterator[tuple[int, list[int], list[Item]]]:
        """(end of the minute in ms, visitors, their items) of a day that starts at `start`.

        `each`: events of an active visitor. From `live_from` on they show who is online.
        """
        cohorts = list(by_minute(active))
        for minute in range(DAY // MINUTE):
            now = start + minute * MINUTE
            first = max(0, minute - each + 1)
            visitors = [who for cohort in cohorts[first : minute + 1] for who in cohort]
            if visitors:
                is_live = now - start >= live_from
                yield now + MINUTE - 1, visitors, self.items(now, visitors, is_live)

    def items(self, now: int, visitors: Sequence[int], is_live: bool = False) -> list[Item]:
        template = event_of(now + MINUTE // 2)
        template = template._replace(cookieless=self.cookieless, live=is_live)
        kind, cookieless, _, _, _, _, _, live, row = item_of(template, self.record, now)
        minute, hour, day = self.record.clock.stamps(template.time)
        made: list[Item] = []
        dice, uuids, drawn = self.dice, self.uuids, self._drawn
        for who in visitors:
            drawn = (drawn + 1) % DRAWS
            name = self.names[drawn]
            page = self.pages[drawn * 7919 % DRAWS]
            if is_live:  # the visitor and a tab stand behind the moment of expiry
                live = live[:8] + uuids[who] + uuids[who] + live[40:]
            moment = minute, hour, day, name
            view = hour, day, page, "1" if name == "pageview" else ""
            finger = dice.getrandbits(32) - (1 << 31)
            made.append(
                (kind, cookieless, moment, view, finger, self.new_id(), uuids[who], live, row)
            )
        self._drawn = drawn
        return made


def event_of(time: int, **fields: Any) -> Any:
    """A page view as a browser's would be judged; bytes of its row are those of a usual one."""
    from tests.streams import as_judged, make_event

    usual = {
        "title": "An article of the shop and its name",
        "referrer": "search.example",
        "source": "Search",
        "channel": "Organic Search",
        "country": "DE",
        "device": "desktop",
        "browser": "Firefox",
        "browser_version": "143",
        "os": "Windows",
        "language": "de",
        "screen": "1920x1080",
        "page": "/shop/article-1234",
    }
    moment = datetime.fromtimestamp(time / 1000, UTC)
    return as_judged(make_event(moment, **(usual | fields)))


def by_minute(active: Sequence[int]) -> Iterator[Sequence[int]]:
    """Who comes in which minute: thrice as many at 15:00 as at 3:00. Nobody is left over."""
    minutes = DAY // MINUTE
    shares = accumulate(
        1 + 0.5 * sin(2 * pi * (minute / minutes - 0.375)) for minute in range(minutes)
    )
    before = 0
    for share in shares:
        upto = round(len(active) * share / minutes)
        yield active[before:upto]
        before = upto
