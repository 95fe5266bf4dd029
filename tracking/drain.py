"""The stream into Postgres, exactly once.

Enters: stream entries of a property (tracking/lua/accept.lua writes them). Leaves: what batch.py
makes of them, all in one transaction; then exactly these entries are deleted. Killed before
COMMIT, nothing has happened; killed after it, the entries are read again and known by their ids.
A row that Postgres cannot take goes to quarantine alone; when Postgres itself is away, the stream
waits. Called by tracking/tasks.py every second and by `manage.py drain`.

Properties with little to store share a transaction: a commit and some twenty statements cost as
much as hundreds of rows.
"""

import random
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import psycopg
import structlog
from django.db import DatabaseError, connections, transaction

from properties.models import Property
from tracking import faults, keys, tombstones
from tracking.arrivals import Arrival
from tracking.batch import Drained, Outcome, keep_conflict, store
from tracking.books import hour_of_receipt
from tracking.event import COLUMNS, LAYOUT, read_row
from tracking.models import DirtyHour
from tracking.sessions import epoch_ms
from tracking.store import events_client
from tracking.working import WORKER, clock_of, lock_each, transaction_of_worker

BATCH = 20_000  # entries of a transaction; the more, the fewer times a session is written
TOGETHER = 200  # properties of a transaction, each with a lock
READ = 1_000  # entries read or deleted by one command: collecting waits for it
BUDGET = 10.0  # seconds of a tick; what is left is the next one's
AT_ONCE = 1_000  # streams asked in one round trip
REASON_LENGTH = 300
ONE_HOUR = timedelta(hours=1)

# Faults of the data, and nothing that waiting would mend: bad values, broken rules, too large.
POISON = ("21", "22", "23", "54")

log = structlog.get_logger(__name__)


class Entries(NamedTuple):
    """The first entries of a property's stream."""

    place: Property
    entries: list[tuple[bytes, dict[bytes, bytes]]]


class Bad(NamedTuple):
    """An entry that cannot be stored, and why."""

    place: Property
    entry: bytes
    payload: bytes
    reason: str
    is_accepted: bool = True  # False: a conflict's payload, which stands nowhere in the ledger


class Sorted(NamedTuple):
    arrivals: list[Arrival]
    conflicts: list[Arrival]
    bad: list[Bad]


# -- all properties --------------------------------------------------------------------------


def drain_all(now: datetime | None = None) -> Drained:
    """Drain every property until nothing is left of what is in the streams now.

    Waits for other drains. Raises the first error after every property has had its turn.
    """
    total, error = Drained(), None
    for place, _ in waiting():
        try:
            total += drain_property(place)
        except (DatabaseError, psycopg.Error) as fault:
            error = error or fault
            _give_up(place, fault)
    if error:
        raise error
    return total


def drain_due(budget: float = BUDGET) -> Drained:
    """One tick: a batch of every property in turn, until nothing is left or time is up.

    Another order with every tick, so that when time is short it is not always the same who wait.
    Properties that another worker is draining are left to it; one that fails holds up no other.
    """
    deadline = time.monotonic() + budget
    total = Drained()
    due = list(waiting())
    random.shuffle(due)
    while due and time.monotonic() < deadline:
        going_on = []
        for bundle in _bundles(due):
            drained, left = _drain_bundle(bundle)
            total += drained
            going_on += left
            if time.monotonic() >= deadline:
                break
        due = list(zip(going_on, lengths(going_on), strict=True)) if going_on else []
    return total


def _bundles(due: Iterable[tuple[Property, int]]) -> Iterator[list[Property]]:
    """Properties that fit into one batch together; one with more than that stands alone."""
    bundle: list[Property] = []
    room = BATCH
    for place, length in due:
        if bundle and (length > room or len(bundle) >= TOGETHER):
            yield bundle
            bundle, room = [], BATCH
        bundle.append(place)
        room -= length
    if bundle:
        yield bundle


def _drain_bundle(bundle: list[Property]) -> tuple[Drained, list[Property]]:
    """A batch of each; if that fails, of each by itself, so that only the one at fault waits."""
    try:
        return drain_batch(bundle, wait=False)
    except (DatabaseError, psycopg.Error) as fault:
        if len(bundle) == 1:
            _give_up(bundle[0], fault)
            return Drained(), []
        connections[WORKER].close_if_unusable_or_obsolete()
    total, going_on = Drained(), []
    for place in bundle:
        drained, left = _drain_bundle([place])
        total += drained
        going_on += left
    return total, going_on


