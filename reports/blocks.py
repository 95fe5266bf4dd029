"""Blocks: the events of a stretch of time and the sessions they belong to, column by column.

Enters: a property and a stretch. Leaves: a Block, read from the columns that the worker has packed;
reports/rows.py makes one of rows of `events` and `sessions`, and what is computed from either is
the same. Bots are left out. Called by reports/packing.py and by reports/reading.py.

A block's sessions are those with an event in the stretch: also those that began before it. Its
events are ordered by their session. Columns are named by what they belong to:

    session:visitor, :start (microseconds since the block's start, below 0: before it), :crosses
        (1: begins before the block, 2: goes on behind it, 3: both), :<dimension>, :<measure>
    visit:events, :pageviews: an event measure, summed over the session's events in the block
    event:time (microseconds since the block's start), :<dimension>, :worth (amount and currency,
        as filters.py writes them), :<measure>, :<sample> (-1: the event has none)
    texts:<dimension>: what texts `event:<dimension>` has, where a packed block keeps them apart,
        for whoever needs no row
    digest:<dimension>: by which these are known again (remembered.py)

What a packed block keeps besides is told where it is made: what its events and sessions come to
(reports/summing.py), and who has each value (reports/postings.py).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple, cast, get_args
from uuid import uuid4

import numpy as np
import psycopg
from django.db import DEFAULT_DB_ALIAS, connections
from psycopg import pq, sql

from properties.models import Property
from properties.periods import Span
from reports import columns, metrics, remembered
from reports.columns import Dictionary, Numbers, Unfit
from reports.dictionaries import Lexicon
from reports.filters import WORTHS
from reports.models import BlockGrain

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
AROUND = timedelta(days=2)  # longer than any day and an hour
FETCHED = 2_000  # rows that Postgres hands over at a time where it keeps the others

VISITOR, START, CROSSES = "session:visitor", "session:start", "session:crosses"
TIME = "event:time"
EACH_OF_ROWS, EACH_AMONG = 30, 16  # what looking at one costs, beside going through all
SLICE = 4_096  # sessions
LENGTHS = "visit:events"  # how many events each session has in the block
APART, DIGEST = "texts:", "digest:"


def microseconds(moment: datetime) -> int:
    """Since 1970, exactly."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def is_text(name: str) -> bool:
    """Whether a column holds texts: those of dimensions do, and that of what events are worth."""
    kind, _, rest = name.partition(":")
    if name == WORTHS:
        return True
    return kind in get_args(metrics.Scope) and metrics.find_dimension(rest) is not None


def dictionary_of(name: str) -> str:
    """The column of the texts of this one; "" where they stand in it."""
    scope, _, rest = name.partition(":")
    dimension = metrics.find_dimension(rest) if scope == "event" else None
    return APART + rest if dimension and dimension.summed else ""


def digest_of(apart: str) -> str:
    """The column that tells one such column of texts from others by a few bytes."""
    return DIGEST + apart.removeprefix(APART)


def _stored(names: Iterable[str]) -> set[str]:
    """These columns as they are packed."""
    found = set(names)
    return found | {apart for name in found if (apart := dictionary_of(name))}


