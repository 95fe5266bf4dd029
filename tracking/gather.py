"""Calls to Valkey shared by the requests that arrive while one is under way.

In: hearings (judged requests) from many coroutines of one process. Out: their verdicts. Nobody
waits on a timer: when no call is under way a request goes out at once, alone; under load the
next call carries all that came meanwhile, bounded in items and bytes. This is what makes one
fsync serve many events, so that `appendfsync always` costs little.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import redis.exceptions
import structlog

from tracking import keys, store
from tracking.directory import Record

log = structlog.get_logger()

MOST_WAITING = 20_000  # requests; some 20 MB, far more than a second's worth
_LOST = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError)


@dataclass(slots=True)
class Ticket:
    """Items and refusals of one request (or a part of it), and the future of its verdicts.

    record None: nothing but refusals, for the instance-wide ledger. `now`: when it was received,
    in epoch ms.
    """

    record: Record | None
    refusals: Counter[str]
    items: list[store.Item]
    now: int
    verdicts: asyncio.Future[list[str]]
    size: int = 0

    @property
    def call_key(self) -> tuple[str, int | str, int]:
        """Requests of the same property, judged by the same version of it, share a call; those of
        two hours do not, for the ledger counts by hour of receipt."""
        hour = self.now // 3_600_000
        if self.record is None:
            return keys.INSTANCE, "", hour
        return self.record.prefix, self.record.version, hour


@dataclass(slots=True)
class Call:
    """One run of the script: the tickets of one property, in order of arrival."""

    tickets: list[Ticket] = field(default_factory=list)

    @property
    def prefix(self) -> str:
        return self.tickets[0].call_key[0]

    def arguments(self) -> list[Any]:
        record = self.tickets[0].record
        now = max(ticket.now for ticket in self.tickets)
        refusals: Counter[str] = Counter()
        for ticket in self.tickets:
            refusals.update(ticket.refusals)
        items = [item for ticket in self.tickets for item in ticket.items]
        version = record.version if record else ""
        return store.arguments(now, version, record.visitor_limit if record else 0, refusals, items)

    def settle(self, verdicts: list[str]) -> None:
        at = 0
        for ticket in self.tickets:
            if not ticket.verdicts.done():
                ticket.verdicts.set_result(verdicts[at : at + len(ticket.items)])
            at += len(ticket.items)

    def fail(self, error: Exception) -> None:
        for ticket in self.tickets:
            if not ticket.verdicts.done():
                ticket.verdicts.set_exception(error)


class Gatherer:
    """One for each event loop; holds the loop's client."""

    def __init__(self) -> None:
        self._client = store.events_client_async()
        self._is_cluster = store.is_cluster()
        self._waiting: list[Ticket] = []
        self._runner: asyncio.Task[None] | None = None

    async def submit(
        self, record: Record | None, refusals: Counter[str], items: list[store.Item], now: int
    ) -> list[str]:
        """Verdicts of the items received at `now`, once they are on disk.

        Raises store.Stale and store.Unavailable.
        """
        if len(self._waiting) >= MOST_WAITING:
            raise store.Unavailable("Too many requests are waiting for Valkey.")
        loop = asyncio.get_running_loop()
        parts = store.chunks(items) or [[]]
        # Refusals go last: a property that changes half-way is judged again, refusals and all.
        tickets = [
            Ticket(
                record,
                refusals if chunk is parts[-1] else Counter(),
                chunk,
                now,
                loop.create_future(),
                sum(map(store.size_of, chunk)),
            )
            for chunk in parts
        ]
        self._waiting += tickets
        if self._runner is None or self._runner.done():
            self._runner = loop.create_task(self._run())
        answers = await asyncio.gather(*(t.verdicts for t in tickets), return_exceptions=True)
        verdicts: list[str] = []
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
            verdicts += answer
        return verdicts

    async def _run(self) -> None:
        while self._waiting:
            calls = self._next_calls()
            try:
                await self._send(calls)
            except Exception as error:  # whatever it is, nobody may be left waiting
                log.error("collector call failed", error=str(error), exc_info=True)
                for call in calls:
                    call.fail(store.Unavailable(str(error)))

    def _next_calls(self) -> list[Call]:
        """As many waiting tickets as fit in one round trip, one call for each property."""
        calls: dict[tuple[str, int | str, int], Call] = {}
        count = size = taken = 0
        for ticket in self._waiting:
            if taken and (
                count + len(ticket.items) > store.CALL_ITEMS
                or size + ticket.size > store.CALL_BYTES
            ):
                break
            calls.setdefault(ticket.call_key, Call()).tickets.append(ticket)
            count += len(ticket.items)
            size += ticket.size
            taken += 1
        del self._waiting[:taken]
        return list(calls.values())

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
                    self._turn_away(call, answer)
            else:
                self._settle(call, answer, cold)
        if unloaded:
            await self._client.script_load(store.ACCEPT.text)
            await self._send(unloaded, cold_before)
        if cold:
            await self._warm(cold, cold_before)

    def _turn_away(self, lost: Call, error: Exception) -> None:
        """A server that did not answer is not asked again for everybody who waits: each of them
        would wait for its own time-out, one after the other. On a cluster only those of the same
        property, for the other nodes are well."""
        staying = []
        for ticket in self._waiting:
            if self._is_cluster and ticket.call_key[0] != lost.prefix:
                staying.append(ticket)
            elif not ticket.verdicts.done():
                ticket.verdicts.set_exception(store.Unavailable(str(error)))
        self._waiting = staying

    async def _ask(self, calls: list[Call]) -> list[Any]:
        """The script's answer, or the error, of every call; one round trip on a single server."""
        if len(calls) == 1 or self._is_cluster:
            # A cluster's pipeline takes no scripts, and its nodes are asked side by side anyway.
            return await asyncio.gather(
                *(_caught(self._evaluate(self._client, call)) for call in calls)
            )
        pipe = self._client.pipeline(transaction=False)
        for call in calls:
            self._evaluate(pipe, call)
        answer = await _caught(pipe.execute(raise_on_error=False))
        return [answer] * len(calls) if isinstance(answer, Exception) else answer

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


async def _caught(waiting: Any) -> Any:
    try:
        return await waiting
    except (redis.exceptions.RedisError, OSError) as error:
        return error