def waiting() -> Iterator[tuple[Property, int]]:
    """Properties with entries in their streams, and how many; the others are not even read."""
    places = Property.objects.across_accounts().using(WORKER)
    names = list(places.order_by("pk").values_list("account_id", "pk"))
    for chunk in chunks(names, AT_ONCE):
        found = _lengths(keys.stream(keys.prefix(*name)) for name in chunk)
        due = {pk: length for (_, pk), length in zip(chunk, found, strict=True) if length}
        read = places.in_bulk(due)
        yield from ((read[pk], length) for pk, length in due.items() if pk in read)


def lengths(places: Iterable[Property]) -> list[int]:
    """Entries in the stream of each property, in one round trip."""
    return _lengths(map(stream_of, places))


def _lengths(streams: Iterable[str]) -> list[int]:
    pipe = events_client().pipeline(transaction=False)
    for stream in streams:
        pipe.xlen(stream)
    return pipe.execute()


def _give_up(place: Property, fault: Exception) -> None:
    """Leave the entries in the stream for the next tick; a broken connection is not kept."""
    log.error("drain failed", property=place.key, error=f"{type(fault).__name__}: {fault}"[:500])
    connections[WORKER].close_if_unusable_or_obsolete()


# -- some properties -------------------------------------------------------------------------


def drain_property(place: Property) -> Drained:
    """Drain one property until what was in its stream is gone; ends under any load."""
    total = Drained()
    rounds = events_client().xlen(stream_of(place)) // BATCH + 1
    for _ in range(rounds):
        drained, going_on = drain_batch([place], wait=True)
        total += drained
        if not going_on:
            break
    return total


def drain_batch(places: Sequence[Property], *, wait: bool) -> tuple[Drained, list[Property]]:
    """Store up to BATCH entries of each. Returns what became of them and whose may have more."""
    with transaction_of_worker() as cursor:
        ours = lock_each(cursor, "drain", places, wait=wait)
        read = [found for place in ours if (found := _read(place)).entries]
        if not read:
            return Drained(), []
        outcome = _keep(cursor, read)
        outcome.books.write(cursor)
        faults.point("before_commit")
    faults.point("after_commit")
    for found in read:
        _delete(found)
    return outcome.drained, [place for place, entries in read if len(entries) >= BATCH]


def _read(place: Property) -> Entries:
    """Up to BATCH entries, by commands that keep nobody waiting for long."""
    found: list[tuple[bytes, dict[bytes, bytes]]] = []
    start = "-"
    while len(found) < BATCH:
        count = min(READ, BATCH - len(found))
        entries = events_client().xrange(stream_of(place), min=start, count=count)
        found += entries
        if len(entries) < count:
            break
        start = "(" + entries[-1][0].decode()
    return Entries(place, found)


def _delete(found: Entries) -> None:
    """Exactly these: entries that came meanwhile may have any place in the stream."""
    for chunk in chunks([entry for entry, _ in found.entries], READ):
        events_client().xdel(stream_of(found.place), *chunk)


def stream_of(place: Property) -> str:
    return keys.stream(keys.prefix(place.account_id, place.pk))


def chunks(things: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(things), size):
        yield things[start : start + size]


def _keep(cursor: Any, read: Iterable[Entries]) -> Outcome:
    found = _sort(read)
    tombstones.reopen(cursor, [*found.arrivals, *found.conflicts])
    outcome = _store_or_halve(cursor, found.arrivals)
    for arrival in found.conflicts:
        outcome += _keep_conflict(cursor, arrival)
    for bad in found.bad:
        outcome += _quarantine(cursor, bad)
    return outcome


def _sort(read: Iterable[Entries]) -> Sorted:
    """What can be seen of an entry without Postgres."""
    found = Sorted([], [], [])
    for place, entries in read:
        for entry, fields in entries:
            arrival = Arrival(place, entry, fields.get(b"n", b""), fields.get(b"d", b""))
            is_conflict = fields.get(b"k") == b"conflict"
            reason = _fault_of(fields, arrival, is_conflict)
            if reason:
                payload = b"\t".join((fields.get(b"v", b""), arrival.number, arrival.row))
                found.bad.append(Bad(place, entry, payload, reason, not is_conflict))
            elif is_conflict:
                found.conflicts.append(arrival)
            else:
                found.arrivals.append(arrival)
    return found


def _fault_of(fields: dict[bytes, bytes], arrival: Arrival, is_conflict: bool) -> str:
    if fields.get(b"v") != LAYOUT:
        return f"Layout {fields.get(b'v')!r} is not known to this version: update the worker."
    if not is_conflict and not arrival.number.isdigit():
        return f"The visitor number {arrival.number[:20]!r} is none."
    if b"\n" in arrival.row or b"\r" in arrival.row:
        return "The row holds a line break."
    if arrival.row.count(b"\t") != len(COLUMNS) - 1:
        return f"The row has not {len(COLUMNS)} fields."
    return ""