@dataclass
class Block:
    """Columns by name, unpacked when they are asked for."""

    span: Span
    data: dict[str, Dictionary | Numbers | bytes] = field(default_factory=dict)
    has_all_props: bool = False  # a property of events without a column is empty in all of them
    version: int = 0  # which transaction has packed it
    _sampled: dict[str, tuple[Numbers, Numbers]] = field(default_factory=dict)
    numbered: dict[tuple[str, str], Numbers] = field(default_factory=dict)  # reports/kept.py
    lacks: set[str] = field(default_factory=set)  # columns that were looked for and are not there

    @cached_property
    def start(self) -> int:
        return microseconds(self.span.start)

    def numbers(self, name: str) -> Numbers:
        found = self._column(name)
        if isinstance(found, bytes):
            found = self.data[name] = columns.unpack_numbers(found)
        return cast(Numbers, found)

    def numbers_at(self, name: str, rows: Numbers) -> Numbers:
        """The numbers of some rows. Only theirs are unpacked, unless all are already."""
        found = self._column(name)
        if isinstance(found, bytes):
            return columns.unpack_numbers(found, rows)
        return cast(Numbers, found)[rows]

    def texts(self, name: str) -> Dictionary:
        found = self._column(name)
        if isinstance(found, bytes):
            if dictionary_of(name) in self.data:
                found = columns.unpack_codes(found, self.dictionary(name))
            else:
                found = columns.unpack_texts(found)
            self.data[name] = found
        return cast(Dictionary, found)

    def dictionary(self, name: str) -> Dictionary:
        """The texts of a column; which row has which, they need not tell."""
        apart = dictionary_of(name)
        found = self.data.get(apart)
        if found is None:
            return self.texts(name)
        if isinstance(found, bytes):
            found = self.data[apart] = columns.unpack_dictionary(found)
        return cast(Dictionary, found)

    def _column(self, name: str) -> Dictionary | Numbers | bytes:
        try:
            return self.data[name]
        except KeyError:
            if self.has_all_props and name.startswith(f"event:{metrics.PROPS}"):
                return columns.make_texts([""], np.zeros(self.events, dtype=np.uint8))
            raise Unfit(f"The block of {self.span.start} has no column {name}.") from None

    def sampled(self, name: str) -> tuple[Numbers, Numbers]:
        """The events that have a sample, by their places, and what it is of each."""
        if name not in self._sampled:
            found = self.numbers(f"event:{name}")
            places = (
                np.flatnonzero(found >= 0) if found.dtype.kind == "i" else np.arange(len(found))
            )
            self._sampled[name] = places, found[places].astype(np.int64)
        return self._sampled[name]

    @cached_property
    def lengths(self) -> Numbers:
        return self.numbers(LENGTHS).astype(np.int64)

    @cached_property
    def has_empty(self) -> bool:
        """Whether a session has no event in the block, its own having been erased, say."""
        return bool(self.numbers(LENGTHS).min(initial=1) == 0)

    @cached_property
    def every_event(self) -> Numbers:
        """The places of all events."""
        return np.arange(self.events, dtype=np.int64)

    @cached_property
    def events(self) -> int:
        """How many there are."""
        return int(self.lengths.sum())

    def owners_of(self, rows: Numbers) -> Numbers:
        """The sessions of some events, given by their places in order. Where they are few, theirs
        are looked up and not those of all events made."""
        if len(rows) == self.events:
            return self.owners
        if "owners" in self.__dict__ or 8 * len(rows) > self.events:
            return self.owners[rows]
        return np.searchsorted(self._ends, rows, side="right")

    def owning(self, rows: Numbers, among: Numbers | None = None) -> Numbers:
        """Which sessions (`among` these: True for each) have one of the events that are marked."""
        owners = self._few_owners(rows, among)
        if owners is None:
            sessions = self._owning(rows)
        else:
            sessions = np.zeros(len(self.numbers(LENGTHS)), dtype=bool)
            sessions[owners] = True
        return sessions if among is None else sessions & among

    def _owning(self, rows: Numbers) -> Numbers:
        """The same by counting: whether there are more up to the end of a session than up to that
        of the one before. A few thousand sessions at a time, for which memory is at hand: fresh
        memory costs more than the counting."""
        lengths = self.numbers(LENGTHS)
        sessions = np.empty(len(lengths), dtype=bool)
        first = 0
        for start in range(0, len(lengths), SLICE):
            ends = np.cumsum(lengths[start : start + SLICE], dtype=np.int64)
            up_to = np.zeros(ends[-1] + 1, dtype=np.int32)
            np.cumsum(rows[first : first + ends[-1]], out=up_to[1:])
            at_end = up_to.take(ends)
            part = sessions[start : start + SLICE]
            part[0] = at_end[0] > 0
            np.not_equal(at_end[1:], at_end[:-1], out=part[1:])
            first += int(ends[-1])
        return sessions

    def _few_owners(self, rows: Numbers, among: Numbers | None) -> Numbers | None:
        """The sessions of the marked events by their places, or of those of them that belong to
        `among`; None where neither are so few that it is cheaper than counting all of them."""
        if EACH_OF_ROWS * np.count_nonzero(rows) < len(rows):
            return np.searchsorted(self._ends, np.flatnonzero(rows), side="right")
        if among is None or EACH_AMONG * np.count_nonzero(among) > len(among):
            return None
        some = np.flatnonzero(among)
        lengths = self.lengths[some]
        places = columns.places_of(self._ends[some] - lengths, lengths)
        return np.repeat(some, lengths)[rows[places]]

    @cached_property
    def _ends(self) -> Numbers:
        """Behind the last event of each session."""
        return np.cumsum(self.numbers(LENGTHS), dtype=np.int64)

    def spread(self, sessions: Numbers) -> Numbers:
        """What is said of each session, of each of its events."""
        return np.repeat(sessions, self.lengths)

    @cached_property
    def owners(self) -> Numbers:
        """The session of each event, by its place among the block's sessions."""
        return np.repeat(np.arange(len(self.lengths), dtype=np.int64), self.lengths)


