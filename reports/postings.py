"""Which sessions have an event with each value of a dimension, value after value.

Enters: a Block of a day or a part of one with its events. Leaves: columns `sessions:page`, the
places of the sessions of each text of `event:page` (in the order of the texts, each session once a
text), and `many:page`, how many each text has. So whoever wants to know who has seen a page looks
at those who have, and not at every event; and reads, of a large day, hardly more than their part of
the bytes. Called by reports/packing.py; read by reports/sums.py and reports/members.py.
"""

from __future__ import annotations

import numpy as np

from reports import metrics
from reports.blocks import Block
from reports.columns import Numbers, places_of

SESSIONS, MANY = "sessions:", "many:"


def columns_of(dimension: str) -> set[str]:
    """What tells of each value who has it."""
    return {SESSIONS + dimension, MANY + dimension}


def make(block: Block) -> dict[str, Numbers]:
    """Those of every dimension that is summed."""
    found: dict[str, Numbers] = {}
    bits = max(len(block.lengths) - 1, 0).bit_length()
    for dimension in metrics.DIMENSIONS.values():
        if dimension.summed:
            texts = block.texts(f"event:{dimension.name}")
            pairs = np.unique(texts.codes.astype(np.int64) << bits | block.owners)
            many = np.bincount(pairs >> bits, minlength=len(texts))
            found[SESSIONS + dimension.name] = pairs & (1 << bits) - 1
            found[MANY + dimension.name] = many
    return found


def pairs(block: Block, dimension: str, groups: Numbers) -> tuple[Numbers, Numbers]:
    """The group of each value (-1: none) and the place of each session that has it: each session
    once a value."""
    sessions = block.numbers(SESSIONS + dimension)
    many = block.numbers(MANY + dimension).astype(np.int64)
    codes = np.flatnonzero(groups >= 0)
    if len(codes) == len(groups):
        return np.repeat(groups, many), sessions
    starts = np.cumsum(many) - many
    return np.repeat(groups[codes], many[codes]), sessions[places_of(starts[codes], many[codes])]
