"""What Valkey keeps of a known visitor: the number, and the day of the last event.

An entry of the hashes `:i:<bucket>` (tracking/keys.py) is two bytes of day (since 1970, UTC) and
three or four of number, as lua/accept.lua writes them; an earlier version wrote "number day" in
decimal digits, and such an entry stays readable. Called by store.restore and forgetting.py.
"""

import struct
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

KNOWN_DAYS = 396  # since the last event, as in lua/accept.lua
BUCKETS = 65_536
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


def since_when(now: int) -> datetime:
    """Who was last seen before that is a stranger; `now` in epoch ms."""
    return datetime.fromtimestamp(now / 1000, UTC) - timedelta(days=KNOWN_DAYS + 1)


def read_entry(entry: bytes) -> Known:
    if len(entry) > LONGEST:
        number, day = entry.split()
        return Known(int(number), int(day))
    return Known(int.from_bytes(entry[2:], "big"), int.from_bytes(entry[:2], "big"))
