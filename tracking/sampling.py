"""Samples of the events that come now, for whoever looks at the event inspector.

In: from the collector (views.py, usual.py), once a request is answered, its payloads and what
became of them. Out: small sets in the cache's Valkey, which inspection.py reads; each sample ends
after minutes, by its age. Events are sampled while somebody watches their property, refusals
always, so that whoever opens the page sees what was refused just now.

Collecting owes nothing to any of this: a request only appends to a bounded list in memory, and
a background task of the process talks to Valkey. What finds no room is left out and counted; a
cache that is away costs the samples, not an event.
"""

import asyncio
import itertools
import json
import os
from collections import Counter
from collections.abc import Sequence, Set
from contextlib import suppress
from operator import itemgetter
from typing import Any

import orjson
import redis.asyncio
import structlog
from django.conf import settings
from redis.backoff import NoBackoff

from tracking import agents, keys, places, store
from tracking.cards import without_cards
from tracking.collecting import Hearing, now_ms
from tracking.directory import Record
from tracking.event import read_row
from tracking.intake import Origin
from tracking.items import Item
from tracking.refusals import UNSEEN, Reason

SEEN, REFUSED = "seen", "refused"
PINGS, LEFT_OUT, LIMITED = "p", "o", "l"  # tallies of a second
KEPT = {SEEN: 200, REFUSED: 100}  # samples of a property
A_SECOND = {SEEN: 100, REFUSED: 20}  # samples of a property that one process takes
REFUSED_A_SECOND = 100  # of all properties together: strangers can provoke them
LASTS = 300  # seconds for which samples are kept
TALLY_LASTS = 180
MOST_WATCHED = 200  # properties
MOST_WAITING = 500  # samples in memory
LONGEST = {SEEN: 8_000, REFUSED: 2_000}  # characters of a payload
LOOK_EVERY = 1.0  # seconds between two questions who is watched
PUSH_EVERY = 0.2
AFTER_A_FAILURE = 5.0

_BEYOND = 100  # a card's number that begins before the cut is seen whole
LONGEST_TEXT = 300  # of a name or an address of a refused event

# Never shown: what no part of the product keeps.
_OWN_ORIGIN = frozenset({"_address", "_agent"})
_WHO = frozenset({"visitor", "user", "session", "tab"})

log = structlog.get_logger()
_count = itertools.count()


