"""What Valkey keeps of a known visitor: the number, and the day of the last event.

An entry of the hashes `:i:<bucket>` (tracking/keys.py) is two bytes of day (since 1970, UTC) and
three or four of number, as lua/accept.lua writes them; an earlier version wrote "number day" in
decimal digits, and such an entry stays readable. Called by store.restore and forgetting.py.
"""

import struct
from typing import NamedTuple

LONGEST = 6  # bytes; an entry in decimal digits has seven or more


class Known(NamedTuple):
    number: int
    day: int


def visitor_entry(number: int, day: int) -> bytes:
    """What accept.lua would write; Postgres may know visitors as of today only."""
    return (
        struct.pack(">HI", day, number)
        if number >= 1 << 24
        else (struct.pack(">H", day) + number.to_bytes(3, "big"))
    )


def read_entry(entry: bytes) -> Known:
    if len(entry) > LONGEST:
        number, day = entry.split()
        return Known(int(number), int(day))
    return Known(int.from_bytes(entry[2:], "big"), int.from_bytes(entry[:2], "big"))
