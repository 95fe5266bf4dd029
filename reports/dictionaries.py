"""Dictionaries of many blocks together: as one, and which of their texts pass a test.

Enters: the Texts of one block after the other. Leaves: numbers that mean the same text in all of
them; of each text once, whether it passes. Called by reports/kept.py, reports/plans.py and
reports/summing.py.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from threading import Lock

import numpy as np

from reports.columns import MARKS, NO_CODES, Dictionary, Numbers, Texts, Unfit, marks_of

MOST_OF_ONE = 16 << 20  # bytes of a lexicon: it learns nothing by which it might become more
MOST_JUDGED = 200_000  # texts: they take 10 MB
JUDGED_AT_ONCE = 4_096  # texts that are cut out together


class Merged:
    """Dictionaries of many blocks as one: every text gets a number, the same in each of them."""

    OF_TEXT = 32  # bytes of a text: mark, half of the mark, number

    def __init__(self) -> None:
        self._parts: list[tuple[Dictionary, Numbers]] = []  # where new texts were met; their codes
        self._firsts: list[int] = []  # the number of the first text of each part
        self._marks = np.zeros(0, dtype=MARKS)
        self._firsts_of_marks = np.zeros(0, dtype=np.uint64)
        self._numbers = np.zeros(0, dtype=np.int64)
        self._by_lexicon: dict[Lexicon, Numbers] = {}  # by number there the number here; -1: none

    def __len__(self) -> int:
        return len(self._marks)

    def value(self, number: int) -> bytes:
        """The text of a number. Cut out when it is asked for: of thousands of pages ten are."""
        part = bisect_right(self._firsts, number) - 1
        texts, codes = self._parts[part]
        return texts.value(int(codes[number - self._firsts[part]]))

    def values_at(self, numbers: Numbers) -> list[bytes]:
        """The texts of many numbers: they cost less than one by one."""
        found = np.empty(len(numbers), dtype=object)
        parts = np.searchsorted(self._firsts, numbers, side="right") - 1
        for part in np.unique(parts).tolist():
            places = np.flatnonzero(parts == part)
            texts, codes = self._parts[part]
            found[places] = texts.values_at(codes[numbers[places] - self._firsts[part]])
        return found.tolist()

    def find(self, value: bytes) -> int | None:
        """The number of a text; None if no dictionary has it."""
        numbers = self.find_all([value])
        return int(numbers[0]) if len(numbers) else None

    def find_all(self, wanted: Iterable[bytes]) -> Numbers:
        """The numbers of those of these texts that a dictionary has."""
        marks = marks_of(wanted)
        places, is_known = self._places(marks)
        places = places[is_known]
        return self._numbers[places[self._marks[places] == marks[is_known]]]

    def numbers(self, texts: Dictionary) -> Numbers:
        """The number of each text of a dictionary. Raises Unfit as make_texts does."""
        if isinstance(texts, Texts):
            return self._numbers_of(texts, np.arange(len(texts)), texts.marks)
        assert isinstance(texts, Known)
        met = self._met_of(texts)
        codes = np.flatnonzero(met[texts.numbers] < 0)
        if len(codes):
            met[texts.numbers[codes]] = self._numbers_of(texts, codes, texts.marks_at(codes))
        return met[texts.numbers]

    def _met_of(self, texts: Known) -> Numbers:
        """By number in the lexicon of a dictionary the number here; -1 where the text was not met
        yet. It is kept and filled in, so what most days have is looked for by its mark once."""
        many = int(texts.numbers.max(initial=0)) + 1
        found = self._by_lexicon.get(texts.lexicon)
        if found is None or len(found) < many:
            longer = np.full(max(many, len(texts.lexicon)), -1, dtype=np.int64)
            if found is not None:
                longer[: len(found)] = found
            found = self._by_lexicon[texts.lexicon] = longer
        return found

    def _numbers_of(self, texts: Dictionary, codes: Numbers, marks: Numbers) -> Numbers:
        places, is_known = self._places(marks)
        if is_known.all():
            numbers = self._numbers[places]
            seconds = self._marks["second"][places]
        else:
            new = np.flatnonzero(~is_known)
            numbers = np.empty(len(codes), dtype=np.int64)
            numbers[is_known] = self._numbers[places[is_known]]
            numbers[new] = np.arange(len(self), len(self) + len(new))
            seconds = marks["second"].copy()
            seconds[is_known] = self._marks["second"][places[is_known]]
            self._learn(texts, codes[new], marks[new], numbers[new])
        if not np.array_equal(seconds, marks["second"]):
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
        return self.OF_TEXT * len(self) + sum(texts.weight for texts, _ in self._parts)

    def marks(self) -> Numbers:
        """Those of all texts, by their numbers."""
        found = np.empty(len(self), dtype=MARKS)
        found[self._numbers] = self._marks
        return found

    def _learn(self, texts: Dictionary, codes: Numbers, marks: Numbers, numbers: Numbers) -> None:
        """All are in the order of their marks: what is new is put between what is known."""
        self._parts.append(texts.only(codes))
        self._firsts.append(len(self))
        places = np.searchsorted(self._firsts_of_marks, marks["first"])
        self._marks = np.insert(self._marks, places, marks)
        self._numbers = np.insert(self._numbers, places, numbers)
        # By itself it is searched twice as fast as within the pairs.
        self._firsts_of_marks = np.ascontiguousarray(self._marks["first"])


class Lexicon:
    """Dictionaries of days as numbers of texts that stand here once: for as long as a process has
    them, a day's need not be read again. Several threads may ask it."""

    # Bytes besides what is counted, as tracemalloc tells them: of the objects of a lexicon, and of
    # a dictionary; of a text its mark once more, the place where it ends and its code.
    BARE, OF_DICTIONARY, OF_TEXT = 1_500, 800, 36

    def __init__(self) -> None:
        self._lock = Lock()
        self._merged = Merged()
        self._numbers: dict[bytes, Numbers] = {}  # of each text of a dictionary, by its digest
        self._marks: Numbers | None = None  # by number
        self.weight = self.BARE  # bytes that are held, about

    def __len__(self) -> int:
        return len(self._merged)

    def recall(self, digest: bytes) -> Known | None:
        """The dictionary of these bytes; None if it was not learned."""
        numbers = self._numbers.get(digest)
        return None if numbers is None else Known(self, numbers, NO_CODES)

    def learn(self, digest: bytes, texts: Texts) -> Dictionary:
        """The same dictionary, known from now on; unless more might be held for it than may be, or
        two texts were taken for one."""
        with self._lock:
            if self.weight + self._most_of(texts) > MOST_OF_ONE:
                return texts
            self._marks = None
            try:
                numbers = self._numbers[digest] = self._merged.numbers(texts).astype(np.uint32)
            except Unfit:
                return texts
            finally:
                self.weight = self._weighed()
        return Known(self, numbers, NO_CODES)

    def _most_of(self, texts: Texts) -> int:
        """Bytes that a dictionary takes of which no text is known."""
        of_each = 4 + Merged.OF_TEXT + self.OF_TEXT  # 4: its number
        return self.OF_DICTIONARY + len(texts.joined) + of_each * len(texts)

    def _weighed(self) -> int:
        of_numbers = sum(self.OF_DICTIONARY + one.nbytes for one in self._numbers.values())
        return self.BARE + of_numbers + self._merged.weight + self.OF_TEXT * len(self)

    def find_all(self, wanted: Iterable[bytes]) -> Numbers:
        """The numbers of those of these texts that were learned."""
        with self._lock:
            return self._merged.find_all(wanted)

    def value(self, number: int) -> bytes:
        with self._lock:
            return self._merged.value(number)

    def values_at(self, numbers: Numbers) -> list[bytes]:
        with self._lock:
            return self._merged.values_at(numbers)

    def marks_at(self, numbers: Numbers) -> Numbers:
        with self._lock:
            if self._marks is None:
                self._marks = self._merged.marks()
            return self._marks[numbers]


