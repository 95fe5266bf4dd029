"""The route over packed days: questions that rollups cannot answer, without reading rows.

Enters: a Question without bots. Leaves: the same base numbers as reports/raw.py, or None where
that has to be asked: where much of the range is not packed. What is not packed (the
last hour or two, and what has just changed) is made into blocks from its rows; then block after
block is filtered and counted by numpy, and the parts are put together: visitors
by their numbers, sessions that go on from one block to the next by their visitor and start.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import replace

from properties.models import Property
from properties.periods import Range
from reports import filters, members, metrics
from reports.columns import Unfit
from reports.kept import Kept
from reports.narrowing import View, who_are_meant
from reports.plans import Plan
from reports.questions import Base, Counted, Key, Question
from reports.reading import Reader
from reports.sums import Sums


def can_answer(question: Question) -> bool:
    """Whether blocks hold what is asked: they leave bots out, and money."""
    return question.bots == "exclude" and not filters.names_money(question.filters)


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
    """The groups of `count`, one at a time; None where it is."""
    try:
        # All rows are wanted: none could wait for the others.
        _, [sums] = _counted(place, [Plan(question, within)], Kept(), may_wait=False)
    except Unfit:
        return None
    return sums.rows()


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
    reader, sums = _counted(place, asked or [plan], kept, may_wait=True)
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


def _counted(
    place: Property, asked: list[Plan], kept: Kept, *, may_wait: bool
) -> tuple[Reader, list[Sums]]:
    """Sums of all of these plans from one reading; the last one is the question itself."""
    plan = asked[-1]
    reader = Reader(place, plan, asked[:-1], kept)
    meant = who_are_meant(plan, reader)
    may_wait = may_wait and reader.is_short
    sums = [Sums(some, kept, waits=may_wait and some.ranks_first) for some in asked]
    for block in reader.blocks():
        view = View(block, plan, meant, kept)
        for some in sums:
            some.add(view if view.serves(some.plan) else View(block, some.plan, meant, kept))
    return reader, sums
