"""Which sessions have an event with each value of a dimension, value after value.

Enters: a Block of a day or a part of one with its events. Leaves: columns `sessions:page`, the
places of the sessions of each text of `event:page` (in the order of the texts, each session once a
text), and `many:page`, how many each text has. What has so many that a bit for every session takes
less has MARKED instead, and a row of bits in `marks:page`. So whoever wants to know who has seen a
page looks at those who have, and not at every event; and reads, of a large day, hardly more than
their part of the bytes. Called by reports/packing.py; read by reports/sums.py and
reports/members.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import psycopg

from properties.models import Property
from reports import metrics
from reports.blocks import LENGTHS, Block, Packed, dictionary_of, read_columns
from reports.columns import HEAD, Dictionary, Numbers, Unfit, layout_of, places_of
from reports.filters import Leaf

SESSIONS, MANY, MARKS = "sessions:", "many:", "marks:"
IN_PARTS = (SESSIONS, MARKS)  # columns that are read in parts
MARKED = -1
MOST = 20  # stretches of a block that are read by themselves


def columns_of(dimension: str) -> set[str]:
    """What tells of each value who has it."""
    return {SESSIONS + dimension, MANY + dimension, MARKS + dimension}


def make(block: Block) -> dict[str, Numbers]:
    """Those of every dimension that is summed."""
    found: dict[str, Numbers] = {}
    for dimension in metrics.DIMENSIONS.values():
        if dimension.summed:
            found |= postings_of(block, dimension.name)
    return found


def postings_of(block: Block, dimension: str) -> dict[str, Numbers]:
    """Those of one: its three columns by name."""
    texts = block.texts(f"event:{dimension}")
    count = len(block.lengths)
    bits = max(count - 1, 0).bit_length()
    pairs = np.unique(texts.codes.astype(np.int64) << bits | block.owners)
    codes, sessions = pairs >> bits, pairs & (1 << bits) - 1
    many = np.bincount(codes, minlength=len(texts))
    is_marked = many * -(-bits // 8) > -(-count // 8)  # bytes of one way, and of the other
    marks = np.zeros((np.count_nonzero(is_marked), count), dtype=bool)
    marked = is_marked[codes]
    marks[(np.cumsum(is_marked) - 1)[codes[marked]], sessions[marked]] = True
    return {
        SESSIONS + dimension: sessions[~marked],
        MANY + dimension: np.where(is_marked, MARKED, many),
        MARKS + dimension: np.packbits(marks, axis=1).ravel(),
    }


def pairs(block: Block, dimension: str, groups: Numbers) -> tuple[Numbers, Numbers]:
    """The group of each value (-1: none) and the place of each session that has it: each session
    once a value."""
    sessions = block.numbers(SESSIONS + dimension)
    many = block.numbers(MANY + dimension).astype(np.int64)
    of, who = _marked(block, dimension, many, groups)
    many[many == MARKED] = 0
    codes = np.flatnonzero((groups >= 0) & (many > 0))
    places = places_of((np.cumsum(many) - many)[codes], many[codes])
    return (
        np.concatenate([of, np.repeat(groups[codes], many[codes])]),
        np.concatenate([who, sessions[places]]),
    )


def _marked(
    block: Block, dimension: str, many: Numbers, groups: Numbers
) -> tuple[Numbers, Numbers]:
    """The same of the values that have a row of bits."""
    codes = np.flatnonzero(many == MARKED)
    wanted = np.flatnonzero(groups[codes] >= 0)
    if not len(wanted):
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    rows = block.numbers(MARKS + dimension).reshape(len(codes), -1)[wanted]
    found = _places(rows)
    of, who = np.divmod(found, 8 * rows.shape[1])
    return groups[codes[wanted]][of], who


def _places(bits: Numbers) -> Numbers:
    """Of the bits that are set. Those that fill up the last byte of a row are not."""
    return np.flatnonzero(np.unpackbits(bits).view(bool))  # of bytes it would take longer


# -- read in parts -----------------------------------------------------------------------------

# Where a stretch lies depends on how many bytes a number takes: the head says it in its second
# byte. `substring` reads no more of a value than it is asked for, as long as that is not packed.
# Which blocks and columns, is said twice: by the join alone the planner would go through all that
# the property has.
STRETCHES = """
SELECT w.number, h.head, substring(
    c.bits FROM %(behind)s + w.first * get_byte(h.head, 1) FOR w.many * get_byte(h.head, 1)
), c.xmin::text::bigint
FROM unnest(%(starts)s::timestamptz[], %(names)s::text[], %(firsts)s::int[], %(many)s::int[])
    WITH ORDINALITY AS w(starts_at, name, first, many, number)