class Sampler:
    """One for each process. `watched`, the ids of the properties that somebody looks at, is all
    that the collector reads when nobody does."""

    def __init__(self) -> None:
        self.watched: frozenset[int] = frozenset()
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._waiting: list[tuple[str, str, bytes]] = []  # prefix, kind, sample
        self._taken: Counter[tuple[str, str]] = Counter()  # in this second
        self._tallies: Counter[tuple[str, str]] = Counter()  # prefix, what
        self._fails = False

    def start(self) -> None:
        """Let the running loop look after the samples."""
        loop = asyncio.get_running_loop()
        if self._task is None or self._task.done() or self._task.get_loop() is not loop:
            self._news = asyncio.Event()
            self._task = loop.create_task(self._run())

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def note(
        self, hearing: Hearing, payloads: Sequence[Any], verdicts: str, origin: Origin, now: int
    ) -> None:
        """Take samples of a request that is answered or about to be; never harms it."""
        try:
            self._note(hearing, payloads, verdicts, origin, now)
            self.start()
        except Exception as error:
            self._fail(error)
        self._news.set()

    def note_limited(self, record: Record, events: int) -> None:
        """Count events that were turned away with 429, unread."""
        self._tallies[record.prefix, LIMITED] += max(events, 1)
        self.start()
        self._news.set()

    def _note(
        self, hearing: Hearing, payloads: Sequence[Any], verdicts: str, origin: Origin, now: int
    ) -> None:
        prefix = hearing.record.prefix
        is_watched = hearing.record.property_id in self.watched
        if is_watched:
            for index, item, verdict in zip(
                hearing.positions, hearing.items, verdicts, strict=True
            ):
                if verdict == store.PING:
                    self._tallies[prefix, PINGS] += 1
                elif verdict in _SAID and self._has_room(prefix, SEEN):
                    sample = _seen(payloads[index], item, _SAID[verdict], now)
                    self._waiting.append((prefix, SEEN, sample))
        for refusal in hearing.answer.rejected:
            payload = payloads[refusal["index"]]
            if _is_ping(payload) and refusal["reason"] not in _OF_PINGS:
                self._tallies[prefix, PINGS] += 1  # its page view says why, a hundred times less
            elif self._has_room(prefix, REFUSED):
                sample = _refused(payload, refusal, hearing.record, origin, now)
                self._waiting.append((prefix, REFUSED, sample))

    def _has_room(self, prefix: str, kind: str) -> bool:
        """Whether one more may be taken in this second; if not, it is counted."""
        has_room = (
            self._taken[prefix, kind] < A_SECOND[kind]
            and len(self._waiting) < MOST_WAITING
            and (kind == SEEN or self._taken["", kind] < REFUSED_A_SECOND)
        )
        if has_room:
            self._taken[prefix, kind] += 1
            self._taken["", kind] += 1
        else:
            self._tallies[prefix, LEFT_OUT] += 1
        return has_room

    async def _run(self) -> None:
        client = _client()
        loop = asyncio.get_running_loop()
        look_at = loop.time()
        while True:
            try:
                if loop.time() >= look_at:
                    look_at = loop.time() + LOOK_EVERY
                    self._taken.clear()
                    self.watched = await _watched(client)
                if self._waiting or self._tallies:
                    await self._push(client)
                self._fails = False
                await self._wait(look_at - loop.time())
            except Exception as error:  # whatever it is: samples may be lost, the task may not
                self._fail(error)
                await asyncio.sleep(AFTER_A_FAILURE)

    async def _wait(self, seconds: float) -> None:
        """Until there is something to push, or somebody to look for."""
        if not self._waiting and not self._tallies:
            self._news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(max(seconds, 0.01)):  # wait_for may swallow an end
                    await self._news.wait()

    async def _push(self, client: Any) -> None:
        """All that waits, in one round trip."""
        waiting, self._waiting = self._waiting, []
        tallies, self._tallies = self._tallies, Counter()
        pipe = client.pipeline(transaction=False)
        now = now_ms()
        for (prefix, kind), group in itertools.groupby(sorted(waiting, key=_list_of), key=_list_of):
            key = keys.samples(prefix, kind)
            # Thousandths keep the order of those that came together.
            pipe.zadd(key, {sample: now + i / 1_000 for i, (_, _, sample) in enumerate(group)})
            # By age too: where one a minute is refused, the key itself never ends.
            pipe.zremrangebyscore(key, "-inf", oldest(now))
            pipe.zremrangebyrank(key, 0, -KEPT[kind] - 1)
            pipe.expire(key, LASTS)
        second = now // 1_000
        for (prefix, what), count in tallies.items():
            key = keys.tally(prefix, second // 60)
            pipe.hincrby(key, f"{what}{second}", count)
            pipe.expire(key, TALLY_LASTS)
        await pipe.execute()
        await asyncio.sleep(PUSH_EVERY)

    def _fail(self, error: Exception) -> None:
        self.watched = frozenset()
        self._waiting.clear()
        self._tallies.clear()
        if not self._fails:
            log.warning("no samples for the event inspector", error=str(error))
        self._fails = True


sampler = Sampler()


def oldest(now: int) -> int:
    """The moment up to which samples are forgotten. Both in ms."""
    return now - LASTS * 1_000


_list_of = itemgetter(0, 1)  # prefix and kind
_SAID = {
    store.ACCEPTED: {"verdict": "accepted"},
    store.DUPLICATE: {"verdict": "duplicate"},
    store.CONFLICT: {
        "verdict": "duplicate",
        "message": "The first event with this event_id said something else; that one counts."
        " Make a new event_id for every event.",
    },
}


def _client() -> Any:
    return redis.asyncio.Redis.from_url(
        settings.BROKER_URL,
        retry=redis.asyncio.retry.Retry(NoBackoff(), 0),
        protocol=2,
        socket_timeout=1,
        socket_connect_timeout=1,
    )


async def _watched(client: Any) -> frozenset[int]:
    found = await client.zrange(
        keys.WATCHED, "+inf", now_ms(), desc=True, byscore=True, offset=0, num=MOST_WATCHED
    )
    return frozenset(map(int, found))


# What may be wrong with a heartbeat itself.
_OF_PINGS = frozenset((Reason.MISSING, Reason.INVALID, Reason.NIL_UUID, Reason.NUMBER_RANGE))


def _is_ping(payload: Any) -> bool:
    return isinstance(payload, dict) and payload.get("name") == "ping"


def _seen(payload: Any, item: Item, said: dict[str, str], now: int) -> bytes:
    """A sample of an event that came through: as received, and the row that it became."""
    _, is_cookieless, *_, line = item
    row = read_row(line)
    own_id = row["event_id"] if said["verdict"] == "accepted" else _new_id()
    dropped = {name for name in _WHO if not row.get(name)} - {"visitor"}
    received = _received(payload, SEEN, dropped | {"visitor"} if is_cookieless else dropped)
    return orjson.dumps({"id": own_id, "at": now, **said, "row": line.decode(), **received})


def _refused(
    payload: Any, refusal: dict[str, Any], record: Record, origin: Origin, now: int
) -> bytes:
    """A sample of a refused event. Of one that was refused for its visitor's privacy: the reason
    and nothing else."""
    sample = {"id": _new_id(), "at": now, "verdict": "refused"}
    sample |= {name: refusal.get(name, "") for name in ("reason", "field", "message")}
    if refusal["reason"] in UNSEEN:
        return orjson.dumps(sample)
    said = payload if isinstance(payload, dict) else {}
    sample |= {name: _text(said.get(name)) for name in ("name", "url")}
    is_nameless = record.cookieless or bool(origin.signal) or said.get("consent") == "cookieless"
    sample["visitor"] = "" if is_nameless else _text(said.get("visitor"))
    sample["country"] = places.country(origin.address)
    sample["bot"] = agents.identify(origin.agent).bot or origin.prefetch
    return orjson.dumps(sample | _received(payload, REFUSED, _WHO if is_nameless else set()))


def _new_id() -> str:
    return f"{os.getpid()}-{now_ms()}-{next(_count)}"


def _text(value: Any) -> str:
    """A field of a refused event, which may be anything."""
    text = value if isinstance(value, str) else ""
    return without_cards(text[:LONGEST_TEXT].encode(errors="replace").decode())


def _received(payload: Any, kind: str, dropped: Set[str]) -> dict[str, Any]:
    """The payload as text, without what the product never keeps: an address, a user agent, and
    the ids that were `dropped` because the visitor is counted without."""
    if isinstance(payload, dict):
        payload = {
            name: "(not kept)" if value and name in dropped else value
            for name, value in payload.items()
            if name not in _OWN_ORIGIN
        }
    try:
        text = orjson.dumps(payload, option=orjson.OPT_INDENT_2).decode()
    except TypeError:  # lone surrogates, numbers beyond 64 bits
        text = _dumped_slowly(payload)
    longest = LONGEST[kind]
    shown = without_cards(text[: longest + _BEYOND])[:longest]
    return {"received": shown, "cut": max(len(text) - longest, 0)}


def _dumped_slowly(payload: Any) -> str:
    try:
        return json.dumps(payload, indent=2)
    except (RecursionError, ValueError):  # too deep, or a number of thousands of digits
        return "(cannot be shown)"
