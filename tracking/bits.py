"""Bits of Valkey as Roaring bitmaps.

In: keys of bits (tracking/keys.py says how a container grows). Out: a BitMap of visitor numbers
for each. Read in few round trips, however many keys; called by the rollups and the live pages.
"""

import struct
from collections.abc import Sequence
from typing import Any

import redis
from pyroaring import BitMap

from tracking import keys

CONTAINER = 65_536
CONTAINER_BYTES = CONTAINER // 8
AT_ONCE = 2_000
ATTEMPTS = 5

# SETBIT counts from the highest bit of a byte, Roaring from the lowest.
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_FULL = b"\xff" * (CONTAINER_BYTES // 8)


def read_bits(client: Any, bit_keys: Sequence[str]) -> list[BitMap]:
    """A bitmap for each key; empty where there is none."""
    values = _read(client, bit_keys)
    containers = {
        keys.container(key, number): (key, number)
        for key, value in zip(bit_keys, values, strict=True)
        if isinstance(value, bytes)
        for number in bits_of(value)
    }
    parts = dict(zip(containers, _read(client, list(containers)), strict=True))
    found = {
        key: BitMap(map(int, value)) if isinstance(value, set) else BitMap()
        for key, value in zip(bit_keys, values, strict=True)
    }
    for name, (key, number) in containers.items():
        found[key] |= container_of(number, parts[name])
    return [found[key] for key in bit_keys]


def container_of(number: int, value: set[bytes] | bytes) -> BitMap:
    """A container's members, as the visitor numbers that they stand for."""
    base = number * CONTAINER
    if isinstance(value, set):
        return BitMap([base + 32_768 + int(member) for member in value])
    return from_bitmap(number, value)


def from_bitmap(number: int, value: bytes) -> BitMap:
    """A container of 65,536 bits in SETBIT's order: Roaring's own format is built around it.

    Unpacking bit by bit takes a hundred times longer. The format takes a bitmap only for more
    than 4,096 members, so two different eighths are filled up and the two results intersected.
    """
    mirrored = value.ljust(CONTAINER_BYTES, b"\0").translate(_MIRRORED)
    eighth = len(_FULL)
    first = _FULL + mirrored[eighth:]
    second = mirrored[:eighth] + _FULL + mirrored[2 * eighth :]
    return _deserialized(number, first) & _deserialized(number, second)


def _deserialized(number: int, container: bytes) -> BitMap:
    """Roaring's portable format: cookie, count, (key, cardinality - 1), offset, container."""
    cardinality = int.from_bytes(container, "big").bit_count()
    header = struct.pack("<IIHHI", 12_346, 1, number, cardinality - 1, 16)
    return BitMap.deserialize(header + container)


def bits_of(value: bytes) -> list[int]:
    """Offsets of the set bits of a short bitmap, in SETBIT's order."""
    return [
        place * 8 + bit for place, byte in enumerate(value) for bit in range(8) if byte & 128 >> bit
    ]


def _read(client: Any, names: Sequence[str]) -> list[set[bytes] | bytes]:
    """SMEMBERS or GET of each key by its kind; an empty set where there is none."""
    found: list[set[bytes] | bytes] = []
    for start in range(0, len(names), AT_ONCE):
        found += _read_some(client, names[start : start + AT_ONCE])
    return found


def _read_some(client: Any, names: Sequence[str]) -> list[set[bytes] | bytes]:
    found: dict[str, set[bytes] | bytes] = {}
    missing = list(dict.fromkeys(names))
    ask = "smembers"
    for _ in range(ATTEMPTS):
        if not missing:
            break
        answers = _ask(client, ask, missing)
        # A key of the other kind refuses the question, also one that has just outgrown its set.
        for name, answer in zip(missing, answers, strict=True):
            if isinstance(answer, redis.exceptions.ResponseError):
                continue
            if isinstance(answer, Exception):
                raise answer
            found[name] = set() if answer is None else answer
        missing = [name for name in missing if name not in found]
        ask = "get" if ask == "smembers" else "smembers"
    return [found[name] for name in names]


def _ask(client: Any, command: str, names: Sequence[str]) -> list[Any]:
    pipe = client.pipeline(transaction=False)
    for name in names:
        getattr(pipe, command)(name)
    return pipe.execute(raise_on_error=False)
