"""One column of many rows as a few bytes, and back: numbers, or texts by a dictionary.

Enters: whole numbers or texts. Leaves: bytes for `columns.bits` of as few bytes a row as the day
needs (none at all where every row has the same value), compressed where that saves most.
Called by reports/packing.py, which writes them, and reports/blocks.py, which reads them.
"""

from __future__ import annotations

import struct
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np

Numbers = np.ndarray[Any, np.dtype[Any]]

_PLAIN, _PACKED = b"P", b"Z"  # first byte: the layout; another one needs other letters
_CODES = {_PLAIN: b"C", _PACKED: b"D"}  # the same of texts whose dictionary stands elsewhere
_NUMBERS = struct.Struct("<BqqI")  # bytes a row, lowest, unit, rows
_TEXTS = struct.Struct("<II")  # bytes of the dictionary, values in it
HEAD = 1 + _NUMBERS.size  # bytes in which a Layout stands
_BETWEEN = b"\0"  # no text of Postgres has it
# The widest one has a sign: numpy makes fractions of int64 and uint64 together.
_WIDTHS = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.int64}


class Unfit(Exception):
    """This cannot be put into columns, or is not in them: count it in another way."""


MARKS = np.dtype([("first", "<u8"), ("second", "<u8")])
NO_CODES: Numbers = np.zeros(0, dtype=np.uint8)


def mark_of(value: bytes) -> bytes:
    """128 bits that stand for a text: two texts with the same ones are not to be found."""
    return blake2b(value, digest_size=16).digest()


def marks_of(values: Iterable[bytes]) -> Numbers:
    return np.frombuffer(b"".join(map(mark_of, values)), MARKS)


class Dictionary(ABC):
    """Texts in UTF-8 that stand once each, in the order of their marks; `codes`: the place of each
    row's text among them."""

    codes: Numbers

    @abstractmethod
    def __len__(self) -> int:
        """How many different texts there are."""

    @property
    @abstractmethod
    def weight(self) -> int:
        """Bytes that it holds, about; its codes apart."""

    @abstractmethod
    def value(self, code: int) -> bytes: ...

    @abstractmethod
    def values_at(self, codes: Numbers) -> list[bytes]:
        """Many of the texts: they cost less than one by one."""

    @abstractmethod
    def codes_of(self, wanted: Iterable[bytes]) -> Numbers:
        """The codes of those of these texts that are there."""

    @abstractmethod
    def marks_at(self, codes: Numbers) -> Numbers:
        """The marks of some of the texts."""

    @abstractmethod
    def only(self, codes: Numbers) -> tuple[Dictionary, Numbers]:
        """A dictionary to be kept for these texts (in order), and their codes in it."""

    @abstractmethod
    def at(self, rows: Numbers) -> Dictionary:
        """The same for some of the rows, or for all in another order."""

    @abstractmethod
    def used(self) -> Dictionary:
        """The same, as far as it is easily done with no text that no row has."""

    @abstractmethod
    def with_codes(self, codes: Numbers) -> Dictionary:
        """The same dictionary, of other rows."""

    def is_any(self, wanted: Iterable[bytes]) -> Numbers:
        """Which rows have one of these values."""
        codes = self.codes_of(wanted)
        if len(codes) == 1:
            return self.codes == codes[0]
        known = np.zeros(len(self), dtype=bool)
        known[codes] = True
        return known[self.codes]

    def find(self, value: bytes) -> int | None:
        """The code of a text; None if it is not there."""
        codes = self.codes_of([value])
        return int(codes[0]) if len(codes) else None


