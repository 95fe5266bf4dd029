"""Visitors as they behave, and what their browsers send: a simulation without any server.

In: dice, how many visitors, for how long. Out: every ping with the moments at which it was sent
and, unless it was lost, delivered. They come and read on, idle, hide tabs, open up to five, follow
links, close tabs, lose the network for a while, or vanish; some clocks are hours wrong. Beats come
as the tracker sends them: every 5 s while engaged, 15 s while visible, 60 s while hidden, at once
when the state changes, and "gone" when a tab closes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import Any

PAGES = ("/blog", "/cart", "/docs", "/help", "/home")  # equally long: see truth.py
EVERY = {"engaged": 5_000, "visible": 15_000, "hidden": 60_000}
SLOWEST = 3_000  # ms on the way


@dataclass(frozen=True)
class Ping:
    """`sent` and `received` in ms from the beginning; `received` None: lost."""

    who: int
    tab: int
    state: str
    next_ms: int
    page: str
    sent: int
    received: int | None = None
    clock: int = 0  # ms by which the browser's is wrong


@dataclass(frozen=True)
class Mood:
    """Until when a tab stays in a state on a page."""

    until: int
    state: str
    page: str


def pings(dice: Random, visitors: int, length: int) -> list[Ping]:
    """Of all visitors in `length` ms, in the order of their receipt; lost ones at the end."""
    found = [ping for who in range(visitors) for ping in _of_visitor(dice, who, length)]
    return sorted(found, key=lambda ping: (ping.received is None, ping.received or ping.sent))


def _of_visitor(dice: Random, who: int, length: int) -> Iterator[Ping]:
    """Her tabs, through a network that fails and delays."""
    start = dice.randrange(length)
    stay = round(dice.expovariate(1 / 60_000)) + 1_000
    clock = dice.choice((0, 0, 0, 7_200_000, -86_400_000, 31_536_000_000))
    offline = _offline(dice, start, stay)
    for tab in range(dice.choice((1, 1, 1, 2, 5))):
        opened = start + dice.randrange(stay) * (tab > 0)
        closed = min(opened + round(dice.expovariate(1 / stay)) + 500, length)
        for ping in _of_tab(dice, Ping(who, tab, "", 0, "", 0, clock=clock), opened, closed):
            is_lost = any(begin <= ping.sent < end for begin, end in offline)
            if is_lost or dice.random() < 0.02:
                yield ping
            else:
                yield replace(ping, received=ping.sent + _delay(dice))


def _offline(dice: Random, start: int, stay: int) -> list[tuple[int, int]]:
    """In a tunnel, or gone for good without a word."""
    if dice.random() < 0.75:
        return []
    begin = start + dice.randrange(stay)
    return [(begin, begin + dice.choice((8_000, 40_000, 10**9)))]


def _delay(dice: Random) -> int:
    return dice.randrange(20, 300) if dice.random() < 0.95 else dice.randrange(300, SLOWEST)


def _of_tab(dice: Random, ping: Ping, opened: int, closed: int) -> Iterator[Ping]:
    now = opened
    for mood in _moods(dice, opened, closed):
        pause = EVERY[mood.state]
        while now < mood.until:
            yield replace(ping, state=mood.state, next_ms=pause, page=mood.page, sent=now)
            now += pause
        now = mood.until  # the state changes: at once
    if dice.random() < 0.8:  # else it was killed
        yield replace(ping, state="gone", next_ms=0, page=PAGES[0], sent=closed)


def _moods(dice: Random, opened: int, closed: int) -> Iterator[Mood]:
    now, page = opened, dice.choice(PAGES)
    while now < closed:
        now = min(now + round(dice.expovariate(1 / 12_000)) + 200, closed)
        yield Mood(now, dice.choice(("engaged", "engaged", "visible", "hidden")), page)
        if dice.random() < 0.3:
            page = dice.choice(PAGES)


def payload(ping: Ping, visitor: str, tab: str, now: int) -> dict[str, Any]:
    """What the tracker sends of it; `now` is its right time in epoch ms."""
    return {
        "name": "ping",
        "visitor": visitor,
        "tab": tab,
        "state": ping.state,
        "next_ms": ping.next_ms,
        "time": now + ping.clock,
        "url": f"https://a.example{ping.page}",
    }
