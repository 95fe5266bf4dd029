"""One column of many rows as a few bytes, and back: numbers, or texts by a dictionary.

Enters: whole numbers or texts. Leaves: bytes for `columns.bits` of as few bytes a row as the day
needs (none at all where every row has the same value), compressed where that halves them.
Called by reports/packing.py, which writes them, and reports/blocks.py, which reads them.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

Numbers = np.ndarray[Any, np.dtype[Any]]

_PLAIN, _PACKED = b"p", b"z"
_NUMBERS = struct.Struct("<BqqI")  # bytes a row, lowest, unit, rows
_TEXTS = struct.Struct("<II")  # bytes of the dictionary, values in it
_BETWEEN = b"\0"  # no text of Postgres has it
_WIDTHS = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


@dataclass(frozen=True)
class Texts:
    """A text a row: `values[codes[row]]`, in UTF-8. Every value stands once in `values`."""

    values: list[bytes]
    codes: Numbers

    def where(self, holds: Callable[[bytes], bool]) -> Numbers:
        """Which rows have a value for which that holds."""
        return np.fromiter(map(holds, self.values), bool, len(self.values))[self.codes]

    def is_any(self, wanted: Iterable[bytes]) -> Numbers:
        """Which rows have one of these values."""
        known = np.zeros(len(self.values), dtype=bool)
        for value in wanted:
            try:
                known[self.values.index(value)] = True
            except ValueError:
                continue
        return known[self.codes]


class TextsMaker:
    """Texts from rows that come in parts."""

    def __init__(self) -> None:
        self._index: dict[str, int] = {}
        self._parts: list[Numbers] = []

    def add(self, texts: Iterable[str]) -> None:
        index = self._index
        codes = [index.setdefault(text, len(index)) for text in texts]
        self._parts.append(np.array(codes, dtype=np.uint32))

    def done(self) -> Texts:
        codes = np.concatenate(self._parts) if self._parts else np.zeros(0, dtype=np.uint32)
        return Texts([text.encode() for text in self._index], codes)


# -- bytes -----------------------------------------------------------------------------------


def pack_numbers(numbers: Numbers) -> bytes:
    return _squeezed(_number_bytes(numbers))


def pack_texts(texts: Texts) -> bytes:
    values = _BETWEEN.join(texts.values)
    head = _TEXTS.pack(len(values), len(texts.values))
    return _squeezed(head + values + _number_bytes(texts.codes))


def unpack_numbers(data: bytes) -> Numbers:
    """As the smallest unsigned type that holds them, or int64."""
    return _numbers(_opened(data), 0)


def unpack_texts(data: bytes) -> Texts:
    opened = _opened(data)
    length, count = _TEXTS.unpack_from(opened)
    end = _TEXTS.size + length
    values = opened[_TEXTS.size : end].split(_BETWEEN) if count else []
    return Texts(values, _numbers(opened, end))


def _squeezed(plain: bytes) -> bytes:
    """Unpacking costs more than reading: only where it saves half."""
    packed = zlib.compress(plain, 1)
    if len(packed) * 2 < len(plain):
        return _PACKED + packed
    return _PLAIN + plain


def _opened(data: bytes) -> bytes:
    kind, rest = data[:1], data[1:]
    return zlib.decompress(rest) if kind == _PACKED else rest


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
    if highest == 0:
        return 0
    return next(width for width in _WIDTHS if highest < 1 << (8 * width))


def _numbers(data: bytes, start: int) -> Numbers:
    width, low, unit, count = _NUMBERS.unpack_from(data, start)
    if width == 0:
        return np.full(count, low, dtype=np.uint8 if 0 <= low < 256 else np.int64)
    found = np.frombuffer(data, _WIDTHS[width], count, start + _NUMBERS.size)
    if low == 0 and unit == 1:
        return found
    return found.astype(np.int64) * unit + low
