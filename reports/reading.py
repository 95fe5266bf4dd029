"""The blocks of a question's range: packed days, and what lies between them from rows.

Enters: a Plan. Leaves: Blocks, a few days at a time. Raises Unfit where too much would have to be
read as rows. Called by reports/columnar.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from datetime import datetime

import psycopg

from properties.models import Property
from properties.periods import Span
from reports import blocks
from reports.blocks import Block, Day
from reports.columns import Unfit
from reports.kept import Kept
from reports.plans import Plan

AT_ONCE = 32  # packed days that are read together: bounds the memory of long ranges
MOST_ROWS = 200_000  # events read as rows; beyond, Postgres had better count them itself
FEW_ROWS = (
    50_000  # the same where no day is packed: what small properties have in a month or a year
)


class Reader:
    """Gives the blocks of the range: packed days, and what lies between them from rows."""

    def __init__(self, place: Property, plan: Plan, names: set[str], kept: Kept) -> None:
        self.place, self.plan, self.names, self.kept = place, plan, names, kept
        within = plan.within.span
        if within not in kept.days:
            with blocks.binary_cursor() as cursor:
                kept.days[within] = blocks.packed_days(cursor, place, within)
        self.days = kept.days[within]
        self.is_short = len(self.days) <= AT_ONCE  # then all of its blocks are kept
        self.most = MOST_ROWS if self.days else FEW_ROWS
        self.rows = list(_between([day.span for day in self.days], plan.within.span))

    def blocks(self, more: Set[str] = frozenset()) -> Iterator[Block]:
        """Blocks with the question's columns and these."""
        plan, place, names = self.plan, self.place, self.names | more
        cut = [day for day in self.days if plan.splits(day.span)]
        whole = [day for day in self.days if not plan.splits(day.span)]
        with blocks.binary_cursor() as cursor:
            for span in self.rows:
                yield self._of_rows(cursor, span, plan.columns_of(names, span))
            for some in (cut, whole):
                for start in range(0, len(some), AT_ONCE):
                    part = [self._of_day(day) for day in some[start : start + AT_ONCE]]
                    needed = plan.columns_of(names, part[0].span)
                    blocks.read_columns(cursor, place, part, needed)
                    yield from part

    def _of_day(self, day: Day) -> Block:
        found = self.kept.blocks.get(day.span)
        if found is None:
            found = Block(day.span, {}, day.has_all_props)
            if self.is_short:
                self.kept.blocks[day.span] = found
        return found

    def _of_rows(self, cursor: psycopg.Cursor, span: Span, names: set[str]) -> Block:
        """Rows are read with everything that the next questions will need, for reading them costs
        more than all of the counting."""
        found = self.kept.blocks.get(span)
        if found is None or not names <= found.data.keys():
            wanted = (
                names
                | self.kept.wanted[self.plan.within.span]
                | (found.data.keys() if found else set())
            )
            found = blocks.of_rows(cursor, self.place, span, wanted, most=self.most)
            self.kept.blocks[span] = found
        return found


def _between(days: Sequence[Span], within: Span) -> Iterator[Span]:
    """The parts of the range that no packed day covers."""
    at: datetime = within.start
    for day in days:
        if day.start < at and at != within.start:
            raise Unfit("Packed days overlap: the property has changed its zone.")
        if day.start > at:
            yield Span(at, day.start)
        at = max(at, day.end)
    if at < within.end:
        yield Span(at, within.end)