# -- packed ----------------------------------------------------------------------------------

PACKED = """
SELECT grain, starts_at, ends_at, props FROM packed_days
WHERE property_id = %(property)s AND state = 'd'
    AND starts_at < %(end)s AND ends_at > %(start)s
ORDER BY starts_at
"""

DIRTY = """
SELECT hour FROM dirty_hours
WHERE property_id = %(property)s AND hour > %(since)s AND hour < %(until)s ORDER BY hour
"""

# All columns of a block are of one transaction: what was packed anew meanwhile is known by that,
# and that a block is still there by a column that each has, asked for or not.
COLUMNS = """
SELECT starts_at, name, CASE WHEN name = ANY(%(names)s::text[]) THEN bits END, xmin::text::bigint
FROM columns
WHERE property_id = %(property)s AND grain = %(grain)s
    AND name = ANY(%(names)s::text[] || %(always)s::text)
    AND starts_at = ANY(%(starts)s::timestamptz[])
"""

ONE_BY_ONE = COLUMNS + "ORDER BY starts_at"


LARGEST = """
SELECT coalesce(max(length), 0) FROM (
    SELECT sum(octet_length(bits)) AS length FROM columns
    WHERE property_id = %(property)s AND name = ANY(%(names)s::text[])
        AND starts_at = ANY(%(starts)s::timestamptz[])
    GROUP BY grain, starts_at
) AS days
"""


class Packed(NamedTuple):
    """A day, or a part of one that is open, whose columns can be read."""

    grain: str
    span: Span
    has_all_props: bool


def all_packed(cursor: psycopg.Cursor, place: Property, within: Span) -> list[Packed]:
    """The packed days that the span touches, and parts of days where no day is, in order. Those of
    which something has changed since are not among them: compared here, for the planner would
    compare every day with every mark. Marks first: the rollup that deletes one says in the same
    transaction that its blocks are out of date.
    """
    values: dict[str, Any] = {"property": place.pk, "start": within.start, "end": within.end}
    values |= {"since": within.start - AROUND, "until": within.end + AROUND}
    cursor.execute(DIRTY, values)
    dirty = [hour for (hour,) in cursor.fetchall()]
    cursor.execute(PACKED, values)
    found = [Packed(grain, Span(start, end), props) for grain, start, end, props in cursor]
    found = [packed for packed in found if not _is_dirty(packed.span, dirty)]
    days = [packed for packed in found if packed.grain == BlockGrain.DAY]
    parts = [packed for packed in found if packed.grain != BlockGrain.DAY]
    return sorted([*days, *_beside(days, parts)], key=lambda packed: packed.span)


def _beside(days: Sequence[Packed], parts: Sequence[Packed]) -> Iterator[Packed]:
    """The parts of days that overlap no day and no larger part."""
    if not parts:
        return
    since, taken = parts[0].span.start, [day.span for day in days]
    taken = [span for span in taken if span.end > since]  # of a year of them, hardly one
    for part in sorted(parts, key=lambda packed: packed.span.length, reverse=True):
        if not any(part.span.overlaps(span) for span in taken):
            yield part
            taken.append(part.span)


def _is_dirty(span: Span, hours: Sequence[datetime]) -> bool:
    """Whether one of these hours (in order) touches the span."""
    place = bisect_right(hours, span.start - HOUR)
    return place < len(hours) and hours[place] < span.end


def read_columns(
    cursor: psycopg.Cursor,
    place: Property,
    grain: str,
    blocks: Sequence[Block],
    names: Iterable[str],
    *,
    remember: bool = True,
) -> None:
    """Give these packed blocks those of the columns that they have not got yet; dictionaries that
    this process remembers are not read. Raises Unfit if one of the blocks has been packed anew
    since some of its columns were read, or is gone."""
    wanted = _stored(names)
    missing = set().union(*(wanted - block.data.keys() - block.lacks for block in blocks))
    if not missing:
        return
    apart = {name for name in missing if name.startswith(APART)} if remember else set()
    _read_columns(cursor, place, grain, blocks, missing - apart | {*map(digest_of, apart)})
    lexicons = {name: remembered.lexicon(place.pk, name) for name in apart}
    for block in blocks:
        for name, lexicon in lexicons.items():
            _recall(block, name, lexicon)
    lacking = [apart - block.data.keys() - block.lacks for block in blocks]
    unknown = [block for block, some in zip(blocks, lacking, strict=True) if some]
    if unknown:
        _read_columns(cursor, place, grain, unknown, set().union(*lacking))
        for block in unknown:
            for name, lexicon in lexicons.items():
                _learn(block, name, lexicon)


