"""What a question needs of the blocks of its range.

Enters: a Question and its range. Leaves: a Plan: its filters as a tree, the columns that every
block must have, where periods begin, and which blocks reach over an edge. Called by
reports/columnar.py and by what reads (reading.py), narrows (narrowing.py) and sums (sums.py) blocks
for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from properties.goals import fits
from properties.periods import Range, Span
from reports import filters, metrics, summing
from reports.blocks import (
    CROSSES,
    LENGTHS,
    START,
    TIME,
    VISITOR,
    Block,
    dictionary_of,
    microseconds,
)
from reports.columns import Numbers
from reports.dictionaries import Judged
from reports.questions import Question


@dataclass(frozen=True)
class Plan:
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
    def ranks_first(self) -> bool:
        """Whether the rows stand in the order of what is simply added up of events: then what is
        dearer (people, sessions, quantiles) need be counted only of the rows that are shown."""
        name, _ = self.question.order[0]
        if not self.names_event or not self.split or len(self.starts):
            return False
        return name in metrics.METRICS and set(self.event_needs) >= {*metrics.METRICS[name].needs}

    @cached_property
    def asks_visitors(self) -> bool:
        return metrics.VISITORS in self.question.needs

    @cached_property
    def summed_by(self) -> str | None:
        """The dimension whose sums (summing.py) say what is asked of whole blocks: "" where it is
        split by nothing but time. None where they do not."""
        if self.tree is not None:
            return None
        if not self.split:
            return None if self.asks_visitors or self.samples else summing.WHOLE
        dimensions = self.question.dimensions
        if len(dimensions) != 1 or not self.split[0].summed:
            return None
        return None if self.paired and dimensions[0] != summing.PAIRED else dimensions[0]

    @cached_property
    def summed_columns(self) -> set[str]:
        """What a whole block must have of which sums are asked; of others, what it must have
        besides."""
        if self.summed_by is None:
            return self.columns
        found = summing.columns_of(self.summed_by, self.needs_of_sums)
        if self.summed_by == summing.WHOLE:
            return found
        found |= {VISITOR, LENGTHS, dictionary_of(f"event:{self.summed_by}")}
        if self.samples:
            found |= {f"event:{name}" for name in (self.summed_by, *self.samples)}
        found |= {f"session:{name}" for name in self.session_needs}
        return found | ({START, CROSSES} if self.session_needs else set())

    def has_sums(self, block: Block) -> bool:
        """Whether sums of the block, which is whole, say what is asked."""
        by = self.summed_by
        return by is not None and summing.has_sums(block, by, self.needs_of_sums)

    @cached_property
    def needs_of_sums(self) -> list[str]:
        """The measures that sums tell."""
        of_sessions = [*self.session_needs] if self.summed_by == summing.WHOLE else [*self.paired]
        return [*self.event_needs, *of_sessions]

    @cached_property
    def columns(self) -> set[str]:
        """What every block must have; whether events are looked at one by one depends on it."""
        found = {LENGTHS, CROSSES}
        if self.asks_visitors or self.tree is not None or (self.asks_sessions and self.names_event):
            found.add(VISITOR)
        found |= {f"{dimension.scope}:{dimension.name}" for dimension in self.split}
        found |= {leaf.column for leaf in self.leaves if leaf.operator != "has_done"}
        of_sessions = [*self.session_needs, *self.paired, *self.paired.values()]
        found |= {f"session:{name}" for name in of_sessions}
        if self.paired:
            found.add("event:page")
        kind = "event" if self.names_event else "visit"
        found |= {f"{kind}:{name}" for name in self.event_needs}
        found |= {f"event:{name}" for name in self.samples}
        if self.asks_sessions and (self.names_event or len(self.starts)):
            found.add(START)
        return found

    def splits(self, span: Span) -> bool:
        """Whether the block reaches over an edge of the range or of a period."""
        if span not in self._splits:
            self._splits[span] = self._is_split(span)
        return self._splits[span]

    @cached_property
    def _splits(self) -> dict[Span, bool]:
        return {}

    def _is_split(self, span: Span) -> bool:
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


def _test(leaf: filters.Leaf) -> Callable[[bytes], bool] | None:
    """What a filter that does not compare whole values asks of a text."""
    if leaf.operator == "contains":
        parts = [value.encode() for value in leaf.values]
        return lambda text: any(part in text for part in parts)
    if leaf.operator == "matches":
        return lambda text: any(fits(text.decode(), pattern) for pattern in leaf.values)
    if leaf.operator == filters.WORTH:
        brings = filters.brings(leaf)
        return lambda text: brings(text.decode())
    return None
