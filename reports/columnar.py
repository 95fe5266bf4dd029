"""The route over packed days: questions that rollups cannot answer, without reading rows.

Enters: a Question without bots. Leaves: the same base numbers as reports/raw.py, or None where
that has to be asked: where much of the range is not packed. What is not packed (the
last hour or two, and what has just changed) is made into blocks from its rows; then block after
block is filtered and counted by numpy, and the parts are put together: visitors
by their numbers, sessions that go on from one block to the next by their visitor and start.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from dataclasses import replace
from math import ceil, log2

from properties.models import Property
from properties.periods import Range
from reports import members, metrics
from reports.columns import Unfit
from reports.kept import Kept
from reports.narrowing import View, who_are_meant
from reports.plans import Plan
from reports.questions import Base, Counted, Key, Question
from reports.reading import Reader
from reports.shares import Share, shared
from reports.sums import Sums

MOST_HELD = 16_000_000  # bytes of what is counted for a file
MOST_SHARES = 1 << 16
FEW_GROUPS = 2_000  # that are not shared: what they weigh are their visitors


def can_answer(question: Question) -> bool:
    """Whether blocks hold what is asked: they leave bots out."""
    return question.bots == "exclude"


def expect(kept: Kept, question: Question) -> None:
    """A question of the page that is to come: what is read before it is read with its columns."""
    plan = Plan(question, question.range)
    whole = Plan(replace(question, dimensions=()), question.range)
    kept.wanted[question.range.span] |= plan.columns | whole.columns


def count(place: Property, question: Question, within: Range, kept: Kept) -> Counted | None:
    """Base numbers over the range; None where too much of it is not packed."""
    try:
        return _count(place, question, within, kept)
    except Unfit:
        return None


def each(place: Property, question: Question, within: Range) -> Iterator[tuple[Key, Base]] | None:
    """The groups of `count`, one at a time; None where it is. Where they are many, a share of them
    after the other, each from a reading of its own. Raises Unfit, though rarely, when it has given
    some: what is packed may change meanwhile."""
    plan = Plan(question, within)
    try:
        return _shared(place, plan, Share()).rows()
    except TooMany as many:
        return _each_share(place, plan, many.shares)
    except Unfit:
        return None


def _each_share(place: Property, plan: Plan, shares: Iterable[Share]) -> Iterator[tuple[Key, Base]]:
    left = list(shares)
    while left:
        try:
            yield from _shared(place, plan, left.pop()).rows()
        except TooMany as many:
            left += many.shares


def _shared(place: Property, plan: Plan, share: Share) -> Sums:
    """Sums of a share of the groups. Raises TooMany where more would be held than MOST_HELD: a day
    and what is counted is all that a file takes, however long it is."""
    kept = Kept()
    reader = Reader(place, plan, [], kept, is_file=True)
    meant = who_are_meant(plan, reader)
    sums = Sums(plan, kept)
    split = [f"{dimension.scope}:{dimension.name}" for dimension in plan.split]
    for number, block in enumerate(reader.blocks(), 1):
        sums.add(View(shared(block, split, share), plan, meant, kept))
        is_small = sums.size <= FEW_GROUPS or share.of >= MOST_SHARES
        if not is_small and sums.weight + kept.weight > MOST_HELD:
            raise TooMany(share, reader.many / number)
    return sums


class TooMany(Exception):
    """Groups to be held at once; `shares` of them may not be."""

    def __init__(self, share: Share, times: float) -> None:
        super().__init__()
        self.shares = list(share.split(2 ** max(1, ceil(log2(1.3 * times)))))


def _count(place: Property, question: Question, within: Range, kept: Kept) -> Counted:
    plan = Plan(question, within)
    asked_of_blocks = None if kept.wanted[within.span] else members.parts_of(plan)
    if asked_of_blocks is not None:
        found, reader = members.count(place, plan, asked_of_blocks, kept)
        return Counted({}, {metrics.VISITORS: found}, from_columns=bool(reader.packed))
    known = kept.totals[within, plan.tree]
    unknown = _metrics_for(question, known.keys())
    whole = Plan(replace(question, dimensions=(), metrics=unknown, order_by=()), within)
    asked = ([whole] if whole.question.metrics else []) + ([plan] if question.dimensions else [])
    reader, sums = _counted(place, asked or [plan], kept)
    for some in sums:
        if some.plan is whole:
            known |= dict(some.rows())[()]
    groups = dict(sums[-1].rows()) if question.dimensions else {}
    total = {name: known[name] for name in question.needs}
    return Counted(groups, total, from_columns=bool(reader.packed))


def _metrics_for(question: Question, known: Set[str]) -> tuple[str, ...]:
    """Metrics of the question that need all of its base numbers which are not known: those of one
    number first, so that little is counted again."""
    found: list[str] = []
    reached = set(known)
    for name in sorted(question.metrics, key=lambda name: len(metrics.METRICS[name].needs)):
        if not reached >= {*metrics.METRICS[name].needs}:
            found.append(name)
            reached |= {*metrics.METRICS[name].needs}
    return tuple(found)


def _counted(place: Property, asked: list[Plan], kept: Kept) -> tuple[Reader, list[Sums]]:
    """Sums of all of these plans from one reading; the last one is the question itself."""
    plan = asked[-1]
    reader = Reader(place, plan, asked[:-1], kept)
    meant = who_are_meant(plan, reader)
    sums = [Sums(some, kept, waits=reader.is_short and some.ranks_first) for some in asked]
    for block in reader.blocks():
        view = View(block, plan, meant, kept)
        for some in sums:
            some.add(view if view.serves(some.plan) else View(block, some.plan, meant, kept))
    return reader, sums
