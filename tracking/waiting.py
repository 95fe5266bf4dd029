"""Who waits for the next call to Valkey, whose turn it is, and who is turned away.

In: tickets of judged requests. Out: the calls of the next round trip. The queue is bounded, for
what waits longer than its sender is lost work. Properties take turns, and when the queue is full
the one with the most waiting gives way, so that no property's flood is another's outage. Called
by gather.py; knows neither clock nor network.
"""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from tracking import keys, store
from tracking.directory import Record
from tracking.items import CALL_BYTES, CALL_ITEMS, Item, arguments, size_of

log = structlog.get_logger()

MOST_ITEMS = 8_192  # waiting, of all properties: under a second of work
MOST_BYTES = 16_000_000


@dataclass(slots=True)
class Ticket:
    """Items and refusals of one request (or a part of it), and who wants to hear of them.

    record None: nothing but refusals, for the instance-wide ledger. `now`: when it was received,
    in epoch ms. `tell` is called once, with a letter for each item or with an error.
    """

    record: Record | None
    refusals: Counter[str]
    items: Sequence[Item]
    now: int
    tell: Callable[[str, Exception | None], None]
    size: int = 0
    count: int = 0

    def __post_init__(self) -> None:
        self.size = sum(map(size_of, self.items))
        self.count = len(self.items) or 1

    @property
    def prefix(self) -> str:
        return self.record.prefix if self.record else keys.INSTANCE

    @property
    def call_key(self) -> tuple[int, int]:
        """Requests of a property that were judged by the same version of it share a call; those
        of two hours do not, for the ledger counts by hour of receipt."""
        return self.record.version if self.record else 0, self.now // 3_600_000


@dataclass(slots=True)
class Call:
    """One run of the script: tickets of one property, in order of arrival."""

    prefix: str
    key: tuple[int, int]
    tickets: list[Ticket] = field(default_factory=list)

    def arguments(self) -> list[Any]:
        record = self.tickets[0].record
        refusals: Counter[str] = Counter()
        items: list[Item] = []
        for ticket in self.tickets:
            items += ticket.items
            if ticket.refusals:
                refusals.update(ticket.refusals)
        now = max(ticket.now for ticket in self.tickets)
        version = record.version if record else ""
        return arguments(now, version, record.visitor_limit if record else 0, refusals, items)

    def settle(self, verdicts: str) -> None:
        """Raises ValueError, and tells nobody, when there is not one verdict for each item."""
        if len(verdicts) != sum(len(ticket.items) for ticket in self.tickets):
            raise ValueError(f"{len(verdicts)} verdicts do not fit the items.")
        at = 0
        for ticket in self.tickets:
            end = at + len(ticket.items)
            _tell(ticket, verdicts[at:end], None)
            at = end

    def fail(self, error: Exception) -> None:
        for ticket in self.tickets:
            _tell(ticket, "", error)


def _tell(ticket: Ticket, verdicts: str, error: Exception | None) -> None:
    """What goes wrong with one answer must not cost the others theirs."""
    try:
        ticket.tell(verdicts, error)
    except Exception:
        log.exception("answer not given")


@dataclass(slots=True)
class _Line:
    """The waiting tickets of one property, and how many items they hold."""

    prefix: str
    tickets: deque[Ticket] = field(default_factory=deque)
    items: int = 0


class Waiting:
    """Tickets in a line for each property; the line that was served last stands last."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}
        self.items = 0
        self.bytes = 0

    def is_full(self) -> bool:
        return self.items >= MOST_ITEMS or self.bytes >= MOST_BYTES

    def has_room_for(self, prefix: str) -> bool:
        """Whether a small request of this property would be taken now."""
        if not self.is_full():
            return True
        line = self._lines.get(prefix)
        return line is None or line is not self._longest()

    def add(self, tickets: Sequence[Ticket]) -> None:
        """All tickets of a request. Raises store.Busy, and takes none of them, when there is no
        room and its property's line is the longest."""
        prefix = tickets[0].prefix
        line = self._lines.get(prefix)
        if line is None:
            line = self._lines[prefix] = _Line(prefix)
        for ticket in tickets:
            line.tickets.append(ticket)
            line.items += ticket.count
            self.items += ticket.count
            self.bytes += ticket.size
        while self.items > MOST_ITEMS or self.bytes > MOST_BYTES:
            longest = self._longest()
            if longest is line:
                for _ in tickets:
                    self._pop_newest(line)
                raise store.Busy
            _tell(self._pop_newest(longest), "", store.Busy())

    def _longest(self) -> _Line:
        return max(self._lines.values(), key=lambda line: line.items)

    def _pop_newest(self, line: _Line) -> Ticket:
        ticket = line.tickets.pop()
        self._forget(line, ticket)
        if not line.tickets:
            del self._lines[line.prefix]
        return ticket

    def _forget(self, line: _Line, ticket: Ticket) -> None:
        line.items -= ticket.count
        self.items -= ticket.count
        self.bytes -= ticket.size

    def next_calls(self) -> list[Call]:
        """As many tickets as fit in one round trip, properties in turn; a call for each."""
        calls: dict[str, Call] = {}
        turns = deque(self._lines.values())
        items = size = 0
        while turns and items < CALL_ITEMS:
            line = turns[0]
            ticket = line.tickets[0]
            call = calls.get(line.prefix)
            fits = items + ticket.count <= CALL_ITEMS and size + ticket.size <= CALL_BYTES
            if (items and not fits) or (call is not None and call.key != ticket.call_key):
                turns.popleft()
                continue
            if call is None:
                call = calls[line.prefix] = Call(line.prefix, ticket.call_key)
            call.tickets.append(line.tickets.popleft())
            self._forget(line, ticket)
            items += ticket.count
            size += ticket.size
            if line.tickets:
                turns.rotate(-1)
            else:
                turns.popleft()
        for prefix in calls:  # who was served goes to the end
            line = self._lines.pop(prefix)
            if line.tickets:
                self._lines[prefix] = line
        return list(calls.values())

    def turn_away(self, prefix: str | None, error: Exception) -> None:
        """Nobody of this property (None: of any) needs to wait any longer."""
        for line in [self._lines.get(prefix)] if prefix else list(self._lines.values()):
            if line is not None:
                del self._lines[line.prefix]
                for ticket in line.tickets:
                    self._forget(line, ticket)
                    _tell(ticket, "", error)