def _read_columns(
    cursor: psycopg.Cursor,
    place: Property,
    grain: str,
    blocks: Sequence[Block],
    names: set[str],
) -> None:
    by_start = {block.span.start: block for block in blocks}
    cursor.execute(COLUMNS, _asked(place, grain, names, by_start))
    found: set[datetime] = set()
    for start, name, bits, version in cursor.fetchall():
        found.add(start)
        block = by_start[start]
        block.version = block.version or version
        if block.version != version:
            raise Unfit(f"The block of {start} has been packed anew.")
        if bits is not None:
            block.data.setdefault(name, bits)
    if found != by_start.keys():
        raise Unfit("A block has been dropped since it was found.")
    for block in blocks:
        block.lacks |= names - block.data.keys()


def _recall(block: Block, name: str, lexicon: Lexicon) -> None:
    """Give the block a dictionary that the process remembers."""
    digest = block.data.get(digest_of(name))
    if name not in block.data and isinstance(digest, bytes):
        known = lexicon.recall(digest)
        if known is not None:
            block.data[name] = known


def _learn(block: Block, name: str, lexicon: Lexicon) -> None:
    bits, digest = block.data.get(name), block.data.get(digest_of(name))
    if isinstance(bits, bytes) and isinstance(digest, bytes):
        block.data[name] = lexicon.learn(digest, columns.unpack_dictionary(bits))


def _asked(
    place: Property, grain: str, stored: Iterable[str], starts: Iterable[datetime]
) -> dict[str, Any]:
    found: dict[str, Any] = {"property": place.pk, "grain": grain, "always": LENGTHS}
    return found | {"names": sorted(stored), "starts": list(starts)}


def look_at_each(
    cursor: psycopg.Cursor,
    place: Property,
    several: Sequence[Packed],
    names: Iterable[str],
    look: Callable[[Block], None],
) -> None:
    """Show these packed blocks, all of one grain, with these columns, one after the other; nothing
    read is kept. To read all of them first would take memory that costs as much as the reading.
    Raises Unfit when `look` does, having read to the end: a statement that is cut off is one that
    has failed."""
    waiting = {packed.span.start: packed for packed in several}
    values = _asked(place, several[0].grain, _stored(names), waiting)
    unfit: Unfit | None = None
    for start, rows in groupby(cursor.stream(ONE_BY_ONE, values), itemgetter(0)):
        packed = waiting.pop(start)
        block = Block(packed.span, {}, packed.has_all_props)
        for _, name, bits, version in rows:
            block.version = version
            if bits is not None:
                block.data[name] = bits
        try:
            if unfit is None:
                look(block)
        except Unfit as error:
            unfit = error
    if unfit is not None:
        raise unfit
    for packed in waiting.values():  # its columns are gone since it was found
        look(Block(packed.span, {}, packed.has_all_props))


def largest(
    cursor: psycopg.Cursor, place: Property, packed: Iterable[Packed], names: Iterable[str]
) -> int:
    """Bytes of these columns of the block that has most; they are not read for it."""
    starts = [each.span.start for each in packed]
    wanted = {"property": place.pk, "names": sorted(_stored(names)), "starts": starts}
    cursor.execute(LARGEST, wanted)
    row = cursor.fetchone()
    return int(row[0]) if row else 0


@contextmanager
def binary_cursor(using: str = DEFAULT_DB_ALIAS) -> Iterator[psycopg.Cursor]:
    """A cursor of the running transaction that gets numbers and bytes as they are: as text,
    bytes would come in hex, twice as long. Django's own cursors cannot."""
    connections[using].ensure_connection()
    with psycopg.Cursor(connections[using].connection) as cursor:
        cursor.format = pq.Format.BINARY
        yield cursor


def row_by_row(
    text: sql.Composed, values: Mapping[str, Any], at_once: int = FETCHED
) -> Iterator[tuple[Any, ...]]:
    """The rows of a statement of the running transaction, of which Postgres keeps those that have
    not been taken: a client's cursor would hold them all."""
    connection = connections[DEFAULT_DB_ALIAS]
    connection.ensure_connection()
    with binary_cursor() as cursor:
        # All of them are wanted: the plan that gives the first ones soonest would be dearer.
        cursor.execute("SELECT set_config('cursor_tuple_fraction', '1', true)")
    with psycopg.ServerCursor(connection.connection, f"rows_{uuid4().hex}") as cursor:
        cursor.format = pq.Format.BINARY
        cursor.itersize = at_once
        cursor.execute(text, values)
        yield from cursor
