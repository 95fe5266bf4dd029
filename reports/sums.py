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

from reports import metrics
from reports.blocks import CROSSES, START, TIME, VISITOR, Block
from reports.columns import Merged, Numbers
from reports.narrowing import View
from reports.plans import Plan
from reports.questions import Base, Key

AT_ONCE = 10_000  # groups that become objects


@dataclass
class Sums:
    """Base numbers by group, block after block."""

    plan: Plan
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

    def add(self, view: View) -> None:
        if self.plan.names_event and not len(self.plan.starts):
            self._add_both(view)
            return
        self._add_events(view)
        if self.plan.asks_sessions:
            self._add_sessions(view)

    def _add_both(self, view: View) -> None:
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

    def _add_events(self, view: View) -> None:
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

    def _add_sessions(self, view: View) -> None:
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

    def _add_paired(self, view: View, groups: Numbers, owners: Numbers, rows: Numbers) -> None:
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

    def rows(self) -> Iterator[tuple[Key, Base]]:
        """Base numbers by group, when all blocks are in; those that the answer cannot show may
        lack."""
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
