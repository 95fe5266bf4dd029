"""What the questions of one page have read already, so that the next one need not read it again.

A page asks half a dozen questions about the same days: cards beside each other read the same
columns, and each has the totals of everybody below it. Enters: what a route has read. Leaves: the
same for the next question of the page, within one transaction of one tenant; a Kept is never
shared by two requests. Filled by reports/rolled.py, reports/reading.py and reports/queries.py;
whoever asks a single question does without.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

from properties.periods import Range, Span
from reports.blocks import Block, Packed
from reports.columns import Numbers
from reports.dictionaries import Merged
from reports.filters import Node

Whole = tuple[Range, Node | None]  # a range, and whom it is narrowed to


@dataclass
class Kept:
    """`is_patient`: whether the statements of the transaction end in time (patience.py).
    `raw_since`: as tracking/keeping.py says it, by property. `complete`: up to when the reports are
    complete, once that was asked; None may be the answer. `totals`: base numbers of a range as a
    whole. `wanted`: columns that further questions about a range will need, so that its rows are
    not read twice."""

    is_patient: bool = False
    raw_since: dict[int, datetime | None] = field(default_factory=dict)
    complete: dict[int, datetime | None] = field(default_factory=dict)  # by property
    totals: dict[Whole, dict[str, int | None]] = field(default_factory=lambda: defaultdict(dict))
    packed: dict[Span, list[Packed]] = field(default_factory=dict)
    blocks: dict[Span, Block] = field(default_factory=dict)
    of_rows: dict[Span, Block] = field(default_factory=dict)  # their sessions are in another order
    wanted: dict[Span, set[str]] = field(default_factory=lambda: defaultdict(set))
    merged: dict[str, Merged] = field(default_factory=lambda: defaultdict(Merged))

    def without_totals(self, needs: Iterable[str]) -> Kept:
        """The same readings, for a question of which only the groups are wanted: its totals of
        these base numbers pass for known, and are never kept."""
        nothing: dict[str, int | None] = dict.fromkeys(needs, 0)
        return replace(self, totals=defaultdict(nothing.copy))

    @property
    def weight(self) -> int:
        """Bytes that the dictionaries hold, about."""
        return sum(merged.weight for merged in self.merged.values())

    def numbers_of(self, block: Block, name: str, together: str = "") -> Numbers:
        """The dictionary of a column of texts in numbers that hold in every block; in those that
        all columns have which are numbered `together`."""
        key = name, together or name
        if key not in block.numbered:
            block.numbered[key] = self.merged[key[1]].numbers(block.dictionary(name))
        return block.numbered[key]

    def number(self, name: str, value: str) -> int | None:
        """The number that a text has in a column's dictionary; None if it is not there."""
        return self.merged[name].find(value.encode())

    def value(self, name: str, number: int) -> str:
        """The text of a number that the column's dictionary gave."""
        return self.merged[name].value(number).decode()
