"""What a packed block, and each value of a dimension in it, comes to: counted when it is packed.

Enters: a Block with all of its columns. Leaves: columns `sum:page:pageviews`, a number for each
text of the dictionary of `event:page`, `sum::pageviews`, the one number of the whole block, and of
the sessions that reach over an edge of the block what other blocks may have, too. So a table of all
pages adds up a few thousand numbers a day, and looks at the events of those pages only that it
shows. Called by reports/packing.py; read by reports/plans.py and reports/sums.py.

A measure that is zero throughout has no column; a block that was packed before there were sums has
none at all, and its events are counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from reports import metrics, postings
from reports.blocks import CROSSES, START, VISITOR, Block
from reports.columns import Numbers
from reports.dictionaries import Merged

WHOLE = ""  # by nothing: what the whole block comes to
PAIRED = "page"  # the dimension by which sessions are summed that enter or leave there


def column(dimension: str, measure: str) -> str:
    return f"sum:{dimension}:{measure}"


def crossing(measure: str) -> str:
    """The column of sessions that other days may have: all codes of PAIRED, then all visitors, all
    starts, all numbers."""
    return f"cross:{measure}"


def has_sums(block: Block, by: str, measures: Iterable[str]) -> bool:
    """Whether there are such sums of the block, and all has been read that `columns_of` names: a
    measure that lacks is zero."""
    is_read = columns_of(by, measures) <= block.data.keys() | block.lacks
    told = {column(by, "events")} | (postings.columns_of(by) if by != WHOLE else set())
    return is_read and told <= block.data.keys()


def of(block: Block, dimension: str, measure: str) -> Numbers | None:
    """By code of the dimension's text; None where all is zero."""
    name = column(dimension, measure)
    return block.numbers(name) if name in block.data else None


def crossing_of(block: Block, measure: str) -> Numbers:
    """Code, visitor, start since the block's and number (the rows) of each session that is summed
    nowhere (the columns)."""
    name = crossing(measure)
    found = block.numbers(name) if name in block.data else np.zeros(0, dtype=np.int64)
    return found.astype(np.int64).reshape(4, -1)


def make(block: Block) -> dict[str, Numbers]:
    """The sums of a block of which every column is there."""
    found = dict(_of_events(block)) | dict(_of_sessions(block)) | dict(_of_all(block))
    return {name: numbers for name, numbers in found.items() if numbers.any() or _is_first(name)}


def _is_first(name: str) -> bool:
    """What tells that there are sums is there even where nothing happened."""
    return name.startswith("cross:") or name.endswith(":events")


def _of_events(block: Block) -> Iterator[tuple[str, Numbers]]:
    for dimension in metrics.DIMENSIONS.values():
        if not dimension.summed:
            continue
        texts = block.texts(f"event:{dimension.name}")
        for measure in metrics.MEASURES.values():
            if measure.scope == "event":
                added = block.numbers(f"event:{measure.name}")
                yield column(dimension.name, measure.name), _added(texts.codes, added, len(texts))


def _of_sessions(block: Block) -> Iterator[tuple[str, Numbers]]:
    """Sessions with an event on the page where they begin or end, once."""
    texts = block.texts(f"event:{PAIRED}")
    merged = Merged()
    pages = merged.numbers(texts)[texts.codes]
    for at, names in _by_page().items():
        own = block.texts(f"session:{at}")
        there = pages == merged.numbers(own)[own.codes][block.owners]
        # The page is that of the session: so a session has one pair, however many of its events.
        who, first = np.unique(block.owners[there], return_index=True)
        codes = texts.codes[there][first]
        crosses = block.numbers(CROSSES)[who] > 0
        for name in names:
            added = block.numbers(f"session:{name}")[who].astype(np.int64)
            yield column(PAIRED, name), _added(codes[~crosses], added[~crosses], len(texts))
            some = crosses & (added != 0)
            visitor, start = block.numbers(VISITOR)[who[some]], block.numbers(START)[who[some]]
            if some.any():
                yield crossing(name), np.concatenate([codes[some], visitor, start, added[some]])


def _by_page() -> dict[str, list[str]]:
    """Which measures count sessions by a page of theirs, by the column of that page."""
    found: dict[str, list[str]] = {}
    for measure in metrics.MEASURES.values():
        if measure.at:
            found.setdefault(measure.at, []).append(measure.name)
    return found


def _added(codes: Numbers, added: Numbers, many: int) -> Numbers:
    # In floating point, exact below 2^53: what a day comes to is far below.
    return np.bincount(codes, weights=added, minlength=many).astype(np.int64)


def _of_all(block: Block) -> Iterator[tuple[str, Numbers]]:
    """Sessions where they begin, like everywhere."""
    begin = block.numbers(CROSSES) & 1 == 0
    for measure in metrics.MEASURES.values():
        numbers = block.numbers(f"{measure.scope}:{measure.name}")
        some = numbers if measure.scope == "event" else numbers[begin]
        yield column(WHOLE, measure.name), np.array([some.sum(dtype=np.int64)])


def columns_of(by: str, measures: Iterable[str]) -> set[str]:
    """What a question reads of the sums, and of who has each value."""
    found = {column(by, name) for name in ("events", *measures)}
    if by == WHOLE:
        return found
    found |= {crossing(name) for name in measures if metrics.MEASURES[name].scope == "session"}
    return found | postings.columns_of(by)