@dataclass(frozen=True)
class Texts(Dictionary):
    """A text a row, in UTF-8: `codes` are places in a dictionary of texts that stand once each.

    The dictionary is one string, in the order of `marks`: so dictionaries of several blocks are
    put together, and texts found in them, without taking them apart.
    """

    joined: bytes
    marks: Numbers
    codes: Numbers

    def __len__(self) -> int:
        """How many different texts there are."""
        return len(self.marks)

    @cached_property
    def _ends(self) -> Numbers:
        found = np.flatnonzero(np.frombuffer(self.joined, np.uint8) == 0)
        return np.append(found, len(self.joined))

    @property
    def weight(self) -> int:
        return len(self.joined) + self.marks.nbytes

    def value(self, code: int) -> bytes:
        start = int(self._ends[code - 1]) + 1 if code else 0
        return self.joined[start : int(self._ends[code])]

    def values_at(self, codes: Numbers) -> list[bytes]:
        starts = np.append(0, self._ends[:-1] + 1)[codes].tolist()
        ends = self._ends[codes].tolist()
        return [self.joined[start:end] for start, end in zip(starts, ends, strict=True)]

    @property
    def values(self) -> list[bytes]:
        return self.joined.split(_BETWEEN) if len(self) else []

    def codes_of(self, wanted: Iterable[bytes]) -> Numbers:
        marks = marks_of(wanted)
        places = np.searchsorted(self.marks["first"], marks["first"])
        is_inside = places < len(self)
        codes = places[is_inside]
        return codes[self.marks[codes] == marks[is_inside]]

    def marks_at(self, codes: Numbers) -> Numbers:
        return self.marks[codes]

    def with_codes(self, codes: Numbers) -> Texts:
        return Texts(self.joined, self.marks, codes)

    def at(self, rows: Numbers) -> Texts:
        return self.with_codes(self.codes[rows])

    def only(self, codes: Numbers) -> tuple[Texts, Numbers]:
        """Without what its column is made of besides; where they are few, of these texts alone: a
        year of days has most texts again and again."""
        joined = self.joined
        if 2 * len(codes) < len(self):
            is_wanted = np.zeros(len(self), dtype=bool)
            is_wanted[codes] = True
            joined, codes = self.joined_of(is_wanted), np.arange(len(codes))
        return Texts(joined, np.zeros(0, dtype=MARKS), NO_CODES), codes

    def used(self) -> Texts:
        is_used = np.zeros(len(self), dtype=bool)
        is_used[self.codes] = True
        if is_used.all():
            return self
        joined = self.joined_of(is_used)
        return Texts(joined, self.marks[is_used], (np.cumsum(is_used) - 1)[self.codes])

    def joined_of(self, is_wanted: Numbers) -> bytes:
        """Some of the texts (by code: True) as one string; without making each of them an object,
        in little more memory than the dictionary takes."""
        lengths = np.diff(self._ends, prepend=-1)  # with what stands behind it
        found = np.frombuffer(self.joined + _BETWEEN, np.uint8)[np.repeat(is_wanted, lengths)]
        return found[:-1].tobytes()


def make_texts(values: Iterable[str], codes: Numbers) -> Texts:
    """`codes` are places in `values`, which are all different. Raises Unfit if two of them have
    the same mark by half, which somebody may bring about."""
    every = [value.encode() for value in values]
    marks = marks_of(every)
    order = np.argsort(marks["first"], kind="stable")
    ordered = marks["first"][order]
    if (ordered[1:] == ordered[:-1]).any():
        raise Unfit("Two texts have the same mark.")
    places = np.empty(len(order), dtype=np.uint32)
    places[order] = np.arange(len(order), dtype=np.uint32)
    return Texts(_BETWEEN.join(every[place] for place in order), marks[order], places[codes])


class TextsMaker:
    """Texts from rows that come in parts."""

    def __init__(self) -> None:
        self._index: dict[str, int] = {}
        self._parts: list[Numbers] = []

    def add(self, texts: Sequence[str]) -> None:
        """One by one only those that are met for the first time."""
        index = self._index
        for text in dict.fromkeys(texts):
            index.setdefault(text, len(index))
        codes = map(index.__getitem__, texts)
        self._parts.append(np.fromiter(codes, dtype=np.uint32, count=len(texts)))

    def done(self) -> Texts:
        codes = np.concatenate(self._parts) if self._parts else np.zeros(0, dtype=np.uint32)
        return make_texts(self._index, codes)


# -- bytes -----------------------------------------------------------------------------------


def pack_numbers(numbers: Numbers, *, in_parts: bool = False) -> bytes:
    """`in_parts`: so that a part of the bytes can be read by itself (`Layout`)."""
    plain = _number_bytes(numbers)
    return _PLAIN + plain if in_parts else _squeezed(plain)


def pack_texts(texts: Texts) -> bytes:
    return _squeezed(_dictionary_bytes(texts) + _number_bytes(texts.codes))


def pack_codes(texts: Texts) -> bytes:
    """What each row has, without the dictionary."""
    found = pack_numbers(texts.codes)
    return _CODES[found[:1]] + found[1:]


def pack_dictionary(texts: Texts) -> bytes:
    """Without what each row has."""
    return _squeezed(_dictionary_bytes(texts))


def _dictionary_bytes(texts: Texts) -> bytes:
    return _TEXTS.pack(len(texts.joined), len(texts)) + texts.joined + texts.marks.tobytes()


