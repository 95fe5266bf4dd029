"""A block, narrowed to what a question is about: its events, or only its sessions.

Enters: a Block and a Plan. Leaves: a View with the places of the rows that match. Whom `has_done`
and "visitor" mean is found first, in the whole range. Called by reports/columnar.py;
reports/sums.py adds up what a View leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, reduce
from typing import TypeVar

import numpy as np

from reports import filters
from reports.blocks import CROSSES, LENGTHS, START, TIME, VISITOR, Block
from reports.columns import Dictionary, Numbers
from reports.kept import Kept
from reports.plans import Plan
from reports.postings import Having
from reports.reading import Reader

Meant = dict[filters.Node, Numbers]  # by the visitor's number: whether she is among them


def who_are_meant(plan: Plan, reader: Reader) -> Meant:
    """Whom `has_done` and "visitor" mean: found in the whole range before anything is counted."""
    done = {leaf for leaf in plan.all_leaves if leaf.operator == "has_done"}
    inside = {leaf for crowd in plan.crowds for leaf in filters.leaves(crowd.parts[0])}
    names = {VISITOR, LENGTHS} | {f"event:{leaf.dimension}" for leaf in done}
    names |= {leaf.column for leaf in inside if leaf.operator != "has_done"}
    meant = _who(reader, done, names, lambda leaf, block: _did(leaf, block, plan)) if done else {}
    if plan.crowds:
        meant |= _who(
            reader,
            plan.crowds,
            names,
            lambda crowd, block: View(block, plan, meant, reader.kept).passing(crowd.parts[0]),
        )
    return meant


N = TypeVar("N", bound=filters.Node)


def _who(
    reader: Reader, asked: Iterable[N], names: set[str], sessions: Callable[[N, Block], Numbers]
) -> Meant:
    """Whose sessions are among those that `sessions` says of any block."""
    found: dict[N, list[Numbers]] = {node: [] for node in asked}
    for block in reader.blocks(names):
        for node, parts in found.items():
            parts.append(block.numbers(VISITOR)[sessions(node, block)])
    return {node: _table(parts) for node, parts in found.items()}


def _did(leaf: filters.Leaf, block: Block, plan: Plan) -> Numbers:
    """Sessions with such an event, or on such a page, in the range."""
    rows = texts_hold(block, f"event:{leaf.dimension}", leaf, plan)
    if plan.splits(block.span):
        rows = rows & inside(block.numbers(TIME), block, plan)
    return block.owning(rows)


def apart(node: filters.Node | None) -> tuple[list[filters.Node], list[filters.Node]]:
    """What must hold together, apart: what looks at events, and what only at their sessions."""
    if node is None:
        return [], []
    is_all = isinstance(node, filters.Branch) and node.joint == "and"
    parts = node.parts if is_all else (node,)  # type: ignore[union-attr]
    of_events = [part for part in parts if _is_of_events(part)]
    return of_events, [part for part in parts if part not in of_events]


def _is_of_events(node: filters.Node) -> bool:
    return any(leaf.scope == "event" for leaf in filters.leaves(node))


def _all_of(rows: Sequence[Numbers]) -> Numbers:
    """Where all of these hold. One after the other: a table of them would be copied first."""
    return reduce(np.logical_and, rows)


def _table(parts: Sequence[Numbers]) -> Numbers:
    """Whose numbers are among these; the last place, beyond all of them, is False."""
    highest = max((int(part.max()) for part in parts if len(part)), default=0)
    table = np.zeros(highest + 2, dtype=bool)
    for part in parts:
        table[part] = True
    return table


def inside(offsets: Numbers, block: Block, plan: Plan) -> Numbers:
    """Which of these moments lie in the range."""
    first, last = plan.edges
    moments = offsets.astype(np.int64) + block.start
    return (moments >= first) & (moments < last)


def codes_hold(texts: Dictionary, leaf: filters.Leaf, plan: Plan) -> Numbers:
    """By code: whether the filter lets the text pass."""
    if leaf in plan.judged:
        return plan.judged[leaf].codes(texts)
    found = np.zeros(len(texts), dtype=bool)
    found[texts.codes_of([value.encode() for value in leaf.values])] = True
    return ~found if leaf.operator == "is_not" else found


def texts_hold(block: Block, name: str, leaf: filters.Leaf, plan: Plan) -> Numbers:
    texts = block.texts(name)
    if leaf in plan.judged:
        return plan.judged[leaf].rows(texts)
    found = texts.is_any([value.encode() for value in leaf.values])
    return ~found if leaf.operator == "is_not" else found


class View:
    """The rows of a block that a question is about: its events, or only its sessions."""

    def __init__(
        self, block: Block, plan: Plan, meant: Meant, kept: Kept, having: Having | None = None
    ) -> None:
        self.block, self.plan, self.meant, self.kept = block, plan, meant, kept
        self.having = having.sessions if having else {}
        self.is_cut = plan.splits(block.span)
        self.by_event = plan.names_event or self.is_cut

    def serves(self, plan: Plan) -> bool:
        """Whether another plan, of the same question without its dimensions, sees the same."""
        is_cut = plan.splits(self.block.span)
        return plan.names_event == self.plan.names_event and is_cut == self.is_cut

    @cached_property
    def events(self) -> Numbers:
        """Places of the events that match."""
        return self._places(self.plan.tree)

    def _places(self, node: filters.Node | None) -> Numbers:
        """The events in the range on which a filter holds. What is asked of their sessions is
        looked up of those that pass the rest, which are fewer than all events."""
        block = self.block
        if node is None and not self.is_cut:
            return block.every_event
        of_events, of_sessions = apart(node)
        if of_events:
            rows = _all_of([self._holds(part, of_events=True) for part in of_events])
        elif of_sessions:
            rows = block.spread(self._all_sessions(of_sessions))
            of_sessions = []
        else:
            rows = np.ones(block.events, dtype=bool)
        if self.is_cut:
            rows = rows & inside(block.numbers(TIME), block, self.plan)
        places = np.flatnonzero(rows)
        if of_sessions:
            places = places[self._all_sessions(of_sessions)[block.owners_of(places)]]
        return places

    def _all_sessions(self, nodes: Sequence[filters.Node]) -> Numbers:
        return _all_of([self._holds(node, of_events=False) for node in nodes])

    @cached_property
    def sessions(self) -> Numbers:
        """Places of the sessions that match, by themselves."""
        if self.plan.tree is None:
            return np.arange(len(self.block.lengths), dtype=np.int64)
        return np.flatnonzero(self._holds(self.plan.tree, of_events=False))

    @cached_property
    def begins(self) -> Numbers:
        """By session: whether it begins in the range; in this block, or in one before it."""
        if not self.is_cut and not self.plan.names_event:
            return self._starts_here
        return inside(self.block.numbers(START), self.block, self.plan)

    def is_at(self, page: str, rows: Numbers, owners: Numbers) -> Numbers:
        """Of events and their sessions: whether it happened on that page of the session."""
        return self._pages("event:page", rows) == self._pages(f"session:{page}", owners)

    def _pages(self, column: str, rows: Numbers) -> Numbers:
        numbers = self.kept.numbers_of(self.block, column, together="pages")
        return numbers[self.block.texts(column).codes[rows]]

    @cached_property
    def _starts_here(self) -> Numbers:
        return self.block.numbers(CROSSES) & 1 == 0

    def passing(self, node: filters.Node | None) -> Numbers:
        """Sessions with an event in the range on which the filter holds. Events are looked at
        where any session has what is asked of sessions."""
        block = self.block
        of_events, of_sessions = apart(node)
        found = self._all_sessions(of_sessions) if of_sessions else None
        if found is not None and not found.any():
            return found
        if len(of_events) == 1 and of_events[0] in self.having and not self.is_cut:
            having = np.zeros(len(block.numbers(LENGTHS)), dtype=bool)
            having[self.having[of_events[0]]] = True
            return having if found is None else having & found
        rows = [self._holds(part, of_events=True) for part in of_events]
        if self.is_cut:
            rows.append(inside(block.numbers(TIME), block, self.plan))
        if rows:
            return block.owning(_all_of(rows), found)
        if found is None or block.has_empty:
            has_any = block.numbers(LENGTHS) > 0
            return has_any if found is None else found & has_any
        return found

    def _holds(self, node: filters.Node, of_events: bool) -> Numbers:
        if isinstance(node, filters.Branch) and node.joint != filters.VISITOR:
            parts = [self._holds(part, of_events) for part in node.parts]
            if node.joint == "not":
                return ~parts[0]
            return _all_of(parts) if node.joint == "and" else reduce(np.logical_or, parts)
        if node in self.meant:
            table = self.meant[node]
            rows = table.take(self.block.numbers(VISITOR), mode="clip")  # beyond: the last place
        else:
            assert isinstance(node, filters.Leaf)
            rows = texts_hold(self.block, node.column, node, self.plan)
            if node.scope == "event":
                return rows
        return self.block.spread(rows) if of_events else rows
