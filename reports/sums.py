"""Base numbers by group, block after block.

Enters: Views of the blocks of a range. Leaves: what the question counts, by the values of its
dimensions: visitors by their numbers, sessions that go on from one block to the next by their
visitor and start, each once. Called by reports/columnar.py.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from reports import metrics, postings, summing
from reports.blocks import CROSSES, START, TIME, VISITOR, Block
from reports.columns import Numbers, Unfit
from reports.kept import Kept
from reports.narrowing import View
from reports.plans import Plan
from reports.questions import Base, Key

LONG_ROW = 1_000  # bytes: counted by itself it costs less than with the others
LARGEST = 1 << 25  # bytes of a table that spares sorting
BITS_OF_SAMPLE = 40  # a day of milliseconds, or a layout shift as large, is less than 2^40
AT_ONCE = 10_000  # groups that become objects
OF_A_KEY, OF_A_PAIR = 250, 48  # bytes, when all are in
# Of a block that has waited, the groups of the texts of its dimension, or of its events with their
# sessions and places.
Waiting = tuple[View, Numbers] | tuple[View, Numbers, Numbers, Numbers]


@dataclass
class Sums:
    """Base numbers by group, block after block."""

    plan: Plan
    kept: Kept
    waits: bool = False  # what only the rows shown need is counted in the end: keeps every block
    size: int = 0  # groups so far
    index: dict[tuple[int, ...], int] = field(default_factory=dict)
    numbers: dict[str, Numbers] = field(default_factory=dict)
    people: list[tuple[Numbers, Numbers]] = field(default_factory=list)
    sampled: dict[str, list[tuple[Numbers, Numbers]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    crossing: list[Numbers] = field(default_factory=list)
    crossing_at: dict[str, list[Numbers]] = field(default_factory=lambda: defaultdict(list))
    waiting: list[Waiting] = field(default_factory=list)
    chosen: Numbers | None = None  # the groups that are left, by their old numbers

    def __post_init__(self) -> None:
        if not self.plan.question.dimensions:
            self.size = 1

    @property
    def weight(self) -> int:
        """Bytes that it takes to put together what is in, about."""
        pairs = sum(len(who) for _, who in self.people)
        pairs += sum(len(found) for parts in self.sampled.values() for _, found in parts)
        crossing = [*self.crossing, *(at for parts in self.crossing_at.values() for at in parts)]
        numbers = 16 * self.size * len(self.plan.question.needs)
        return (
            OF_A_KEY * len(self.index)
            + numbers
            + OF_A_PAIR * pairs
            + 2 * sum(part.nbytes for part in crossing)
        )

    def add(self, view: View) -> None:
        by = self.plan.summed_by
        if by is not None and not view.is_cut and self.plan.has_sums(view.block):
            if by == summing.WHOLE:
                self._add_whole(view.block)
            else:
                self._add_summed(view, by)
            return
        if self.plan.names_event and not len(self.plan.starts):
            self._add_both(view)
            return
        self._add_events(view)
        if self.plan.asks_sessions:
            self._add_sessions(view)

    def _add_both(self, view: View) -> None:
        """Events and their sessions together: without periods, both are in the same groups."""
        block, rows = view.block, view.events
        owners = block.owners_of(rows)
        groups, kept = self._groups(view, owners, rows, None)
        if kept is not None:
            rows, owners = rows[kept], owners[kept]
        for name in self.plan.event_needs:
            self._sum(name, groups, _at(block.numbers(f"event:{name}"), rows))
        if self.waits:
            self.waiting.append((view, groups, owners, rows))
        else:
            self._add_rest(view, groups, owners, rows)

    def _add_whole(self, block: Block) -> None:
        """A block within one period, of which sums say what it comes to."""
        group = int(self._periods(block, 1, None)[0]) if len(self.plan.starts) else 0
        self.size = max(self.size, group + 1)
        for name in self.plan.needs_of_sums:
            if (added := summing.of(block, summing.WHOLE, name)) is not None:
                self._sums_of(name)[group] += int(added[0])

    def _add_summed(self, view: View, by: str) -> None:
        """A whole day of which sums say what each text comes to."""
        block = view.block
        groups = self.kept.numbers_of(block, f"event:{by}")
        self.size = max(self.size, int(groups.max(initial=-1)) + 1)
        for name in self.plan.needs_of_sums:
            if (added := summing.of(block, by, name)) is not None:
                self._sums_of(name)[groups] += added  # each text has a group of its own
        for name in self.plan.paired:
            crossing = summing.crossing_of(block, name)
            crossing[0] = groups[crossing[0]]
            crossing[2] += block.start
            begins = (crossing[2] >= self.plan.edges[0]) & (crossing[2] < self.plan.edges[1])
            self.crossing_at[name].append(crossing[:, begins])
        if self.waits:
            self.waiting.append((view, groups))
        else:
            self._add_unsummed(view, by, groups)

    def _add_unsummed(self, view: View, by: str, groups: Numbers) -> None:
        """What has no sums, of the texts that have a group; -1: none."""
        plan, block = self.plan, view.block
        if plan.samples:
            codes = block.texts(f"event:{by}").codes
            rows = np.flatnonzero((groups >= 0)[codes])
            self._add_samples(block, groups[codes[rows]], rows)
        if plan.asks_visitors or plan.session_needs:
            self._add_owners(view, *postings.pairs(block, by, groups))

    def _add_rest(self, view: View, groups: Numbers, owners: Numbers, rows: Numbers) -> None:
        """All but the measures of events."""
        self._add_samples(view.block, groups, rows)
        self._add_paired(view, groups, owners, rows)
        if not self.plan.asks_visitors and not self.plan.session_needs:
            return
        # Visitors are told apart in the end: of few rows that is enough, all would fill memory.
        if self.plan.session_needs or not self.waits:
            groups, owners = self._pairs(groups, owners)
        self._add_owners(view, groups, owners)

    def _add_owners(self, view: View, groups: Numbers, owners: Numbers) -> None:
        """Visitors and measures of sessions; these of pairs that stand once each."""
        block = view.block
        self._add_people(block, groups, owners)
        if self.plan.session_needs:
            begins = view.begins[owners]
            self._sum_sessions(block, groups[begins], owners[begins])

    def _add_events(self, view: View) -> None:
        """Event measures and visitors."""
        block, needs = view.block, self.plan.event_needs
        if not needs and not self.plan.samples and not self.plan.asks_visitors:
            return
        if view.by_event:
            rows, kind = view.events, "event"
            owners = block.owners_of(rows)
        else:
            rows = view.sessions
            if block.has_empty:
                rows = rows[_at(block.lengths, rows) > 0]
            kind, owners = "visit", rows
        moments = block.numbers(TIME)[rows] if view.is_cut and len(self.plan.starts) else None
        groups, kept = self._groups(view, owners, rows, moments)
        if kept is not None:
            rows, owners = rows[kept], owners[kept]
        for name in needs:
            self._sum(name, groups, _at(block.numbers(f"{kind}:{name}"), rows))
        self._add_samples(block, groups, rows, of_sessions=not view.by_event)
        if self.plan.asks_visitors:
            if view.by_event:
                groups, owners = self._pairs(groups, owners)
            self._add_people(block, groups, owners)

    def _add_sessions(self, view: View) -> None:
        block, plan = view.block, self.plan
        if plan.names_event:
            owners, rows = block.owners_of(view.events), view.events
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
            self._sum(name, groups, _at(block.numbers(f"session:{name}"), owners))

    def _pairs(self, groups: Numbers, owners: Numbers) -> tuple[Numbers, Numbers]:
        """Each session once in each group. `owners` are in order, as events are."""
        if not self.plan.question.dimensions:
            first = np.ones(len(owners), dtype=bool)
            first[1:] = owners[1:] != owners[:-1]
            return groups[first], owners[first]
        many = int(owners[-1]) + 1 if len(owners) else 1
        return _distinct_pairs(groups, self.size, owners, many)

    def _add_people(self, block: Block, groups: Numbers, owners: Numbers) -> None:
        if self.plan.asks_visitors:
            self.people.append((groups, block.numbers(VISITOR)[owners]))

    def _add_samples(
        self, block: Block, groups: Numbers, rows: Numbers, *, of_sessions: bool = False
    ) -> None:
        """Only some events have a sample: they are looked up among the rows, whose groups are
        those of events, or (`of_sessions`) of all events of a session."""
        for name in self.plan.samples:
            places, values = block.sampled(name)
            if not len(places):
                continue
            many = block.events
            if of_sessions:
                places, many = block.owners_of(places), len(block.lengths)
            if len(rows) == many:
                self.sampled[name].append((groups[places], values))
                continue
            every = np.full(many, -1, dtype=np.int64)
            every[rows] = groups
            found = every[places]
            some = found >= 0
            self.sampled[name].append((found[some], values[some]))

    def _add_paired(self, view: View, groups: Numbers, owners: Numbers, rows: Numbers) -> None:
        """Sessions with an event on a page of theirs, once in each group."""
        block = view.block
        for page in dict.fromkeys(self.plan.paired.values()):
            there = view.is_at(page, rows, owners)
            of, who = self._pairs(groups[there], owners[there])
            begins = view.begins[who]
            of, who = of[begins], who[begins]
            crosses = block.numbers(CROSSES)[who] > 0
            columns = self._session_columns(block, of[crosses], who[crosses])
            for name in [name for name, at in self.plan.paired.items() if at == page]:
                added = block.numbers(f"session:{name}")[who].astype(np.int64)
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
        view: View,
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
            column = f"{dimension.scope}:{name}"
            texts = view.block.texts(column)
            is_of_event = dimension.scope == "event"
            codes = _at(texts.codes, rows) if is_of_event else texts.codes[owners]
            blank = None if dimension.blank or len(dimensions) == 1 else texts.find(b"")
            if blank is not None:
                filled = codes != blank
                kept = filled if kept is None else kept & filled
            parts.append(self.kept.numbers_of(view.block, column)[codes])
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

    def _is_row(self, size: int) -> Numbers:
        """Which groups can be rows: not that of the empty value, where it is none. Where a single
        dimension is split by, it has a group like others, for leaving out its events costs more."""
        rows = np.ones(size, dtype=bool)
        dimensions = self.plan.question.dimensions
        found = metrics.find_dimension(dimensions[0]) if len(dimensions) == 1 else None
        if found is not None and not found.blank:
            blank = self.kept.number(f"{found.scope}:{found.name}", "")
            if self.chosen is None and blank is not None and blank < size:
                rows[blank] = False
        return rows

    def _key(self, group: int) -> Key:
        """What the question's dimensions are in a group."""
        if not self.plan.question.dimensions:
            return ()
        if self.chosen is not None:
            group = int(self.chosen[group])
        numbers = (group,) if len(self.plan.question.dimensions) == 1 else self.keys[group]
        return tuple(
            number
            if (dimension := metrics.find_dimension(name)) is None
            else self.kept.value(f"{dimension.scope}:{name}", number)
            for name, number in zip(self.plan.question.dimensions, numbers, strict=True)
        )

    @cached_property
    def keys(self) -> list[tuple[int, ...]]:
        """The combinations, by their numbers; asked for when all blocks are in."""
        return list(self.index)

    def _sums_of(self, name: str) -> Numbers:
        """A number of every group so far."""
        sums = self.numbers.setdefault(name, np.zeros(0, dtype=np.int64))
        if len(sums) < self.size:
            longer = np.zeros(max(self.size, 2 * len(sums)), dtype=np.int64)
            longer[: len(sums)] = sums
            sums = self.numbers[name] = longer
        return sums

    def _sum(self, name: str, groups: Numbers, added: Numbers) -> None:
        sums = self._sums_of(name)
        if not self.plan.question.dimensions:
            sums[0] += int(added.sum(dtype=np.int64))
            return
        if not added.any():
            return
        # Sums in floating point are exact below 2^53; a block's are far below.
        found = np.bincount(groups, weights=added, minlength=0)
        sums[: len(found)] += found.astype(np.int64)

    # -- the end --

    def rows(self) -> Iterator[tuple[Key, Base]]:
        """Base numbers by group, when all blocks are in; those that the answer cannot show may
        lack."""
        if self.waits:
            self._choose()
        self._add_crossing()
        size = self.size
        columns = {name: self._column(name, size) for name in self.plan.question.needs}
        some = np.zeros(size, dtype=bool)
        for name, numbers in columns.items():
            some |= numbers != _nothing(name)
        if not self.plan.question.dimensions:
            some[:] = True
        some &= self._is_row(size)
        shown = np.flatnonzero(some & self._shown(columns, some, size))
        for start in range(0, len(shown), AT_ONCE):
            part = shown[start : start + AT_ONCE]
            lists: dict[str, list[int | None]] = {
                name: [None if number == NONE else number for number in numbers[part].tolist()]
                if name in metrics.QUANTILES
                else numbers[part].tolist()
                for name, numbers in columns.items()
            }
            rows = zip(*lists.values(), strict=True)
            for group, row in zip(part.tolist(), rows, strict=True):
                yield self._key(group), dict(zip(lists, row, strict=True))

    def _choose(self) -> None:
        """Leave the groups that can be shown, and count of them what has waited."""
        size = self.size
        columns = {name: self._column(name, size) for name in self.plan.event_needs}
        some = np.zeros(size, dtype=bool)
        for numbers in columns.values():
            some |= numbers != 0
        # What has people only, and no number yet, is no row here: it may take the place of one.
        rows = self._is_row(size)
        chosen = np.flatnonzero(rows & self._shown(columns, some & rows, size))
        places = np.full(size, -1, dtype=np.int64)
        places[chosen] = np.arange(len(chosen))
        self.numbers = {name: self._column(name, size)[chosen] for name in self.numbers}
        for parts in self.crossing_at.values():
            for part in parts:
                part[0] = places[part[0]]
            parts[:] = [part[:, part[0] >= 0] for part in parts]
        self.size, self.chosen = len(chosen), chosen
        for view, groups, *rest in self.waiting:
            groups = places[groups]
            if not rest:
                assert self.plan.summed_by is not None
                self._add_unsummed(view, self.plan.summed_by, groups)
                continue
            owners, rows = rest
            kept = np.flatnonzero(groups >= 0)
            self._add_rest(view, groups[kept], owners[kept], rows[kept])
        self.waiting.clear()

    def _column(self, name: str, size: int) -> Numbers:
        """A base number of every group."""
        if name == metrics.VISITORS:
            return self._visitors(size)
        if name in metrics.QUANTILES:
            return self._quantiles(metrics.QUANTILES[name], size)
        sums = self.numbers.get(name, np.zeros(0, dtype=np.int64))[:size]
        return np.concatenate([sums, np.zeros(size - len(sums), dtype=np.int64)])

    def _visitors(self, size: int) -> Numbers:
        if not any(len(who) for _, who in self.people):
            return np.zeros(size, dtype=np.int64)
        many = max(int(who.max(initial=0)) for _, who in self.people) + 1
        if not self.plan.question.dimensions:
            there = np.zeros(many, dtype=bool)
            for _, who in self.people:
                there[who] = True
            return np.array([np.count_nonzero(there)])
        if size * many <= LARGEST:
            pairs = np.zeros((size, many), dtype=bool)
            for groups, who in self.people:
                pairs[groups, who] = True
            if many > LONG_ROW:
                return np.array([np.count_nonzero(row) for row in pairs])
            return np.count_nonzero(pairs, axis=1)
        groups, who = (np.concatenate(part) for part in zip(*self.people, strict=True))
        return np.bincount(_distinct_pairs(groups, size, who, many)[0], minlength=size)

    def _quantiles(self, quantile: metrics.Quantile, size: int) -> Numbers:
        """By group, NONE for a group without any."""
        found = np.full(size, NONE, dtype=np.int64)
        parts = self.sampled.get(quantile.sample)
        if not parts:
            return found
        groups, values = (np.concatenate(part) for part in zip(*parts, strict=True))
        if size >= 1 << 63 - BITS_OF_SAMPLE:
            raise Unfit("Too many groups to sort them beside their numbers.")
        ordered = np.sort(groups << BITS_OF_SAMPLE | values)
        many = np.bincount(groups, minlength=size)
        rank = np.maximum(np.ceil(quantile.part * many).astype(np.int64), 1)
        places = np.cumsum(many) - many + rank - 1
        found[many > 0] = ordered[places[many > 0]] & (1 << BITS_OF_SAMPLE) - 1
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
        known = columns[metric.of] != NONE  # a quantile of nothing comes last
        if metric.over:
            below = columns[metric.over]
            known &= below != 0  # and so does a mean over nothing
            ranked = ranked / np.maximum(below, 1)
        if (some & known).sum() < question.limit:
            return every
        ranked = np.where(known, -ranked if way == "desc" else ranked, np.inf)
        edge = np.partition(ranked[some], question.limit - 1)[question.limit - 1]
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


def _distinct_pairs(
    groups: Numbers, most: int, others: Numbers, many: int
) -> tuple[Numbers, Numbers]:
    """Each pair (a group below `most`, another number below `many`) once, group by group. By a
    table with a place for each where that is cheaper than sorting them."""
    bits = (many - 1).bit_length()
    pairs = groups << bits | others
    places = most << bits
    if places <= min(LARGEST, max(64 * len(pairs), 1 << 16)):
        there = np.zeros(places, dtype=bool)
        there[pairs] = True
        pairs = np.flatnonzero(there)
    else:
        if places <= 1 << 32:
            pairs = pairs.astype(np.uint32)  # sorted twice as fast
        pairs = _distinct(pairs).astype(np.int64)
    return pairs >> bits, pairs & (1 << bits) - 1


def _at(numbers: Numbers, rows: Numbers) -> Numbers:
    """The numbers of these rows, which are in order and stand once each: all of them are simply
    all."""
    return numbers if len(rows) == len(numbers) else numbers[rows]
