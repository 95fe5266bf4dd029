"""Dictionaries of many blocks together: as one, and which of their texts pass a test.

Enters: the Texts of one block after the other. Leaves: numbers that mean the same text in all of
them; of each text once, whether it passes. Called by reports/kept.py, reports/plans.py and
reports/summing.py.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable

import numpy as np

from reports.columns import MARKS, NO_CODES, Numbers, Texts, Unfit, mark_of

MOST_JUDGED = 200_000  # texts: they take 10 MB


class Merged:
    """Dictionaries of many blocks as one: every text gets a number, the same in each of them."""

    def __init__(self) -> None:
        self._parts: list[tuple[Texts, Numbers]] = []  # where new texts were met, and their codes
        self._firsts: list[int] = []  # the number of the first text of each part
        self._marks = np.zeros(0, dtype=MARKS)
        self._firsts_of_marks = np.zeros(0, dtype=np.uint64)
        self._numbers = np.zeros(0, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._marks)

    def value(self, number: int) -> bytes:
        """The text of a number. Cut out when it is asked for: of thousands of pages ten are."""
        part = bisect_right(self._firsts, number) - 1
        texts, codes = self._parts[part]
        return texts.value(int(codes[number - self._firsts[part]]))

    def find(self, value: bytes) -> int | None:
        """The number of a text; None if no dictionary has it."""
        mark = np.frombuffer(mark_of(value), MARKS)
        places, is_known = self._places(mark)
        return int(self._numbers[places[0]]) if is_known[0] else None

    def numbers(self, texts: Texts) -> Numbers:
        """The number of each text of a dictionary. Raises Unfit as make_texts does."""
        places, is_known = self._places(texts.marks)
        if is_known.all():
            numbers = self._numbers[places]
            seconds = self._marks["second"][places]
        else:
            codes = np.flatnonzero(~is_known)
            numbers = np.empty(len(texts), dtype=np.int64)
            numbers[is_known] = self._numbers[places[is_known]]
            numbers[codes] = np.arange(len(self), len(self) + len(codes))
            seconds = texts.marks["second"].copy()
            seconds[is_known] = self._marks["second"][places[is_known]]
            self._learn(texts, codes, numbers[codes])
        if not np.array_equal(seconds, texts.marks["second"]):
            raise Unfit("Two texts have the same mark.")
        return numbers

    def _places(self, marks: Numbers) -> tuple[Numbers, Numbers]:
        places = np.searchsorted(self._firsts_of_marks, marks["first"])
        inside = np.minimum(places, max(len(self._marks) - 1, 0))
        if not len(self._marks):
            return inside, np.zeros(len(marks), dtype=bool)
        return inside, self._firsts_of_marks[inside] == marks["first"]

    @property
    def weight(self) -> int:
        """Bytes that are held, about."""
        return 24 * len(self) + sum(
            len(texts.joined) + 8 * len(codes) for texts, codes in self._parts
        )

    def _learn(self, texts: Texts, codes: Numbers, numbers: Numbers) -> None:
        """Both are in the order of their marks: what is new is put between what is known."""
        self._parts.append(_only(texts, codes))
        self._firsts.append(len(self))
        marks = texts.marks[codes]
        places = np.searchsorted(self._firsts_of_marks, marks["first"])
        self._marks = np.insert(self._marks, places, marks)
        self._numbers = np.insert(self._numbers, places, numbers)
        # By itself it is searched twice as fast as within the pairs.
        self._firsts_of_marks = np.ascontiguousarray(self._marks["first"])


def _only(texts: Texts, codes: Numbers) -> tuple[Texts, Numbers]:
    """A dictionary without what its column is made of besides, and the codes (in order) of these
    texts in it: where they are few, of these texts alone. A year of days has most texts again and
    again."""
    joined = texts.joined
    if 2 * len(codes) < len(texts):
        is_wanted = np.zeros(len(texts), dtype=bool)
        is_wanted[codes] = True
        joined, codes = texts.joined_of(is_wanted), np.arange(len(codes))
    return Texts(joined, np.zeros(0, dtype=MARKS), NO_CODES), codes


class Judged:
    """Which texts pass a test: every text is looked at once, however many blocks have it, while no
    more than MOST_JUDGED are known."""

    def __init__(self, test: Callable[[bytes], bool]) -> None:
        self._test = test
        self._forget()

    def _forget(self) -> None:
        self._merged = Merged()
        self._holds = np.zeros(0, dtype=bool)

    def rows(self, texts: Texts) -> Numbers:
        """Which rows have a text that passes."""
        return self.codes(texts)[texts.codes]

    def codes(self, texts: Texts) -> Numbers:
        """By code: whether the text passes."""
        if len(self._merged) > MOST_JUDGED:
            self._forget()
        numbers = self._merged.numbers(texts)
        new = range(len(self._holds), len(self._merged))
        found = [self._test(self._merged.value(number)) for number in new]
        self._holds = np.concatenate([self._holds, np.array(found, dtype=bool)])
        return self._holds[numbers]
