"""The blocks of a question's range: what is packed, and what lies between from rows.

Enters: a Plan. Leaves: Blocks, a few days at a time. Raises Unfit where too much would have to be
read as rows. Called by reports/columnar.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from datetime import datetime, timedelta
from functools import partial

import psycopg

from properties.models import Property
from properties.periods import Span
from reports import blocks, postings, rows
from reports.blocks import START, TIME, Block, Packed
from reports.columns import Unfit
from reports.filters import Leaf
from reports.kept import Kept
from reports.models import BlockGrain
from reports.plans import Plan
from reports.postings import Having, Test

AT_ONCE = 32  # packed days that are read together: bounds the memory of long ranges
MOST_ROWS = 200_000  # events read as rows; beyond, Postgres had better count them itself
# The same where nothing is packed: what small properties have in a month or a year.
FEW_ROWS = 50_000
# For files, which must not take more memory the longer they are, and may take their time.
ROWS_OF_A_FILE = 20_000
LARGEST_OF_A_FILE = 8_000_000  # bytes of the columns of a day


class Reader:
    """Gives the blocks of the range: what is packed, and what lies between from rows."""

    def __init__(
        self,
        place: Property,
        plan: Plan,
        others: Iterable[Plan],
        kept: Kept,
        *,
        is_file: bool = False,
    ) -> None:
        self.place, self.plan, self.kept, self.is_file = place, plan, kept, is_file
        self.asked = [plan, *others]
        self.names = set().union(*(some.columns for some in self.asked))
        within = plan.within.span
        if within not in kept.packed:
            with blocks.binary_cursor() as cursor:
                kept.packed[within] = blocks.all_packed(cursor, place, within)
        self.packed = kept.packed[within]
        lengths = (packed.span.length for packed in self.packed)
        # Hours as much as the days they make up. Then all of its blocks are kept.
        self.is_short = not is_file and sum(lengths, timedelta()) < timedelta(days=AT_ONCE + 1)
        self.at_once = 1 if is_file else AT_ONCE
        self.most = ROWS_OF_A_FILE if is_file else MOST_ROWS if self.packed else FEW_ROWS
        self.rows = list(_between([packed.span for packed in self.packed], plan.within.span))

    @property
    def many(self) -> int:
        """How many blocks there are."""
        return len(self.rows) + len(self.packed)

    def blocks(self, more: Set[str] = frozenset()) -> Iterator[Block]:
        """Blocks with the question's columns and these."""
        plan, place, names = self.plan, self.place, self.names | more
        with blocks.binary_cursor() as cursor:
            if self.is_file:
                largest = blocks.largest(cursor, place, self.packed, names | {TIME, START})
                if largest > LARGEST_OF_A_FILE:
                    raise Unfit("A day is too large to be held for a file.")
            for span in self.rows:
                yield self._of_rows(cursor, span, plan.columns_of(names, span))
            for packed in self._parts():
                part = [self._of_packed(each) for each in packed]
                grain, span = packed[0].grain, packed[0].span
                # Of a share of its groups a block has no sums.
                if plan.summed_by is not None and not plan.splits(span) and not self.is_file:
                    self._read_sums(cursor, grain, part)
                else:
                    needed = plan.columns_of(names, span)
                    self._read(cursor, grain, part, needed)
                yield from part

    def _read_sums(self, cursor: psycopg.Cursor, grain: str, part: list[Block]) -> None:
        """Whole blocks with their sums; those that have none with the columns to make them."""
        names = set().union(*(some.summed_columns for some in self.asked))
        self._read(cursor, grain, part, names)
        asked = [some for some in self.asked if some.summed_by is not None]
        old = [block for block in part if not all(some.has_sums(block) for some in asked)]
        if old:
            self._read(cursor, grain, old, self.names)

    def _read(self, cursor: psycopg.Cursor, grain: str, part: list[Block], names: set[str]) -> None:
        # A file is made in bounded memory, a day after the other.
        remember = not self.is_file
        blocks.read_columns(cursor, self.place, grain, part, names, remember=remember)

    def show(
        self,
        names: set[str],
        look: Callable[[Block, Having | None], None],
        tests: Mapping[Leaf, Test],
    ) -> None:
        """Show every block of the range with these columns. Nothing packed is kept, or summed.
        `tests`: filters on one event of which it is enough to know whose sessions have one: shown,
        where that is cheaper, instead of the columns that they look at."""
        plan, place = self.plan, self.place
        of_tests = {leaf.column for leaf in tests}
        with blocks.binary_cursor() as cursor:
            for span in self.rows:
                needed = plan.columns_of(names | of_tests, span)
                look(self._of_rows(cursor, span, needed), None)
            for part in self._parts():
                having = None
                if tests and not plan.splits(part[0].span):
                    having = postings.who_has(cursor, place, part, tests)
                more = of_tests if having is None else set()
                needed = plan.columns_of(names | more, part[0].span)
                blocks.look_at_each(cursor, place, part, needed, partial(_beside, look, having))

    def _parts(self) -> Iterator[list[Packed]]:
        """What is read together, a few blocks at a time: of one grain, and which reach over an
        edge, for of these more columns are needed."""
        for grain in BlockGrain:
            for is_cut in (True, False):
                alike = [
                    packed
                    for packed in self.packed
                    if packed.grain == grain and self.plan.splits(packed.span) == is_cut
                ]
                for start in range(0, len(alike), self.at_once):
                    yield alike[start : start + self.at_once]

    def _of_packed(self, packed: Packed) -> Block:
        found = self.kept.blocks.get(packed.span)
        if found is None:
            found = Block(packed.span, {}, packed.has_all_props)
            if self.is_short:
                self.kept.blocks[packed.span] = found
        return found

    def _of_rows(self, cursor: psycopg.Cursor, span: Span, names: set[str]) -> Block:
        """Rows are read with everything that the next questions will need, for reading them costs
        more than all of the counting."""
        found = self.kept.of_rows.get(span)
        if found is None or not names <= found.data.keys():
            wanted = (
                names
                | self.kept.wanted[self.plan.within.span]
                | (found.data.keys() if found else set())
            )
            found = rows.of_rows(cursor, self.place, span, wanted, most=self.most)
            if not self.is_file:
                self.kept.of_rows[span] = found
        return found


def _between(packed: Sequence[Span], within: Span) -> Iterator[Span]:
    """The parts of the range that nothing packed covers."""
    at: datetime = within.start
    for span in packed:
        if span.start < at and at != within.start:
            raise Unfit("Packed days overlap: the property has changed its zone.")
        if span.start > at:
            yield Span(at, span.start)
        at = max(at, span.end)
    if at < within.end:
        yield Span(at, within.end)


def _beside(
    look: Callable[[Block, Having | None], None],
    having: Mapping[datetime, Having] | None,
    block: Block,
) -> None:
    """Look at a block with what has been read of it before."""
    found = having[block.span.start] if having else None
    if found is not None and found.version != block.version:
        raise Unfit(f"The block of {block.span.start} has been packed anew.")
    look(block, found)