# -- what cannot be stored -------------------------------------------------------------------


def _store_or_halve(cursor: Any, arrivals: Sequence[Arrival]) -> Outcome:
    """Store the batch; if it is poisoned, its halves, until the bad row is alone."""
    if not arrivals:
        return Outcome()
    try:
        with transaction.atomic(using=WORKER):
            return store(cursor, arrivals)
    except (DatabaseError, psycopg.Error) as error:
        if not is_poison(error):
            raise
        if len(arrivals) == 1:
            return _quarantine(cursor, _as_bad(arrivals[0], error))
    middle = len(arrivals) // 2
    outcome = _store_or_halve(cursor, arrivals[:middle])
    outcome += _store_or_halve(cursor, arrivals[middle:])
    return outcome


def is_poison(error: BaseException) -> bool:
    """Whether the data is at fault. A lost connection, a lock, a full disk or a bug is not."""
    state = getattr(_cause(error), "sqlstate", None)
    return isinstance(state, str) and state.startswith(POISON)


def _cause(error: BaseException) -> BaseException:
    """The driver's error behind Django's."""
    return error.__cause__ if isinstance(error.__cause__, psycopg.Error) else error


def _as_bad(arrival: Arrival, error: BaseException) -> Bad:
    cause = _cause(error)
    diagnosis = getattr(cause, "diag", None)
    message = (diagnosis and diagnosis.message_primary) or type(cause).__name__
    payload = b"\t".join((LAYOUT, arrival.number, arrival.row))
    return Bad(
        arrival.place, arrival.entry, payload, f"{message} ({getattr(cause, 'sqlstate', '')})"
    )


QUARANTINE = """
INSERT INTO quarantined (account_id, property_id, entry, received_at, reason, payload)
VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""


def _quarantine(cursor: Any, bad: Bad) -> Outcome:
    place, row = bad.place, bad.payload.split(b"\t", 2)[2]
    received_at = _moment(row, "received_at") or _moment_of_entry(bad.entry)
    reason = bad.reason.replace("\0", "\N{REPLACEMENT CHARACTER}")[:REASON_LENGTH]
    values = [place.account_id, place.pk, bad.entry.decode(), received_at, reason, bad.payload]
    cursor.execute(QUARANTINE, values)
    outcome = Outcome()
    if cursor.rowcount == 0 or not bad.is_accepted:
        return outcome
    outcome.drained += Drained(quarantined=1)
    outcome.books.add(place, "quarantined", hour_of_receipt(received_at))
    # Valkey has counted it in its hour; when that cannot be read, in any hour that it counts.
    happened = _moment(row, "time")
    could_be = [happened] if happened else [received_at - hour * ONE_HOUR for hour in range(-1, 26)]
    clock = clock_of(place.timezone)
    hours = {clock.stamps(epoch_ms(moment))[1] for moment in could_be}
    outcome.books.mark(place, hours, DirtyHour.Why.RAW, received_at)
    return outcome


def _keep_conflict(cursor: Any, arrival: Arrival) -> Outcome:
    """The payload that Valkey saw under an id it knew; counted as a duplicate there already."""
    received_at = _moment(arrival.row, "received_at")
    try:
        with transaction.atomic(using=WORKER):
            event_id = arrival.row.split(b"\t", 1)[0].decode()
            moment = received_at or _moment_of_entry(arrival.entry)
            is_new = keep_conflict(cursor, arrival.place, event_id, moment, arrival.row)
    except (DatabaseError, psycopg.Error, UnicodeDecodeError) as error:
        if isinstance(error, DatabaseError | psycopg.Error) and not is_poison(error):
            raise
        return _quarantine(cursor, _as_bad(arrival, error)._replace(is_accepted=False))
    return Outcome(Drained(conflicts=int(is_new)))


def _moment(row: bytes, column: str) -> datetime | None:
    """A time of a row that may be anything; None if it cannot be read."""
    try:
        moment = datetime.fromisoformat(read_row(row)[column] or "")
        if moment.tzinfo and 1970 <= moment.year <= 2100:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    return None


def _moment_of_entry(entry: bytes) -> datetime:
    """When Valkey took the entry: its id begins with the server's milliseconds."""
    try:
        return datetime.fromtimestamp(int(entry.split(b"-")[0]) / 1000, UTC)
    except (ValueError, OverflowError):
        return datetime.fromtimestamp(0, UTC)
