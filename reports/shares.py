"""A share of the groups of a question, so that a table of any size is counted in bounded memory.

Enters: a Block, and the columns that the question is split by. Leaves: the Block with the events or
sessions of those groups alone that fall into one Share; by the marks of their texts, so each group
falls into the same share in every block. Called by reports/columnar.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from reports.blocks import APART, DIGEST, LENGTHS, Block, is_text
from reports.columns import Dictionary, Numbers

ODD = np.uint64(0x9E3779B97F4A7C15)  # so that equal texts of two columns do not cancel out


class Share(NamedTuple):
    """The one of this number, of so many (a power of two)."""

    number: int = 0
    of: int = 1

    def split(self, many: int) -> Iterator[Share]:
        """The same as `many` smaller ones."""
        return (Share(self.number + self.of * part, self.of * many) for part in range(many))

    def has(self, marks: Numbers) -> Numbers:
        return (marks >> np.uint64(40)) % np.uint64(self.of) == self.number


def shared(block: Block, split: Sequence[str], share: Share) -> Block:
    """What of the block is split into these groups; columns that were not read are not in it."""
    if share.of == 1:
        return block
    of_sessions = _marks(block, [name for name in split if name.startswith("session:")])
    of_events = _marks(block, [name for name in split if name.startswith("event:")])
    if of_events is None:
        assert of_sessions is not None, "something must be split by to be shared"
        sessions = np.flatnonzero(share.has(of_sessions))
        events = np.flatnonzero(block.spread(share.has(of_sessions)))
    else:
        if of_sessions is not None:
            of_events = of_events * ODD + block.spread(of_sessions)
        sessions, events = np.arange(len(block.lengths)), np.flatnonzero(share.has(of_events))
    found = Block(block.span, {}, block.has_all_props)
    for name in block.data:
        if name.startswith((APART, DIGEST)):
            continue
        rows = events if name.startswith("event:") else sessions
        found.data[name] = _at(block, name, rows, is_split=name in split)
    if of_events is not None:  # sessions are there with fewer events, or with none
        lengths = np.bincount(block.owners_of(events), minlength=len(sessions))
        found.data[LENGTHS] = lengths
    return found


def _marks(block: Block, names: Sequence[str]) -> Numbers | None:
    """A number of each row that tells its texts apart."""
    found: Numbers | None = None
    for name in names:
        texts = block.texts(name)
        marks = texts.marks_at(texts.codes)["first"]
        found = marks if found is None else found * ODD + marks
    return found


def _at(block: Block, name: str, rows: Numbers, *, is_split: bool) -> Dictionary | Numbers:
    if not is_text(name):
        return block.numbers(name)[rows]
    texts = block.texts(name).at(rows)
    return texts.used() if is_split else texts
