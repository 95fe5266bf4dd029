"""Held against the truth over HTTP, in real time: pings of a simulation go to the collector, and
once a second the API is asked who is here.

In: a Product, and the simulation's seed, visitors and length. Out: by how much the numbers are
wrong. A ping was received at some moment between its sending and its answer, and a count made
between question and answer. So the truth is a range: who is here whatever those moments were, and
who may be. On an idle machine the range is a visitor or two wide; what is outside of it is wrong.
"""

import asyncio
import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.instruments.live import visitors
from tests.instruments.live.truth import NUMBERS, Plainly
from tests.instruments.live.visitors import Ping
from tests.instruments.product import Product

SENDERS = 24
ALLOWED = 0.01
SOME = 50  # visitors; of fewer, one is more than a per cent
SHARES = (0.0, 0.5, 1.0)


@dataclass(frozen=True)
class Answer:
    """In seconds of time.time(): when asked, when answered."""

    asked: float
    answered: float
    body: dict[str, Any]

    def moment(self, share: float) -> int:
        """In ms: when it may have happened, from 0 (asked) to 1 (answered)."""
        return round((self.asked + share * (self.answered - self.asked)) * 1_000)


class Line:
    """One kept connection."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, head: str, body: bytes = b"") -> Answer:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        asked = time.time()
        lines = f"{head}\r\nHost: collect.example\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(lines.encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1])
            for line in answer.lower().split(b"\r\n")
            if line.startswith(b"content-length:")
        )
        content = await reader.readexactly(length)
        answered = time.time()
        if int(answer.split(b" ", 2)[1]) not in (200, 202):
            raise RuntimeError(f"{head}: {answer[:60]!r} {content[:200]!r}")
        return Answer(asked, answered, json.loads(content))


def run(product: Product, say: Callable[[str], None], seed: int, count: int, length: int) -> bool:
    """Whether no second with SOME visitors is wrong by more than ALLOWED."""
    port, key = product.start_web(), product.make_property("over http")
    secret = product.make_api_key("realtime:view")
    dice = Random(seed)
    coming = [one for one in visitors.pings(dice, count, length) if one.received is not None]
    told, seen = asyncio.run(_play(port, key, secret, coming, length))
    product.stop_part("web")
    truth, errors, widths = Range(told), [], []
    for answer in seen:
        for name, (least, most) in truth.at(answer).items():
            if least >= SOME:
                off = max(0, least - answer.body[name], answer.body[name] - most)
                errors.append(off / least)
                widths.append((most - least) / least)
    online = max(answer.body["open"] for answer in seen)
    say(
        f"Over HTTP: {len(told):,} pings of {count:,} visitors, {len(seen)} looks, at most"
        f" {online:,} online. Of {len(errors)} numbers over {SOME}, {sum(map(bool, errors))} are"
        f" outside of what can be true, by {max(errors, default=0):.2%} at worst; what can be true"
        f" is {sum(widths) / max(len(widths), 1):.1%} wide in the mean."
    )
    return bool(errors) and max(errors) <= ALLOWED


async def _play(
    port: int, key: str, secret: str, coming: list[Ping], length: int
) -> tuple[list[tuple[Ping, Answer]], list[Answer]]:
    start = time.time() + 1
    waiting: asyncio.Queue[Ping | None] = asyncio.Queue()
    for one in [*coming, *[None] * SENDERS]:
        waiting.put_nowait(one)
    told: list[tuple[Ping, Answer]] = []
    seen: list[Answer] = []

    async def send() -> None:
        line = Line(port)
        while (ping := await waiting.get()) is not None:
            due = start + (ping.received or 0) / 1_000
            await asyncio.sleep(max(0.0, due - time.time()))
            ids = [str(uuid.uuid5(uuid.NAMESPACE_URL, f"{key} {n}")) for n in (ping.who,)]
            ids.append(str(uuid.uuid5(uuid.NAMESPACE_URL, f"{key} {ping.who} {ping.tab}")))
            body = {"property": key} | visitors.payload(ping, *ids, round(time.time() * 1_000))
            told.append((ping, await line.ask("POST /track HTTP/1.1", json.dumps(body).encode())))

    async def look() -> None:
        line = Line(port)
        head = f"GET /api/v1/properties/{key}/realtime HTTP/1.1\r\nAuthorization: Bearer {secret}"
        for second in range(length // 1_000):
            await asyncio.sleep(max(0.0, start + second - time.time()))
            seen.append(await line.ask(head))

    await asyncio.gather(look(), *(send() for _ in range(SENDERS)))
    return told, seen


class Range:
    """The least and the most of each number that can be true."""

    def __init__(self, told: list[tuple[Ping, Answer]]) -> None:
        # Received early, in the middle or late; counted early, in the middle or late.
        self._worlds = [
            (counted, iter(_in_order(told, received)), Plainly())
            for received in SHARES
            for counted in SHARES
        ]
        self._next = [next(pings, None) for _, pings, _ in self._worlds]

    def at(self, look: Answer) -> dict[str, tuple[int, int]]:
        """Looks come in their order."""
        ranks: dict[int, list[int]] = {}
        for world, (counted, pings, plain) in enumerate(self._worlds):
            moment = look.moment(counted)
            while (one := self._next[world]) and one[0] <= moment:
                received, ping = one
                plain.ping(received, ping.who, ping.tab, ping.state, ping.next_ms, ping.page)
                self._next[world] = next(pings, None)
            for who, (rank, _) in plain.best(moment).items():
                ranks.setdefault(who, [-1] * len(self._worlds))[world] = rank
        return {
            name: (
                sum(min(found) >= least for found in ranks.values()),
                sum(max(found) >= least for found in ranks.values()),
            )
            for least, name in enumerate(NUMBERS)
        }


def _in_order(told: list[tuple[Ping, Answer]], share: float) -> list[tuple[int, Ping]]:
    return sorted(((answer.moment(share), ping) for ping, answer in told), key=lambda one: one[0])
