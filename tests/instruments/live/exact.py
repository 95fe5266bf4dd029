"""Held against the truth at every second, in process: the real script on a real Valkey, a clock
that is an argument.

In: a property, dice, how many visitors and for how long. Out: for each second that differs what
was found and what is true. Needs Django with servers; the tests call it with few visitors and
`make live` with many.
"""

import uuid
from collections.abc import Iterator
from random import Random
from typing import Any

from tests.instruments.live import visitors
from tests.instruments.live.truth import NUMBERS, Plainly

Numbers = dict[str, dict[str, int]]  # "" for all of them, or a page -> the three numbers


def seconds(
    place: Any, dice: Random, count: int, length: int
) -> Iterator[tuple[int, Numbers, Numbers]]:
    """Every second of `length` ms: which one, what is found, what is true."""
    from tracking.collecting import collect, now_ms
    from tracking.live import snapshot

    start, plain = now_ms() // 1_000 * 1_000, Plainly()
    ids = Random(dice.random())
    coming = [ping for ping in visitors.pings(dice, count, length) if ping.received is not None]
    names: dict[tuple[int, int], str] = {}

    def name(who: int, tab: int) -> str:
        return names.setdefault((who, tab), str(uuid.UUID(int=ids.getrandbits(128), version=4)))

    at = second = 0
    while second <= length or at < len(coming) or plain.numbers(second - 1_000)["open"]:
        while at < len(coming) and (coming[at].received or 0) <= second:
            ping, at = coming[at], at + 1
            received = ping.received or 0
            plain.ping(received, ping.who, ping.tab, ping.state, ping.next_ms, ping.page)
            sent = visitors.payload(ping, name(ping.who, -1), name(ping.who, ping.tab), start)
            collect(place, [sent], now=start + received)
        found = snapshot(place, start + second)
        yield second, _numbers(found), {"": plain.numbers(second)} | plain.pages(second)
        second += 1_000


def _numbers(found: dict[str, Any]) -> Numbers:
    rows = {row["page"]: row for row in found["pages"]} | {"": found}
    return {page: {name: row[name] for name in NUMBERS} for page, row in rows.items()}
