"""How many visitors a filter means, from columns: what is asked while a segment is built.

Enters: a Plan that asks for visitors and for nothing else, and a Reader of its range. Leaves: how
many there are. No event is counted and nothing is kept of a day but who was there, so a day is
forgotten before the next one is read, but for the places of who passes a filter, which are read of
a few days at a time (postings.py); what bitmaps could have told is put together as they are
(crowds.py). Called by reports/columnar.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from properties.models import Property
from reports import crowds, filters, metrics
from reports.blocks import LENGTHS, VISITOR, Block
from reports.columns import Dictionary, Numbers
from reports.filters import Leaf, Node
from reports.kept import Kept
from reports.narrowing import View, apart, codes_hold
from reports.plans import Plan
from reports.postings import Having
from reports.reading import Reader

MOST = 8  # parts that are put together: each has a place for every visitor of the property

Asked = dict[Node | None, "Marked"]


@dataclass
class Marked:
    """Who has been met, by the visitors' numbers: as many as the next power of two."""

    table: Numbers = field(default_factory=lambda: np.zeros(1, dtype=bool))

    def add(self, who: Numbers) -> None:
        if len(who):
            self.reach(int(who.max()) + 1)
            self.table[who.astype(np.intp)] = True

    def reach(self, many: int) -> None:
        """Make place for so many."""
        if many > len(self.table):
            longer = np.zeros(1 << (many - 1).bit_length(), dtype=bool)
            longer[: len(self.table)] = self.table
            self.table = longer


def parts_of(plan: Plan) -> Asked | None:
    """What must be found out about each block; None where other numbers are asked for, or where
    visitors are asked for within what must hold on one event."""
    if plan.question.dimensions or {*plan.question.needs} != {metrics.VISITORS}:
        return None
    asked: Asked = {}

    def note(part: Node | None) -> Numbers:
        asked[part] = Marked()
        return np.zeros(0, dtype=bool)

    crowds.those(plan.tree, note)
    is_plain = all(_is_plain(part) for part in asked)
    return asked if is_plain and len(asked) <= MOST else None


def _is_plain(part: Node | None) -> bool:
    """Whether it looks at events and sessions only."""
    if part is None or isinstance(part, Leaf):
        return True
    return not any(filters.crowds(part)) and all(
        leaf.operator != "has_done" for leaf in filters.leaves(part)
    )


def count(place: Property, plan: Plan, asked: Asked, kept: Kept) -> tuple[int, Reader]:
    """How many visitors; and the reader, which knows from what."""
    meant = {part: _on_events(part) for part in asked}
    alone = _alone(meant.values())
    names = {VISITOR, LENGTHS}
    for part in meant.values():
        if part is not None:
            names |= {leaf.column for leaf in set(filters.leaves(part)) - alone}
    reader = Reader(place, plan, (), kept)

    def look(block: Block, having: Having | None) -> None:
        view = View(block, plan, {}, kept, having)
        for part, marked in asked.items():
            sessions = np.flatnonzero(view.passing(meant[part]))
            marked.add(block.numbers_at(VISITOR, sessions))

    reader.show(names, look, {leaf: partial(_holds, leaf, plan) for leaf in alone})
    many = max(len(marked.table) for marked in asked.values())
    for marked in asked.values():
        marked.reach(many)
    found = crowds.those(plan.tree, lambda part: asked[part].table)
    return int(np.count_nonzero(found)), reader


def _holds(leaf: Leaf, plan: Plan, texts: Dictionary) -> Numbers:
    return codes_hold(texts, leaf, plan)


def _alone(parts: Iterable[Node | None]) -> set[Leaf]:
    """Filters beside which no other looks at the same event, on dimensions of which no other part
    needs the events: of these it is enough to know in which sessions there is one."""
    found: set[Leaf] = set()
    others: set[str] = set()
    for part in parts:
        of_events, _ = apart(part)
        match of_events:
            case [Leaf() as leaf] if _has_postings(leaf):
                found.add(leaf)
            case _:
                others |= {leaf.column for node in of_events for leaf in filters.leaves(node)}
    return {leaf for leaf in found if leaf.column not in others}


def _has_postings(leaf: Leaf) -> bool:
    """Whether they tell it by less than the events do: all but some is nearly everything, and what
    an event is worth they do not know."""
    dimension = metrics.find_dimension(leaf.dimension)
    has_any = dimension is not None and dimension.summed
    return has_any and leaf.operator not in ("is_not", filters.WORTH)


def _on_events(part: Node | None) -> Node | None:
    """Whoever has done something has an event that is it."""
    if isinstance(part, Leaf) and part.operator == "has_done":
        return replace(part, operator="is")
    return part
