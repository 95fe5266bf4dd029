"""A crowd: how many visitors show what, as columns of numbers, so that counting costs little.

In: looks (looks.py) and how many show each. Out: the three numbers, who is new, and the values of a
dimension with the most visitors. A process takes a look apart once and remembers it by its bytes:
its state, a code for each text, how often the visitor comes. Counting a hundred thousand visitors
is then some sums over small numbers. Called by live.py, rounds.py and reports/realtime.py.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from heapq import nsmallest
from threading import Lock
from typing import Any, Final, NamedTuple

import numpy as np

from tracking import looks
from tracking.looks import TEXTS, VISITS

Numbers = np.ndarray[Any, np.dtype[Any]]

REMEMBERED = 150_000  # looks, at most some 40 MB; more only where one property shows more at once
REMEMBERED_BYTES = 32_000_000  # of looks: addresses may be long
VISIT: Final = "visit"
DIMENSIONS: Final = (*TEXTS, VISIT)
_RANK, _VISIT = 0, len(TEXTS) + 1  # columns; those of the texts lie between
_VISITS: Final = ("", *VISITS.values())  # by code


class _Rows(dict[bytes, int]):
    """Look -> row; -1 of one that is not known."""

    def __missing__(self, _: bytes) -> int:
        return -1


class _Counts(dict[Any, int]):
    """What Valkey writes -> the number; most are small, and looking up is cheaper than reading."""

    def __missing__(self, text: Any) -> int:
        return int(text)


_NUMBERS: Final = _Counts({b"%d" % number: number for number in range(1_000)})


class Table:
    """Looks that were taken apart. It only grows, so what was counted stays readable while others
    count; when it is full, the next crowd begins another one."""

    def __init__(self) -> None:
        self.looks: list[bytes] = []  # row -> look
        self.texts: list[list[str]] = [[""] for _ in TEXTS] + [list(_VISITS)]  # code -> text
        self.columns = np.zeros((len(TEXTS) + 2, 1_024), np.int32)
        self._rows = _Rows()
        self._codes: list[dict[bytes, int]] = [{b"": 0} for _ in TEXTS]
        self._bytes = 0
        self._lock = Lock()

    def is_full(self) -> bool:
        return len(self.looks) > REMEMBERED or self._bytes > REMEMBERED_BYTES

    def codes_of(self, dimension: str, wanted: Collection[str]) -> list[int]:
        """Of those of the texts that anybody has shown."""
        if dimension == VISIT:
            return [code for code, text in enumerate(_VISITS) if text in wanted]
        known = self._codes[DIMENSIONS.index(dimension)]
        found = (known.get(text.encode("utf-8", "replace")) for text in wanted)
        return [code for code in found if code is not None]

    def rows_of(self, found: Sequence[bytes]) -> Numbers:
        """The row of each; those that are not known yet get one."""
        with self._lock:
            rows = np.fromiter(map(self._rows.__getitem__, found), np.int64, len(found))
            unknown = np.flatnonzero(rows < 0)
            if unknown.size:
                first = len(self.looks)
                new = [found[at] for at in unknown.tolist()]
                self._append(new)
                rows[unknown] = np.arange(first, first + len(new))
        return rows

    def _append(self, new: Sequence[bytes]) -> None:
        first, end = len(self.looks), len(self.looks) + len(new)
        if end > self.columns.shape[1]:  # whoever reads the old one finds there what she wants
            wider = np.zeros((len(self.columns), 2 * end), np.int32)
            wider[:, :first] = self.columns[:, :first]
            self.columns = wider
        apart: dict[bytes, list[int]] = {}  # in all three states the same is shown
        rows: list[list[int]] = []
        for look in new:
            rest = look[1:]
            codes = apart.get(rest)
            if codes is None:
                codes = apart[rest] = self._take_apart(rest)
            rows.append([look[0], *codes])
        self.columns[:, first:end] = np.array(rows).T
        self._rows.update(zip(new, range(first, end), strict=True))
        self._bytes += sum(map(len, new))
        self.looks += new

    def _take_apart(self, rest: bytes) -> list[int]:
        """Codes of a look without its rank."""
        parts, visit = looks.parts(rest)
        codes = []
        for part, known, texts in zip(parts, self._codes, self.texts, strict=False):
            code = known.get(part)
            if code is None:
                code = known[part] = len(texts)
                texts.append(part.decode())
            codes.append(code)
        codes.append(_VISITS.index(VISITS.get(visit, "")))
        return codes


class Ranked(NamedTuple):
    """A value and its visitors by state; of how many it is known how often they come, and how many
    of those are new."""

    value: str
    states: list[int]
    new: int
    known: int


@dataclass(frozen=True, eq=False)
class Crowd:
    """`counts`: visitors, by row of the table; a row may stand there more than once."""

    table: Table
    rows: Numbers
    counts: Numbers

    def __len__(self) -> int:
        """How many looks."""
        return len(self.rows)

    @cached_property
    def _ranks(self) -> Numbers:
        return self.table.columns[_RANK][self.rows]

    @property
    def states(self) -> list[int]:
        """Visitors by rank."""
        return _sums(self._ranks, self.counts, len(looks.RANK))

    @property
    def visits(self) -> dict[str, int]:
        """Visitors by how often they come, of whom it is known."""
        sums = _sums(self.table.columns[_VISIT][self.rows], self.counts, len(_VISITS))
        return dict(zip(_VISITS[1:], sums[1:], strict=True))

    def ranked(self, dimension: str, most: int, with_visits: bool = False) -> list[Ranked]:
        """The values with the most visitors, at most so many, without that of no text."""
        texts = self.table.texts[DIMENSIONS.index(dimension)]
        values, codes = self._values_of(dimension)
        size = len(values)
        by = np.bincount(codes * 3 + self._ranks, self.counts, 3 * size).reshape(size, 3)
        open_ = by.sum(axis=1)
        open_[values == 0] = 0
        first = sorted(
            _largest(open_, most, lambda at: texts[values[at]]),
            key=lambda at: (-open_[at], texts[values[at]]),
        )
        new: Numbers = np.zeros(size)
        known: Numbers = new
        if with_visits:
            visit = self.table.columns[_VISIT][self.rows]
            known = np.bincount(codes, self.counts * (visit > 0), size)
            new = np.bincount(codes, self.counts * (visit == 1), size)
        return [
            Ranked(texts[values[at]], by[at].astype(int).tolist(), int(new[at]), int(known[at]))
            for at in first
        ]

    def chosen(self, mask: Numbers) -> Crowd:
        return Crowd(self.table, self.rows[mask], self.counts[mask])

    def is_one_of(self, dimension: str, wanted: Collection[str]) -> Numbers:
        """Of each look whether it shows one of these values."""
        codes = self.table.columns[1 + DIMENSIONS.index(dimension)][self.rows]
        return np.isin(codes, self.table.codes_of(dimension, wanted))

    def fits(self, dimension: str, asked: Callable[[str], bool]) -> Numbers:
        """Of each look what is true of its value; each value is asked about once."""
        texts = self.table.texts[DIMENSIONS.index(dimension)]
        values, codes = self._values_of(dimension)
        answers = np.fromiter((asked(texts[code]) for code in values.tolist()), bool, len(values))
        return answers[codes]

    def _values_of(self, dimension: str) -> tuple[Numbers, Numbers]:
        """Codes of values, and of each look which of them it shows. The table knows what all
        properties of the process show, so a small crowd is not asked about all of that."""
        codes = self.table.columns[1 + DIMENSIONS.index(dimension)][self.rows]
        size = len(self.table.texts[DIMENSIONS.index(dimension)])
        if size > 4 * len(codes) + 64:
            return np.unique(codes, return_inverse=True)
        return np.arange(size), codes

    def within(self, table: Table) -> Crowd:
        """The same by the rows of another table."""
        if table is self.table:
            return self
        known = self.table.looks
        return Crowd(table, table.rows_of([known[row] for row in self.rows.tolist()]), self.counts)


def _sums(codes: Numbers, counts: Numbers, size: int) -> list[int]:
    return np.bincount(codes, counts, size).astype(int).tolist()


def _largest(numbers: Numbers, most: int, name: Callable[[int], str]) -> list[int]:
    """Where the largest numbers above 0 are; of equal ones the first by name."""
    found = np.flatnonzero(numbers > 0)
    if len(found) <= most:
        return found.tolist()
    least = np.partition(numbers[found], -most)[-most]
    sure = found[numbers[found] > least].tolist()
    equal = found[numbers[found] == least].tolist()
    return sure + nsmallest(most - len(sure), equal, key=name)


_table = Table()


def table() -> Table:
    """That of the process."""
    global _table
    if _table.is_full():
        _table = Table()
    return _table


def of(counts: Mapping[bytes, Any]) -> Crowd:
    """`counts`: look -> how many show it, as a number or as Valkey writes one."""
    here = table()
    numbers = np.fromiter(map(_NUMBERS.__getitem__, counts.values()), np.int64, len(counts))
    return Crowd(here, here.rows_of(list(counts)), numbers)


def together(every: Sequence[Crowd]) -> Crowd:
    """Those of several properties; who is in two of them is two visitors."""
    if len(every) == 1:
        return every[0]
    here = table()
    moved = [crowd.within(here) for crowd in every]
    return Crowd(
        here,
        np.concatenate([crowd.rows for crowd in moved] or [np.zeros(0, np.int64)]),
        np.concatenate([crowd.counts for crowd in moved] or [np.zeros(0, np.int64)]),
    )