@dataclass(frozen=True)
class Known(Dictionary):
    """A dictionary by what a lexicon knows of it: the `numbers` of its texts there."""

    lexicon: Lexicon
    numbers: Numbers
    codes: Numbers

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def weight(self) -> int:
        return self.numbers.nbytes

    def value(self, code: int) -> bytes:
        return self.lexicon.value(int(self.numbers[code]))

    def values_at(self, codes: Numbers) -> list[bytes]:
        return self.lexicon.values_at(self.numbers[codes])

    def codes_of(self, wanted: Iterable[bytes]) -> Numbers:
        """All in one pass: nothing says where a number stands."""
        found = self.lexicon.find_all(wanted)
        is_wanted = np.zeros(len(self.lexicon), dtype=bool)
        is_wanted[found] = True
        return np.flatnonzero(is_wanted[self.numbers])

    def marks_at(self, codes: Numbers) -> Numbers:
        return self.lexicon.marks_at(self.numbers[codes])

    def only(self, codes: Numbers) -> tuple[Known, Numbers]:
        return Known(self.lexicon, self.numbers[codes], NO_CODES), np.arange(len(codes))

    def with_codes(self, codes: Numbers) -> Known:
        return Known(self.lexicon, self.numbers, codes)

    def at(self, rows: Numbers) -> Known:
        return self.with_codes(self.codes[rows])

    def used(self) -> Known:
        """What no row has costs a number here, and only files ask, which remember nothing."""
        return self


class Judged:
    """Which texts pass a test: every text is looked at once, however many blocks have it, while no
    more than MOST_JUDGED are known."""

    def __init__(self, test: Callable[[bytes], bool]) -> None:
        self._test = test
        self._forget()

    def _forget(self) -> None:
        self._merged = Merged()
        self._holds = np.zeros(0, dtype=bool)

    def rows(self, texts: Dictionary) -> Numbers:
        """Which rows have a text that passes."""
        return self.codes(texts)[texts.codes]

    def codes(self, texts: Dictionary) -> Numbers:
        """By code: whether the text passes."""
        if len(self._merged) > MOST_JUDGED:
            self._forget()
        numbers = self._merged.numbers(texts)
        first, behind = len(self._holds), len(self._merged)
        found = [
            self._test(value)
            for start in range(first, behind, JUDGED_AT_ONCE)
            for value in self._merged.values_at(
                np.arange(start, min(start + JUDGED_AT_ONCE, behind))
            )
        ]
        self._holds = np.concatenate([self._holds, np.array(found, dtype=bool)])
        return self._holds[numbers]
