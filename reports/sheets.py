"""A whole table in little memory, for files: its texts in one string, each number in one column.

Enters: a Question that ranks by metrics, and its groups in any order, one at a time. Leaves: the
same groups in the order of reports/questions.py `best`. A row costs its text and 8 bytes a number,
where a dictionary a row costs ten times as much. Called by reports/queries.py.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

import numpy as np

from reports import metrics
from reports.metrics import Metric
from reports.questions import Base, Key, Question

Numbers = np.ndarray[Any, np.dtype[Any]]
AT_ONCE = 10_000
NONE = -1  # a quantile of nothing; base numbers are never below 0


class Sheet:
    """The rows of a table, kept until they are taken. Its dimensions are texts: time is none."""

    def __init__(self, question: Question, groups: Iterable[tuple[Key, Base]]) -> None:
        assert question.interval is None, "a period is no text"
        assert all(name in metrics.METRICS for name, _ in question.order), "ranks by metrics only"
        self.question = question
        self._joined = bytearray()
        self._ends = array("q")  # of every text; a row has as many as there are dimensions
        self._columns = {name: array("q") for name in question.needs}
        nothing = {n: NONE if n in metrics.QUANTILES else 0 for n in question.needs}
        columns = [(name, column, nothing[name]) for name, column in self._columns.items()]
        self._rows = 0
        for key, numbers in groups:
            for part in key:
                self._joined += str(part).encode()
                self._ends.append(len(self._joined))
            for name, column, missing in columns:
                number = numbers.get(name, missing)
                column.append(NONE if number is None else number)
            self._rows += 1

    def __len__(self) -> int:
        return self._rows

    def ordered(self) -> Iterator[tuple[Key, Base]]:
        """Every row, ranked as the question says; ties by the texts, None last."""
        for at in self._places():
            yield self._key(at), self._base(at)

    @cached_property
    def _hashed(self) -> tuple[Numbers, Numbers]:
        """The rows in the order of their hashes, 16 bytes each: a dictionary would take more than
        the sheet. Strangers cannot choose texts of equal hashes: Python salts them."""
        found = np.fromiter((hash(self._key(row)) for row in range(self._rows)), dtype=np.int64)
        order = np.argsort(found, kind="stable")
        return found[order], order

    def find(self, key: Key) -> Base | None:
        """The numbers of a row; None where there is no such row."""
        hashes, rows = self._hashed
        wanted = hash(key)
        for place in range(int(np.searchsorted(hashes, wanted)), self._rows):
            if hashes[place] != wanted:
                return None
            if self._key(row := int(rows[place])) == key:
                return self._base(row)
        return None

    def _base(self, row: int) -> Base:
        return {
            name: None if column[row] == NONE else column[row]
            for name, column in self._columns.items()
        }

    def _key(self, row: int) -> Key:
        width = len(self.question.dimensions)
        first = row * width
        return tuple(self._text(place).decode() for place in range(first, first + width))

    def _text(self, place: int) -> bytes:
        return bytes(self._joined[self._ends[place - 1] if place else 0 : self._ends[place]])

    def _places(self) -> Iterator[int]:
        """The rows in order, few numbers at once."""
        order = self._order()
        for start in range(0, len(order), AT_ONCE):
            yield from order[start : start + AT_ONCE].tolist()

    def _order(self) -> Numbers:
        ranks = [self._rank(metrics.METRICS[name], way) for name, way in self.question.order]
        order = np.lexsort(ranks[::-1])
        tied = np.ones(len(order), dtype=bool)  # with the row before it
        tied[:1] = False
        for rank in ranks:
            ordered = rank[order]
            tied[1:] &= ordered[1:] == ordered[:-1]
        del ranks
        # Stretches of ties: each begins with a row that is not tied and has one behind it that is.
        edges = np.flatnonzero(np.diff(np.concatenate([tied, [False]]).astype(np.int8)))
        for start, end in zip(edges[::2].tolist(), (edges[1::2] + 1).tolist(), strict=True):
            some = order[start:end]
            if not self._is_ordered(some):  # as texts, which takes most memory
                order[start:end] = sorted(some.tolist(), key=self._key)
        return order

    def _is_ordered(self, rows: Numbers) -> bool:
        """Whether their texts are in order, as most routes give them."""
        before: Key = ()
        for at in rows:
            key = self._key(int(at))
            if key < before:
                return False
            before = key
        return True

    def _rank(self, metric: Metric, way: str) -> Numbers:
        """Less is earlier; what has no value comes last."""
        above = self._numbers(metric.of)
        known = above != NONE
        ranked = above.astype(np.float64)
        if metric.over:
            below = self._numbers(metric.over)
            known &= below > 0
            ranked /= np.maximum(below, 1)
        if way == "desc":
            ranked = -ranked
        ranked[~known] = np.inf
        return ranked

    def _numbers(self, name: str) -> Numbers:
        return np.frombuffer(self._columns[name], dtype=np.int64)
