"""A look: what a tab of somebody online shows, in bytes that are equal for all who show the same.

In: state, page, source, campaign, country and device. Out: the bytes that the live set counts by
(lua/online.lua); read again by live.py. lua/accept.lua knows the beginning: the state, which says
what is most active, and the texts that a page keeps from the one before. It adds the last text,
how often the visitor comes: a letter of VISITS.
"""

from functools import lru_cache
from struct import Struct
from sys import intern
from typing import NamedTuple

RANK = {"hidden": 0, "visible": 1, "engaged": 2}  # one byte; the highest of a visitor counts
VISITS = {"n": "new", "r": "returning", "l": "loyal"}  # as lua/accept.lua finds out on arrival
REMEMBERED = 50_000  # looks that a process has read already, at most some 20 MB
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


def pack(state: str, *texts: str) -> bytes:
    """`texts`: those of a Look, in its order and without `visit`."""
    parts = [bytes([RANK.get(state, 0)])]
    for text in texts:
        raw = text.encode()
        parts += (_LENGTH.pack(len(raw)), raw)
    return b"".join(parts)


@lru_cache(maxsize=REMEMBERED)
def read(look: bytes) -> Look:
    """What `pack` made, and Lua may have added to."""
    texts: list[str] = []
    at = 1
    while at < len(look):
        start = at + _LENGTH.size
        at = start + _LENGTH.unpack_from(look, at)[0]
        texts.append(intern(look[start:at].decode()))
    return Look(look[0], *texts[:5], *[VISITS.get(letter, "") for letter in texts[5:6]])
