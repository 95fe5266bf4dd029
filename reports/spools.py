"""Any number of rows in their order, in a few megabytes: sorted in pieces that wait on disk.

Enters: rows, flat lists of numbers and texts, in any order; no two of them are alike in what comes
before their first None. Leaves: the same rows in order, as often as they are asked for. What does
not fit is written to a file without a name in SPOOL_DIR, which goes with the spool. Called by
reports/sheets.py and reports/conversions.py.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Iterator
from heapq import merge
from itertools import islice
from tempfile import TemporaryFile

import orjson
from django.conf import settings

Row = list[int | float | str | None]

ROWS_HELD = 20_000
LETTERS_HELD = 2_000_000  # a few long texts take as much as many rows
MOST_RUNS = 100  # that are read side by side, a piece of each
PIECE = 1 << 14  # bytes
WRITTEN_AT_ONCE = 500  # rows

Run = tuple[int, int]  # where it lies in the file: rows in order, a line each


class Spool:
    """Rows, kept until they are taken."""

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self._held: list[Row] = []
        self._letters = 0
        self._rows = 0
        self._levels: list[list[Run]] = []  # of runs as large as MOST_RUNS of the level before
        self._file: int | None = None
        self._end = 0
        for row in rows:
            self.add(row)

    def __len__(self) -> int:
        return self._rows

    def add(self, row: Row) -> None:
        self._held.append(row)
        self._rows += 1
        self._letters += sum(len(part) for part in row if isinstance(part, str))
        if len(self._held) >= ROWS_HELD or self._letters >= LETTERS_HELD:
            self._held.sort()
            self._put(self._written(self._held), 0)
            self._held, self._letters = [], 0

    def __iter__(self) -> Iterator[Row]:
        self._held.sort()
        runs = [run for level in self._levels for run in level]
        return merge(*map(self._read, runs), self._held) if runs else iter(self._held)

    def _put(self, run: Run, level: int) -> None:
        """Runs become one when they are many, each of about the same size: so a row is written
        once for every level, however many runs there are."""
        if level == len(self._levels):
            self._levels.append([])
        runs = self._levels[level]
        runs.append(run)
        if len(runs) == MOST_RUNS:
            self._levels[level] = []
            self._put(self._written(merge(*map(self._read, runs))), level + 1)

    def _written(self, rows: Iterable[Row]) -> Run:
        if self._file is None:
            file = TemporaryFile(dir=settings.SPOOL_DIR, buffering=0)  # noqa: SIM115
            self._file = file.fileno()
            weakref.finalize(self, file.close)
        start, left = self._end, iter(rows)
        while some := list(islice(left, WRITTEN_AT_ONCE)):
            lines = memoryview(b"".join(orjson.dumps(row) + b"\n" for row in some))
            while lines:
                written = os.pwrite(self._file, lines, self._end)
                self._end += written
                lines = lines[written:]
        return start, self._end

    def _read(self, run: Run) -> Iterator[Row]:
        at, end = run
        assert self._file is not None, "what is read was written"
        rest = b""
        while at < end:
            part = os.pread(self._file, min(PIECE, end - at), at)
            at += len(part)
            *lines, rest = (rest + part).split(b"\n")
            yield from map(orjson.loads, lines)
