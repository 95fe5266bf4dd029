"""What the clients remember: every event that was sent, and every one they were told is kept.

Enters: records of the client processes, one file per thread. Leaves: sets and models for the
checker, which trusts nothing else about what was sent.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

RECORD = struct.Struct("<c16sBIq?")  # kind, id, property, visitor, time in ms, is a pageview
ATTEMPTED, ACKNOWLEDGED, REFUSED = b"a", b"k", b"r"


@dataclass(frozen=True, slots=True)
class Sent:
    """An event as its sender knows it."""

    place: int
    visitor: int
    time: int
    is_pageview: bool


@dataclass
class Journal:
    attempted: dict[bytes, Sent] = field(default_factory=dict)
    acknowledged: set[bytes] = field(default_factory=set)
    refused: set[bytes] = field(default_factory=set)


class Writer:
    """One thread's file."""

    def __init__(self, path: Path) -> None:
        self._file: IO[bytes] = path.open("ab")

    def attempt(self, event_id: bytes, sent: Sent) -> None:
        what = (sent.place, sent.visitor, sent.time, sent.is_pageview)
        self._file.write(RECORD.pack(ATTEMPTED, event_id, *what))

    def acknowledge(self, event_id: bytes) -> None:
        self._file.write(RECORD.pack(ACKNOWLEDGED, event_id, 0, 0, 0, False))

    def refuse(self, event_id: bytes) -> None:
        self._file.write(RECORD.pack(REFUSED, event_id, 0, 0, 0, False))

    def close(self) -> None:
        self._file.close()


def read(folder: Path) -> Journal:
    """All files of the folder."""
    journal = Journal()
    for kind, event_id, *what in _records(folder):
        if kind == ATTEMPTED:
            journal.attempted[event_id] = Sent(*what)
        elif kind == ACKNOWLEDGED:
            journal.acknowledged.add(event_id)
        else:
            journal.refused.add(event_id)
    return journal


def _records(folder: Path) -> Iterator[tuple]:
    for path in sorted(folder.glob("*.journal")):
        data = path.read_bytes()
        yield from RECORD.iter_unpack(data[: len(data) // RECORD.size * RECORD.size])