JOIN columns AS c ON c.property_id = %(property)s AND c.grain = %(grain)s
    AND c.starts_at = w.starts_at AND c.name = w.name
CROSS JOIN LATERAL (SELECT substring(c.bits FROM 1 FOR %(head)s) AS head) AS h
WHERE c.starts_at = ANY(%(starts)s::timestamptz[]) AND c.name = ANY(%(names)s::text[])
ORDER BY w.number
"""

Test = Callable[[Dictionary], Numbers]  # by code: whether the text passes


class Having(NamedTuple):
    """Of a packed block, by filter, the places of the sessions with an event on which it holds;
    and which transaction has packed it."""

    version: int
    sessions: dict[Leaf, Numbers]


class _Stretch(NamedTuple):
    """Values that lie side by side, of the postings of a block; or the bits of one."""

    block: Block
    leaf: Leaf
    column: str
    first: int  # numbers before it
    many: int


def who_has(
    cursor: psycopg.Cursor, place: Property, several: Sequence[Packed], tests: Mapping[Leaf, Test]
) -> dict[datetime, Having] | None:
    """By block (all of one grain), reading no more of them than it takes: two statements for all.
    None where that would be many parts, or a block has no postings: then its events had better be
    looked at. Raises Unfit if a block is packed anew meanwhile."""
    if not several:
        return {}
    found = [Block(packed.span, {}) for packed in several]
    dimensions = sorted({leaf.dimension for leaf in tests})
    names = {name for each in dimensions for name in (dictionary_of(f"event:{each}"), MANY + each)}
    read_columns(cursor, place, several[0].grain, found, names | {LENGTHS})
    wanted: list[_Stretch] = []
    for block in found:
        if not names <= block.data.keys():
            return None
        for leaf, test in tests.items():
            some = list(_stretches(block, leaf, test))
            if len(some) > MOST:
                return None
            wanted += some
    parts: dict[tuple[datetime, Leaf], list[Numbers]] = {}
    read = _read(cursor, place, several[0].grain, wanted)
    for stretch, numbers in zip(wanted, read, strict=True):
        sessions = _places(numbers) if stretch.column.startswith(MARKS) else numbers
        parts.setdefault((stretch.block.span.start, stretch.leaf), []).append(sessions)
    nobody = [np.zeros(0, dtype=np.uint8)]
    return {
        block.span.start: Having(
            block.version,
            {leaf: np.concatenate(parts.get((block.span.start, leaf), nobody)) for leaf in tests},
        )
        for block in found
    }


def _stretches(block: Block, leaf: Leaf, test: Test) -> Iterator[_Stretch]:
    """What passes, together with what does beside it."""
    dimension = leaf.dimension
    many = block.numbers(MANY + dimension).astype(np.int64)
    passes = test(block.dictionary(leaf.column))
    bytes_of_row = -(-len(block.numbers(LENGTHS)) // 8)
    for row in np.flatnonzero(passes[many == MARKED]).tolist():
        first = row * bytes_of_row
        yield _Stretch(block, leaf, MARKS + dimension, first, bytes_of_row)
    many[many == MARKED] = 0
    codes = np.flatnonzero(passes & (many > 0))
    ends = np.cumsum(many)
    for some in np.split(codes, np.flatnonzero(np.diff(codes) > 1) + 1)[: MOST + 1]:
        if len(some):
            first = int(ends[some[0]] - many[some[0]])
            yield _Stretch(block, leaf, SESSIONS + dimension, first, int(ends[some[-1]]) - first)


def _read(
    cursor: psycopg.Cursor, place: Property, grain: str, wanted: Sequence[_Stretch]
) -> Iterator[Numbers]:
    """The sessions of each of these."""
    if not wanted:
        return
    values: dict[str, Any] = {"property": place.pk, "grain": grain}
    values |= {"head": HEAD, "behind": HEAD + 1}
    values |= {"starts": [stretch.block.span.start for stretch in wanted]}
    values |= {"names": [stretch.column for stretch in wanted]}
    values |= {"firsts": [stretch.first for stretch in wanted]}
    values |= {"many": [stretch.many for stretch in wanted]}
    cursor.execute(STRETCHES, values)
    found = cursor.fetchall()
    if len(found) < len(wanted):
        raise Unfit("A block has been dropped since it was found.")
    for stretch, (_, head, bits, version) in zip(wanted, found, strict=True):
        if version != stretch.block.version:
            raise Unfit(f"The block of {stretch.block.span.start} has been packed anew.")
        yield layout_of(head).numbers(bits, stretch.many)