def unpack_numbers(data: bytes, rows: Numbers | None = None) -> Numbers:
    """As the smallest of three unsigned types that holds them, or int64; of all rows, or of
    these."""
    return _numbers(_opened(data), 0, rows)


def unpack_texts(data: bytes) -> Texts:
    opened = _opened(data)
    dictionary, start = _dictionary(opened)
    return dictionary.with_codes(_numbers(opened, start))


def unpack_codes(data: bytes, dictionary: Dictionary) -> Dictionary:
    """The rows of a dictionary that stands elsewhere."""
    return dictionary.with_codes(_numbers(_opened(data, *_CODES.values()), 0))


def unpack_dictionary(data: bytes) -> Texts:
    """Texts that no row has."""
    return _dictionary(_opened(data))[0]


def _dictionary(opened: bytes | memoryview) -> tuple[Texts, int]:
    """And where it ends."""
    length, count = _TEXTS.unpack_from(opened)
    start = _TEXTS.size + length
    marks = np.frombuffer(opened, MARKS, count, start)
    joined = bytes(opened[_TEXTS.size : start])
    return Texts(joined, marks, NO_CODES), start + marks.nbytes


def places_of(starts: Numbers, lengths: Numbers) -> Numbers:
    """The places of several stretches, one stretch after the other."""
    ends = np.cumsum(lengths, dtype=np.int64)
    shifts = starts + lengths - ends
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(shifts, lengths)


class Layout(NamedTuple):
    """How numbers lie in bytes that can be read in parts; it stands in their first HEAD bytes."""

    width: int  # bytes a row
    low: int
    unit: int
    rows: int

    def numbers(self, data: bytes, many: int) -> Numbers:
        """Of so many rows, from their bytes."""
        if self.width == 0:
            return np.full(many, self.low, dtype=np.uint8 if 0 <= self.low < 256 else np.int64)
        return self.valued(np.frombuffer(data, _WIDTHS[self.width], many))

    def valued(self, found: Numbers) -> Numbers:
        """What stands there, as it was."""
        if self.low == 0 and self.unit == 1:
            return found
        most = max(self.low + self.unit * int(found.max(initial=0)), self.unit)
        fits = self.low >= 0 and most < 1 << 32
        wide = found.astype(_WIDTHS[_width(most)] if fits else np.int64)
        return (wide if self.unit == 1 else wide * self.unit) + self.low


def layout_of(head: bytes) -> Layout:
    """Raises Unfit where the bytes cannot be read in parts."""
    if head[:1] != _PLAIN:
        raise Unfit("The column was packed by another version.")
    return Layout(*_NUMBERS.unpack_from(head, 1))


def _squeezed(plain: bytes) -> bytes:
    """Unpacking costs more than reading: only where it saves most."""
    packed = zlib.compress(plain, 1)
    if len(packed) * 4 < len(plain):
        return _PACKED + packed
    return _PLAIN + plain


def _opened(
    data: bytes, is_plain: bytes = _PLAIN, is_packed: bytes = _PACKED
) -> bytes | memoryview:
    kind, rest = data[:1], memoryview(data)[1:]  # not copied: columns of a day may be large
    if kind not in (is_plain, is_packed):
        raise Unfit("The column was packed by another version.")
    return zlib.decompress(rest) if kind == is_packed else rest


def _number_bytes(numbers: Numbers) -> bytes:
    if not len(numbers):
        return _NUMBERS.pack(0, 0, 1, 0)
    wide = numbers.astype(np.int64)
    low = int(wide.min())
    wide -= low
    unit = int(np.gcd.reduce(wide)) or 1
    wide //= unit
    width = _width(int(wide.max()))
    head = _NUMBERS.pack(width, low, unit, len(wide))
    return head + (wide.astype(_WIDTHS[width]).tobytes() if width else b"")


def _width(highest: int) -> int:
    """Bytes of the smallest number type, none for zeros."""
    if highest == 0:
        return 0
    return next(width for width in _WIDTHS if highest < 1 << (8 * width))


def _numbers(data: bytes | memoryview, start: int, rows: Numbers | None = None) -> Numbers:
    layout = Layout(*_NUMBERS.unpack_from(data, start))
    if layout.width == 0:
        return layout.numbers(b"", layout.rows if rows is None else len(rows))
    found = np.frombuffer(data, _WIDTHS[layout.width], layout.rows, start + _NUMBERS.size)
    # By `take` twice as fast as by brackets where it is not aligned.
    return layout.valued(found if rows is None else found.take(rows))
