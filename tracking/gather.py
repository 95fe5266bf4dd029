"""Calls to Valkey shared by the requests that arrive while one is under way.

In: tickets (judged requests) from many connections of one process. Out: their verdicts. Nobody
waits on a timer: when no call is under way a request goes out at once, alone; under load the
next call carries all that came meanwhile, bounded in items and bytes. This is what makes one
fsync serve many events, so that `appendfsync always` costs little.

When more comes than Valkey takes, waiting.py says whose turn it is and who is turned
away.
"""

import asyncio
import re
from collections import Counter
from typing import Any

import redis.exceptions
import structlog

from tracking import directory, store
from tracking.directory import Record
from tracking.items import Item, chunks
from tracking.waiting import Call, Ticket, Waiting

log = structlog.get_logger()

_PROPERTY = re.compile(rb'"property"\s*:\s*"([A-Za-z0-9_-]{1,64})"')
_LOST = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError)


class Gatherer:
    """One for each event loop; holds the loop's client."""

    def __init__(self) -> None:
        self.waiting = Waiting()
        self._client = store.events_client_async()
        self._is_cluster = store.is_cluster()
        self._runner: asyncio.Task[None] | None = None

    async def submit(
        self, record: Record | None, refusals: Counter[str], items: list[Item], now: int
    ) -> str:
        """Verdicts of the items received at `now`, a letter each, once they are on disk.

        Raises store.Stale, store.Busy and store.Unavailable.
        """
        loop = asyncio.get_running_loop()
        parts = chunks(items) or [[]]
        answers: list[asyncio.Future[str]] = [loop.create_future() for _ in parts]
        # Refusals go last: a property that changes half-way is judged again, refusals and all.
        counted = [Counter[str]()] * (len(parts) - 1) + [refusals]
        self.offer(
            *(
                Ticket(record, count, part, now, _Telling(answer))
                for count, part, answer in zip(counted, parts, answers, strict=True)
            )
        )
        verdicts = await asyncio.gather(*answers, return_exceptions=True)
        for verdict in verdicts:
            if isinstance(verdict, BaseException):
                raise verdict
        return "".join(map(str, verdicts))

    def offer(self, *tickets: Ticket) -> None:
        """Take the tickets of a request. Each one's `tell` is called with its verdicts, or with
        why there are none. Raises store.Busy."""
        self.waiting.add(tickets)
        if self._runner is None or self._runner.done():
            self._runner = asyncio.get_running_loop().create_task(self._run())

    def turns_away(self, body: bytes) -> bool:
        """Whether a request with this body, still unread, would find no room: too much is
        waiting, and most of it for the property that it seems to be for."""
        if not self.waiting.is_full():
            return False
        named = _PROPERTY.search(body)
        try:
            record = directory.recall(named[1].decode()) if named else None
        except directory.Unknown:
            record = None
        return record is None or not self.waiting.has_room_for(record.prefix)

    async def _run(self) -> None:
        while calls := self.waiting.next_calls():
            try:
                await self._send(calls)
            except Exception as error:  # whatever it is, nobody may be left waiting
                log.error("collector call failed", error=str(error), exc_info=True)
                for call in calls:
                    call.fail(store.Unavailable(str(error)))

    async def _send(self, calls: list[Call], cold_before: bool = False) -> None:
        answers = await self._ask(calls)
        cold: list[Call] = []
        unloaded: list[Call] = []
        for call, answer in zip(calls, answers, strict=True):
            if isinstance(answer, redis.exceptions.NoScriptError):
                unloaded.append(call)
            elif isinstance(answer, Exception):
                call.fail(store.Unavailable(str(answer)))
                if isinstance(answer, _LOST):
                    # Who waits for a server that did not answer would wait for its own time-out,
                    # one after the other. On a cluster the other properties' nodes are well.
                    lost = call.prefix if self._is_cluster else None
                    self.waiting.turn_away(lost, store.Unavailable(str(answer)))
            else:
                self._settle(call, answer, cold)
        if unloaded:
            await self._client.script_load(store.ACCEPT.text)
            await self._send(unloaded, cold_before)
        if cold:
            await self._warm(cold, cold_before)

    async def _ask(self, calls: list[Call]) -> list[Any]:
        """The script's answer, or the error, of every call; one round trip on a single server."""
        if len(calls) == 1 or self._is_cluster:
            # A cluster's pipeline takes no scripts, and its nodes are asked side by side anyway.
            return await asyncio.gather(*(self._ask_one(call) for call in calls))
        pipe = self._client.pipeline(transaction=False)
        for call in calls:
            self._evaluate(pipe, call)
        answer = await _caught(pipe.execute(raise_on_error=False))
        return [answer] * len(calls) if isinstance(answer, Exception) else answer

    async def _ask_one(self, call: Call) -> Any:
        try:
            return await _caught(self._evaluate(self._client, call))
        except AttributeError:
            # redis-py: a cluster's client that learns its nodes anew takes the connection from
            # whoever is about to send by it. Nothing was sent.
            return await _caught(self._evaluate(self._client, call))

    @staticmethod
    def _evaluate(target: Any, call: Call) -> Any:
        return target.evalsha(store.ACCEPT.sha, 1, call.prefix, *call.arguments())

    def _settle(self, call: Call, answer: Any, cold: list[Call]) -> None:
        try:
            call.settle(store.read_answer(answer))
        except store.Cold:
            cold.append(call)
        except store.Stale as stale:
            call.fail(stale)

    async def _warm(self, cold: list[Call], cold_before: bool) -> None:
        """Restore the memory of cold properties and call again, once."""
        ready: list[Call] = []
        for call in cold:
            record = call.tickets[0].record
            assert record is not None
            if cold_before:
                call.fail(store.Unavailable("The memory of the property does not last."))
                continue
            try:
                await store.in_thread(store.restore, record, call.tickets[0].now)
            except Exception as error:  # Postgres or Valkey: either way not sure
                call.fail(store.Unavailable(str(error)))
            else:
                ready.append(call)
        if ready:
            await self._send(ready, cold_before=True)


_gatherer: tuple[asyncio.AbstractEventLoop, Gatherer] | None = None


def gatherer() -> Gatherer:
    """The running loop's gatherer."""
    global _gatherer
    loop = asyncio.get_running_loop()
    if _gatherer is None or _gatherer[0] is not loop:
        _gatherer = (loop, Gatherer())
    return _gatherer[1]


class _Telling:
    """Tells a coroutine what becomes of its ticket; a cancelled one hears nothing."""

    __slots__ = ("_answer",)

    def __init__(self, answer: asyncio.Future[str]) -> None:
        self._answer = answer

    def __call__(self, verdicts: str, error: Exception | None) -> None:
        if self._answer.done():
            return
        if error is None:
            self._answer.set_result(verdicts)
        else:
            self._answer.set_exception(error)


async def _caught(waiting: Any) -> Any:
    try:
        return await waiting
    except (redis.exceptions.RedisError, OSError) as error:
        return error
