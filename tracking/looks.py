"""A look: what a tab of somebody online shows, in bytes that are equal for all who show the same.

In: state, page, source, campaign, country and device. Out: the bytes that the live set counts by
(lua/online.lua); taken apart again by crowds.py. lua/accept.lua knows the beginning: the state,
which says what is most active, and the texts that a page keeps from the one before. It adds the
last text, how often the visitor comes: a letter of VISITS.
"""

from functools import lru_cache
from struct import Struct
from typing import Final, NamedTuple

RANK = {"hidden": 0, "visible": 1, "engaged": 2}  # one byte; the highest of a visitor counts
VISITS = {"n": "new", "r": "returning", "l": "loyal"}  # as lua/accept.lua finds out on arrival
TEXTS: Final = ("page", "source", "campaign", "country", "device")  # in this order
_LENGTH = Struct(">H")


class Look(NamedTuple):
    """Texts that nobody sent are empty; so is `visit` where nobody knows."""

    rank: int
    page: str = ""
    source: str = ""
    campaign: str = ""
    country: str = ""
    device: str = ""
    visit: str = ""  # a value of VISITS


@lru_cache(maxsize=8_192)  # of the heartbeats of a site most are like one before; some 5 MB
def pack(state: str, *texts: str) -> bytes:
    """`texts`: those of a Look, in its order and without `visit`."""
    parts = [bytes([RANK.get(state, 0)])]
    for text in texts:
        raw = text.encode()
        parts += (_LENGTH.pack(len(raw)), raw)
    return b"".join(parts)


def parts(rest: bytes) -> tuple[list[bytes], str]:
    """TEXTS, and the letter of the visit ("": not known), of a look without its first byte, the
    rank: of what `pack` made, and Lua may have added to."""
    found = []
    at = 0
    for _ in TEXTS:
        start = at + _LENGTH.size
        at = start + (rest[at] << 8 | rest[at + 1])
        found.append(rest[start:at])
    return found, chr(rest[-1]) if at < len(rest) else ""
