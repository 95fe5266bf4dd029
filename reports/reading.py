"""The blocks of a question's range: packed days, and what lies between them from rows.

Enters: a Plan. Leaves: Blocks, a few days at a time. Raises Unfit where too much would have to be
read as rows. Called by reports/columnar.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from datetime import datetime

from properties.models import Property
from properties.periods import Span
from reports import blocks
from reports.blocks import Block
from reports.columns import Unfit
from reports.plans import Plan

AT_ONCE = 32  # packed days that are read together: bounds the memory of long ranges
MOST_ROWS = 200_000  # events read as rows; beyond, Postgres had better count them itself
FEW_ROWS = (
    50_000  # the same where no day is packed: what small properties have in a month or a year
)


class Reader:
    """Gives the blocks of the range: packed days, and what lies between them from rows."""

    def __init__(self, place: Property, plan: Plan, names: set[str]) -> None:
        self.place, self.plan, self.names = place, plan, names
        self.kept: list[Block] | None = None
        with blocks.binary_cursor() as cursor:
            self.days = blocks.packed_days(cursor, place, plan.within.span)
        self.most = MOST_ROWS if self.days else FEW_ROWS
        self.rows = list(_between([day.span for day in self.days], plan.within.span))

    def blocks(self, names: Set[str] = frozenset(), *, again: bool = False) -> Iterator[Block]:
        """Blocks with the question's columns and these; `again`: they will be asked for once more,
        and so are kept if they are not too many."""
        if self.kept is None and again and len(self.days) <= AT_ONCE:
            self.kept = list(self._read(self.names | names))
        yield from self.kept or self._read(self.names | names)

    def _read(self, names: set[str]) -> Iterator[Block]:
        plan, place = self.plan, self.place
        cut = [day for day in self.days if plan.splits(day.span)]
        whole = [day for day in self.days if not plan.splits(day.span)]
        with blocks.binary_cursor() as cursor:
            for span in self.rows:
                needed = plan.columns_of(names, span)
                yield blocks.of_rows(cursor, place, span, needed, most=self.most)
            for some in (cut, whole):
                for start in range(0, len(some), AT_ONCE):
                    part = some[start : start + AT_ONCE]
                    needed = plan.columns_of(names, part[0].span)
                    yield from blocks.packed(cursor, place, part, needed)


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
