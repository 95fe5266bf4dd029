"""The route over packed days: questions that rollups cannot answer, without reading rows.

Enters: a Question without bots. Leaves: the same base numbers as reports/raw.py, or None where
that has to be asked: where much of the range is not packed. Days that are not packed (the
current one, and those in which something has just changed) are made into blocks from their rows;
then block after block is filtered and counted by numpy, and the parts are put together: visitors
by their numbers, sessions that go on from one block to the next by their visitor and start.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import TypeVar

import numpy as np

from properties.goals import fits
from properties.models import Property
from properties.periods import Range, Span
from reports import blocks, filters, metrics
from reports.blocks import CROSSES, LENGTHS, START, TIME, VISITOR, Block, microseconds
from reports.columns import Judged, Merged, Numbers, Texts, Unfit
from reports.questions import Base, Counted, Key, Question

AT_ONCE = 32  # packed days that are read together: bounds the memory of long ranges
MOST_ROWS = 200_000  # events read as rows; beyond, Postgres had better count them itself
FEW_ROWS = (
    50_000  # the same where no day is packed: what small properties have in a month or a year
)


def can_answer(question: Question) -> bool:
    """Whether blocks hold what is asked: they leave bots out, and money."""
    return question.bots == "exclude" and not filters.names_money(question.filters)


def count(place: Property, question: Question, within: Range) -> Counted | None:
    """Base numbers over the range; None where too much of it is not packed."""
    try:
        return _count(place, question, within)
    except Unfit:
        return None


def _count(place: Property, question: Question, within: Range) -> Counted:
    plan = _Plan(question, within)
    whole = _Plan(replace(question, dimensions=()), within)
    asked = [whole, plan] if question.dimensions else [whole]
    reader = _Reader(place, plan, set().union(*(each.columns for each in asked)))
    meant = _who_are_meant(plan, reader)
    sums = [_Sums(each) for each in asked]
    for block in reader.blocks():
        view = _View(block, plan, meant)
        for each in sums:
            each.add(view if view.serves(each.plan) else _View(block, each.plan, meant))
    total, *groups = (each.done() for each in sums)
    return Counted(groups[0] if groups else {}, total[()], from_columns=bool(reader.days))


# -- what is read ----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Plan:
    """What a question needs of a block."""

    question: Question
    within: Range

    @cached_property
    def tree(self) -> filters.Node | None:
        return filters.parse(self.question.filters) if self.question.filters is not None else None

    @cached_property
    def leaves(self) -> list[filters.Leaf]:
        return list(filters.leaves(self.tree)) if self.tree is not None else []

    @cached_property
    def all_leaves(self) -> list[filters.Leaf]:
        return list(filters.all_leaves(self.tree)) if self.tree is not None else []

    @cached_property
    def crowds(self) -> list[filters.Branch]:
        """Each "visitor" of the filter once."""
        return list(dict.fromkeys(filters.crowds(self.tree))) if self.tree is not None else []

    @cached_property
    def judged(self) -> dict[filters.Leaf, Judged]:
        """What is known of texts so far, block after block."""
        tests = ((leaf, _test(leaf)) for leaf in self.all_leaves)
        return {leaf: Judged(test) for leaf, test in tests if test}

    @cached_property
    def split(self) -> list[metrics.Dimension]:
        """The dimensions but time."""
        found = map(metrics.find_dimension, self.question.dimensions)
        return [dimension for dimension in found if dimension is not None]

    @cached_property
    def names_event(self) -> bool:
        """Whether a dimension or a plain filter binds to one event."""
        scopes = {dimension.scope for dimension in self.split} | {
            leaf.scope for leaf in self.leaves
        }
        return "event" in scopes

    @cached_property
    def starts(self) -> Numbers:
        """Where the periods begin, if it is split by time."""
        spans = self.question.periods(self.within)
        return np.array([microseconds(span.start) for span in spans], dtype=np.int64)

    @cached_property
    def edges(self) -> tuple[int, int]:
        span = self.within.span
        return microseconds(span.start), microseconds(span.end)

    @cached_property
    def places(self) -> Numbers:
        """Of each period, counted from 1, the row that it belongs to."""
        return np.array([0, *self.question.places(self.within)], dtype=np.int64)

    def _measures(self, scope: metrics.Scope) -> list[metrics.Measure]:
        asked = map(metrics.MEASURES.get, self.question.needs)
        return [measure for measure in asked if measure and measure.scope == scope]

    @cached_property
    def event_needs(self) -> list[str]:
        """The measures of events that are asked for."""
        return [measure.name for measure in self._measures("event")]

    @cached_property
    def session_needs(self) -> list[str]:
        """The measures of sessions that are asked for, those of `paired` apart."""
        return [m.name for m in self._measures("session") if m.name not in self.paired]

    @cached_property
    def paired(self) -> dict[str, str]:
        """Measures of sessions that count only with an event on a page, and which page of the
        session that is: its dimension."""
        if not self.names_event:
            return {}
        return {measure.name: measure.at for measure in self._measures("session") if measure.at}

    @cached_property
    def asks_sessions(self) -> bool:
        return bool(self.session_needs or self.paired)

    @cached_property
    def samples(self) -> list[str]:
        """The samples of which quantiles are asked."""
        found = map(metrics.QUANTILES.get, self.question.needs)
        return list(dict.fromkeys(quantile.sample for quantile in found if quantile))

    @cached_property
    def pages(self) -> Merged:
        """Pages of events and of sessions, to be compared."""
        return Merged()

    @cached_property
    def asks_visitors(self) -> bool:
        return metrics.VISITORS in self.question.needs

    @cached_property
    def columns(self) -> set[str]:
        """What every block must have; whether events are looked at one by one depends on it."""
        found = {VISITOR, LENGTHS, CROSSES}
        plain = [leaf for leaf in self.leaves if leaf.operator != "has_done"]
        for name in [*(d.name for d in self.split), *(leaf.dimension for leaf in plain)]:
            dimension = metrics.find_dimension(name)
            assert dimension is not None
            found.add(f"{dimension.scope}:{name}")
        of_sessions = [*self.session_needs, *self.paired, *self.paired.values()]
        found |= {f"session:{name}" for name in of_sessions}
        if self.paired:
            found.add("event:page")
        kind = "event" if self.names_event or self.samples else "visit"
        found |= {f"{kind}:{name}" for name in self.event_needs}
        found |= {f"event:{name}" for name in self.samples}
        if self.asks_sessions and (self.names_event or len(self.starts)):
            found.add(START)
        return found

    def splits(self, span: Span) -> bool:
        """Whether the block reaches over an edge of the range or of a period."""
        first, last = microseconds(span.start), microseconds(span.end)
        if first < self.edges[0] or last > self.edges[1]:
            return True
        inside = (self.starts > first) & (self.starts < last)
        return bool(inside.any())

    def columns_of(self, names: set[str], span: Span) -> set[str]:
        """The columns that a block of that span must have besides."""
        if not self.splits(span):
            return names
        events = {f"event:{name}" for name in self.event_needs}
        return names | events | {TIME, START}


class _Reader:
    """Gives the blocks of the range: packed days, and what lies between them from rows."""

    def __init__(self, place: Property, plan: _Plan, names: set[str]) -> None:
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


Meant = dict[filters.Node, Numbers]  # by the visitor's number: whether she is among them


def _who_are_meant(plan: _Plan, reader: _Reader) -> Meant:
    """Whom `has_done` and "visitor" mean: found in the whole range before anything is counted."""
    done = {leaf for leaf in plan.all_leaves if leaf.operator == "has_done"}
    inside = {leaf for crowd in plan.crowds for leaf in filters.leaves(crowd.parts[0])}
    names = {VISITOR, LENGTHS} | {f"event:{leaf.dimension}" for leaf in done}
    names |= {f"{leaf.scope}:{leaf.dimension}" for leaf in inside if leaf.operator != "has_done"}
    meant = _who(reader, done, names, lambda leaf, block: _did(leaf, block, plan)) if done else {}
    if plan.crowds:
        meant |= _who(
            reader,
            plan.crowds,
            names,
            lambda crowd, block: _View(block, plan, meant).passing(crowd.parts[0]),
        )
    return meant


N = TypeVar("N", bound=filters.Node)


def _who(
    reader: _Reader, asked: Iterable[N], names: set[str], sessions: Callable[[N, Block], Numbers]
) -> Meant:
    """Whose sessions are among those that `sessions` says of any block."""
    found: dict[N, list[Numbers]] = {node: [] for node in asked}
    for block in reader.blocks(names, again=True):
        for node, parts in found.items():
            parts.append(block.numbers(VISITOR)[sessions(node, block)])
    return {node: _table(parts) for node, parts in found.items()}


def _did(leaf: filters.Leaf, block: Block, plan: _Plan) -> Numbers:
    """Sessions with such an event, or on such a page, in the range."""
    rows = _texts_hold(block, f"event:{leaf.dimension}", leaf, plan)
    if plan.splits(block.span):
        rows = rows & _inside(block.numbers(TIME), block, plan)
    return _owning(rows, block)


def _owning(rows: Numbers, block: Block) -> Numbers:
    """The sessions to which these events belong."""
    sessions = np.zeros(len(block.lengths), dtype=bool)
    sessions[block.owners[rows]] = True
    return sessions


def _table(parts: Sequence[Numbers]) -> Numbers:
    """Whose numbers are among these; the last place, beyond all of them, is False."""
    highest = max((int(part.max()) for part in parts if len(part)), default=0)
    table = np.zeros(highest + 2, dtype=bool)
    for part in parts:
        table[part] = True
    return table


def _inside(offsets: Numbers, block: Block, plan: _Plan) -> Numbers:
    """Which of these moments lie in the range."""
    first, last = plan.edges
    moments = offsets.astype(np.int64) + block.start
    return (moments >= first) & (moments < last)


def _test(leaf: filters.Leaf) -> Callable[[bytes], bool] | None:
    """What a filter that does not compare whole values asks of a text."""
    if leaf.operator == "contains":
        parts = [value.encode() for value in leaf.values]
        return lambda text: any(part in text for part in parts)
    if leaf.operator == "matches":
        return lambda text: any(fits(text.decode(), pattern) for pattern in leaf.values)
    return None


def _texts_hold(block: Block, name: str, leaf: filters.Leaf, plan: _Plan) -> Numbers:
    texts = block.texts(name)
    if leaf in plan.judged:
        return plan.judged[leaf].rows(texts)
    found = texts.is_any([value.encode() for value in leaf.values])
    return ~found if leaf.operator == "is_not" else found


# -- a block, filtered -----------------------------------------------------------------------


class _View:
    """The rows of a block that a question is about: its events, or only its sessions."""

    def __init__(self, block: Block, plan: _Plan, meant: Meant) -> None:
        self.block, self.plan, self.meant = block, plan, meant
        self.is_cut = plan.splits(block.span)
        self.by_event = plan.names_event or self.is_cut or bool(plan.samples)
        self._numbers: dict[str, Numbers] = {}

    def numbers_of(self, name: str, texts: Texts, names: dict[str, Merged]) -> Numbers:
        """The dictionary of a dimension in numbers that hold in every block."""
        if name not in self._numbers:
            self._numbers[name] = names[name].numbers(texts)
        return self._numbers[name]

    def serves(self, plan: _Plan) -> bool:
        """Whether another plan, of the same question without its dimensions, sees the same."""
        is_cut = plan.splits(self.block.span)
        return plan.names_event == self.plan.names_event and is_cut == self.is_cut

    @cached_property
    def events(self) -> Numbers:
        """Places of the events that match."""
        rows = np.ones(len(self.block.owners), dtype=bool)
        if self.plan.tree is not None:
            rows = self._holds(self.plan.tree, of_events=True)
        if self.is_cut:
            rows = rows & _inside(self.block.numbers(TIME), self.block, self.plan)
        return np.flatnonzero(rows)

    @cached_property
    def sessions(self) -> Numbers:
        """Places of the sessions that match, by themselves."""
        rows = np.ones(len(self.block.lengths), dtype=bool)
        if self.plan.tree is not None:
            rows = self._holds(self.plan.tree, of_events=False)
        return np.flatnonzero(rows)

    @cached_property
    def begins(self) -> Numbers:
        """By session: whether it begins in the range; in this block, or in one before it."""
        if not self.is_cut and not self.plan.names_event:
            return self._starts_here
        return _inside(self.block.numbers(START), self.block, self.plan)

    def is_at(self, page: str) -> Numbers:
        """By event: whether it happened on that page of its session."""
        block, pages = self.block, self.plan.pages
        of_event, of_session = block.texts("event:page"), block.texts(f"session:{page}")
        there = pages.numbers(of_session)[of_session.codes]
        return pages.numbers(of_event)[of_event.codes] == there[block.owners]

    @cached_property
    def _starts_here(self) -> Numbers:
        return self.block.numbers(CROSSES) & 1 == 0

    def passing(self, node: filters.Node) -> Numbers:
        """Sessions with an event in the range on which the filter holds."""
        scopes = {leaf.scope for leaf in filters.leaves(node)}
        if not self.is_cut and "event" not in scopes:
            return self._holds(node, of_events=False) & (self.block.lengths > 0)
        rows = self._holds(node, of_events=True)
        if self.is_cut:
            rows = rows & _inside(self.block.numbers(TIME), self.block, self.plan)
        return _owning(rows, self.block)

    def _holds(self, node: filters.Node, of_events: bool) -> Numbers:
        if isinstance(node, filters.Branch) and node.joint != filters.VISITOR:
            parts = [self._holds(part, of_events) for part in node.parts]
            if node.joint == "not":
                return ~parts[0]
            joined = np.logical_and if node.joint == "and" else np.logical_or
            return joined.reduce(parts)
        if node in self.meant:
            table = self.meant[node]
            rows = table[np.minimum(self.block.numbers(VISITOR), len(table) - 1)]
        else:
            assert isinstance(node, filters.Leaf)
            rows = _texts_hold(self.block, f"{node.scope}:{node.dimension}", node, self.plan)
            if node.scope == "event":
                return rows
        return rows[self.block.owners] if of_events else rows


# -- sums ------------------------------------------------------------------------------------


@dataclass
class _Sums:
    """Base numbers by group, block after block."""

    plan: _Plan
    size: int = 0  # groups so far
    names: dict[str, Merged] = field(default_factory=lambda: defaultdict(Merged))
    index: dict[tuple[int, ...], int] = field(default_factory=dict)
    numbers: dict[str, Numbers] = field(default_factory=dict)
    people: list[Numbers] = field(default_factory=list)
    sampled: dict[str, list[Numbers]] = field(default_factory=lambda: defaultdict(list))
    crossing: list[Numbers] = field(default_factory=list)
    crossing_at: dict[str, list[Numbers]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        if not self.plan.question.dimensions:
            self.size = 1

    def add(self, view: _View) -> None:
        if self.plan.names_event and not len(self.plan.starts):
            self._add_both(view)
            return
        self._add_events(view)
        if self.plan.asks_sessions:
            self._add_sessions(view)

    def _add_both(self, view: _View) -> None:
        """Events and their sessions together: without periods, both are in the same groups."""
        block, owners = view.block, view.block.owners[view.events]
        rows = view.events
        groups, kept = self._groups(view, owners, rows, None)
        if kept is not None:
            rows, owners = rows[kept], owners[kept]
        for name in self.plan.event_needs:
            self._sum(name, groups, block.numbers(f"event:{name}")[rows])
        self._add_samples(block, groups, rows)
        self._add_paired(view, groups, owners, rows)
        groups, owners = self._pairs(groups, owners)
        self._add_people(block, groups, owners)
        if self.plan.session_needs:
            begins = view.begins[owners]
            self._sum_sessions(block, groups[begins], owners[begins])

    def _add_events(self, view: _View) -> None:
        """Event measures and visitors."""
        block, needs = view.block, self.plan.event_needs
        if not needs and not self.plan.samples and not self.plan.asks_visitors:
            return
        if view.by_event:
            rows, kind, owners = view.events, "event", block.owners[view.events]
        else:
            rows = view.sessions[block.lengths[view.sessions] > 0]
            kind, owners = "visit", rows
        moments = block.numbers(TIME)[rows] if view.is_cut and len(self.plan.starts) else None
        groups, kept = self._groups(view, owners, rows, moments)
        if kept is not None:
            rows, owners = rows[kept], owners[kept]
        for name in needs:
            self._sum(name, groups, block.numbers(f"{kind}:{name}")[rows])
        if view.by_event:
            self._add_samples(block, groups, rows)
            groups, owners = self._pairs(groups, owners)
        self._add_people(block, groups, owners)

    def _add_sessions(self, view: _View) -> None:
        block, plan = view.block, self.plan
        if plan.names_event:
            owners, rows = block.owners[view.events], view.events
        else:
            owners = rows = view.sessions
        begins = view.begins[owners]
        if not plan.names_event and view.is_cut:
            begins = begins & (block.numbers(START)[owners] >= 0)
        owners, rows = owners[begins], rows[begins]
        moments = None
        if len(plan.starts) and (view.is_cut or plan.names_event):
            moments = block.numbers(START)[owners]
        groups, kept = self._groups(view, owners, rows, moments)
        if kept is not None:
            owners, rows = owners[kept], rows[kept]
        if plan.names_event:  # a session counts once however many of its events match
            self._add_paired(view, groups, owners, rows)
            self._sum_sessions(block, *self._pairs(groups, owners))
            return
        for name in plan.session_needs:
            self._sum(name, groups, block.numbers(f"session:{name}")[owners])

    def _pairs(self, groups: Numbers, owners: Numbers) -> tuple[Numbers, Numbers]:
        """Each session once in each group. `owners` are in order, as events are."""
        if not self.plan.question.dimensions:
            first = np.ones(len(owners), dtype=bool)
            first[1:] = owners[1:] != owners[:-1]
            return groups[first], owners[first]
        many = int(owners[-1]) + 1 if len(owners) else 1
        pairs = groups * many + owners
        if self.size * many < 1 << 32:
            pairs = pairs.astype(np.uint32)  # sorted twice as fast
        pairs = _distinct(pairs).astype(np.int64)
        return pairs // many, pairs % many

    def _add_people(self, block: Block, groups: Numbers, owners: Numbers) -> None:
        if self.plan.asks_visitors:
            self.people.append(groups << 32 | block.numbers(VISITOR)[owners].astype(np.int64))

    def _add_samples(self, block: Block, groups: Numbers, rows: Numbers) -> None:
        for name in self.plan.samples:
            found = block.numbers(f"event:{name}")[rows].astype(np.int64)
            some = found >= 0
            self.sampled[name].append(np.array([groups[some], found[some]]))

    def _add_paired(self, view: _View, groups: Numbers, owners: Numbers, rows: Numbers) -> None:
        """Sessions with an event on a page of theirs, once in each group."""
        block = view.block
        for name, page in self.plan.paired.items():
            there = view.is_at(page)[rows]
            of, who = self._pairs(groups[there], owners[there])
            begins = view.begins[who]
            of, who = of[begins], who[begins]
            added = block.numbers(f"session:{name}")[who].astype(np.int64)
            crosses = block.numbers(CROSSES)[who] > 0
            columns = self._session_columns(block, of[crosses], who[crosses])
            self.crossing_at[name].append(np.array([*columns, added[crosses]]))
            self._sum(name, of[~crosses], added[~crosses])

    def _sum_sessions(self, block: Block, groups: Numbers, owners: Numbers) -> None:
        """Session measures of pairs that an event has brought about."""
        crosses = block.numbers(CROSSES)[owners] > 0
        self._keep_crossing(block, groups[crosses], owners[crosses])
        groups, owners = groups[~crosses], owners[~crosses]
        for name in self.plan.session_needs:
            self._sum(name, groups, block.numbers(f"session:{name}")[owners])

    def _keep_crossing(self, block: Block, groups: Numbers, owners: Numbers) -> None:
        """Sessions that other blocks may have, too: their numbers wait until all are seen."""
        columns = self._session_columns(block, groups, owners)
        columns += [block.numbers(f"session:{n}")[owners] for n in self.plan.session_needs]
        self.crossing.append(np.array([column.astype(np.int64) for column in columns]))

    @staticmethod
    def _session_columns(block: Block, groups: Numbers, owners: Numbers) -> list[Numbers]:
        """Which session of which group it is, the same in every block."""
        start = block.numbers(START)[owners].astype(np.int64) + block.start
        return [groups, block.numbers(VISITOR)[owners].astype(np.int64), start]

    # -- groups --

    def _groups(
        self,
        view: _View,
        owners: Numbers,
        rows: Numbers,
        moments: Numbers | None,
    ) -> tuple[Numbers, Numbers | None]:
        """The number of each row's group, and which rows have one (None: all). `moments` of the
        rows; None where the block lies within one period."""
        dimensions = self.plan.question.dimensions
        if not dimensions:
            return np.zeros(len(owners), dtype=np.int64), None
        kept: Numbers | None = None
        parts: list[Numbers] = []
        for name in dimensions:
            dimension = metrics.find_dimension(name)
            if dimension is None:
                parts.append(self._periods(view.block, len(owners), moments))
                continue
            texts = view.block.texts(f"{dimension.scope}:{name}")
            codes = texts.codes[rows if dimension.scope == "event" else owners]
            blank = None if dimension.blank else texts.find(b"")
            if blank is not None:
                filled = codes != blank
                kept = filled if kept is None else kept & filled
            parts.append(view.numbers_of(name, texts, self.names)[codes])
        if kept is not None:
            parts = [numbers[kept] for numbers in parts]
        return self._numbered(parts), kept

    def _periods(self, block: Block, rows: int, moments: Numbers | None) -> Numbers:
        if moments is None:
            first = max(block.start, self.plan.edges[0])
            period = np.searchsorted(self.plan.starts, first, "right")
            return np.full(rows, self.plan.places[period], dtype=np.int64)
        at = moments.astype(np.int64) + block.start
        return self.plan.places[np.searchsorted(self.plan.starts, at, "right")]

    def _numbered(self, parts: Sequence[Numbers]) -> Numbers:
        """Combinations of numbers to numbers of groups, the same in every block. A single
        dimension's own number is that of its group."""
        if len(parts) == 1:
            self.size = max(self.size, int(parts[0].max(initial=-1)) + 1)
            return parts[0]
        table = np.stack(parts)
        order = np.lexsort(table[::-1])
        first = np.ones(len(order), dtype=bool)
        first[1:] = (table[:, order[1:]] != table[:, order[:-1]]).any(axis=0)
        index = self.index
        keys = zip(*table[:, order[first]].tolist(), strict=True)
        known = np.array([index.setdefault(key, len(index)) for key in keys], dtype=np.int64)
        self.size = len(index)
        found = np.empty(len(order), dtype=np.int64)
        found[order] = known[np.cumsum(first) - 1] if len(order) else known
        return found

    def _key(self, group: int) -> Key:
        """What the question's dimensions are in a group."""
        if not self.plan.question.dimensions:
            return ()
        numbers = (group,) if len(self.plan.question.dimensions) == 1 else self.keys[group]
        return tuple(
            number if name.startswith(metrics.TIME) else self.names[name].values[number].decode()
            for name, number in zip(self.plan.question.dimensions, numbers, strict=True)
        )

    @cached_property
    def keys(self) -> list[tuple[int, ...]]:
        """The combinations, by their numbers; asked for when all blocks are in."""
        return list(self.index)

    def _sum(self, name: str, groups: Numbers, added: Numbers) -> None:
        sums = self.numbers.setdefault(name, np.zeros(0, dtype=np.int64))
        if len(sums) < self.size:
            longer = np.zeros(max(self.size, 2 * len(sums)), dtype=np.int64)
            longer[: len(sums)] = sums
            sums = self.numbers[name] = longer
        # Sums in floating point are exact below 2^53; a block's are far below.
        found = np.bincount(groups, weights=added, minlength=0)
        sums[: len(found)] += found.astype(np.int64)

    # -- the end --

    def done(self) -> dict[Key, Base]:
        """Base numbers by group; those that the answer cannot show may lack."""
        self._add_crossing()
        size = self.size
        columns: dict[str, Numbers] = {}
        for name in self.plan.question.needs:
            if name == metrics.VISITORS:
                columns[name] = self._visitors(size)
            elif name in metrics.QUANTILES:
                columns[name] = self._quantiles(metrics.QUANTILES[name], size)
            else:
                sums = self.numbers.get(name, np.zeros(0, dtype=np.int64))[:size]
                columns[name] = np.concatenate([sums, np.zeros(size - len(sums), dtype=np.int64)])
        some = np.zeros(size, dtype=bool)
        for name, numbers in columns.items():
            some |= numbers != _nothing(name)
        if not self.plan.question.dimensions:
            some[:] = True
        shown = np.flatnonzero(some & self._shown(columns, some, size))
        lists: dict[str, list[int | None]] = {
            name: [None if number == NONE else number for number in numbers[shown].tolist()]
            if name in metrics.QUANTILES
            else numbers[shown].tolist()
            for name, numbers in columns.items()
        }
        rows = zip(*lists.values(), strict=True)
        return {
            self._key(group): dict(zip(lists, row, strict=True))
            for group, row in zip(shown.tolist(), rows, strict=True)
        }

    def _visitors(self, size: int) -> Numbers:
        pairs = _distinct(np.concatenate(self.people)) if self.people else np.zeros(0, np.int64)
        return np.bincount(pairs >> 32, minlength=size)

    def _quantiles(self, quantile: metrics.Quantile, size: int) -> Numbers:
        """By group, NONE for a group without any."""
        found = np.full(size, NONE, dtype=np.int64)
        parts = self.sampled.get(quantile.sample)
        if not parts:
            return found
        groups, values = np.concatenate(parts, axis=1)
        values = values[np.lexsort((values, groups))]
        many = np.bincount(groups, minlength=size)
        rank = np.maximum(np.ceil(quantile.part * many).astype(np.int64), 1)
        places = np.cumsum(many) - many + rank - 1
        found[many > 0] = values[places[many > 0]]
        return found

    def _add_crossing(self) -> None:
        if self.crossing:
            groups, _, _, *numbers = _each_once(self.crossing)
            for name, added in zip(self.plan.session_needs, numbers, strict=True):
                self._sum(name, groups, added)
        for name, parts in self.crossing_at.items():
            groups, _, _, added = _each_once(parts)
            self._sum(name, groups, added)

    def _shown(self, columns: dict[str, Numbers], some: Numbers, size: int) -> Numbers:
        """Whether a group can be among the rows shown (`some` are rows at all): ranking thousands
        of pages one by one would cost more than counting them."""
        question = self.plan.question
        every = np.ones(size, dtype=bool)
        name, way = question.order[0]
        if question.is_series or name not in metrics.METRICS or size <= question.limit:
            return every
        metric = metrics.METRICS[name]
        ranked = columns[metric.of].astype(np.float64)
        some = some & (columns[metric.of] != NONE)  # a quantile of nothing comes last
        if metric.over:
            below = columns[metric.over]
            some &= below != 0  # and so does a mean over nothing
            ranked = ranked / np.maximum(below, 1)
        if some.sum() < question.limit:
            return every
        ranked = np.where(some, -ranked if way == "desc" else ranked, np.inf)
        edge = np.partition(ranked, question.limit - 1)[question.limit - 1]
        return ranked <= edge


NONE = -1  # a quantile of nothing


def _nothing(name: str) -> int:
    return NONE if name in metrics.QUANTILES else 0


def _each_once(parts: Sequence[Numbers]) -> Numbers:
    """Rows (as columns: group, visitor, start, ...) of sessions, one of each in a group."""
    columns = np.concatenate(parts, axis=1)
    order = np.lexsort(columns[2::-1])
    columns = columns[:, order]
    first = np.ones(len(order), dtype=bool)
    first[1:] = (columns[:3, 1:] != columns[:3, :-1]).any(axis=0)
    return columns[:, first]


def _distinct(numbers: Numbers) -> Numbers:
    """Each once, in order."""
    ordered = np.sort(numbers)
    first = np.ones(len(ordered), dtype=bool)
    first[1:] = ordered[1:] != ordered[:-1]
    return ordered[first]
