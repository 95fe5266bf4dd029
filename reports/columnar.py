"""The route over packed days: questions that rollups cannot answer, without reading rows.

Enters: a Question without bots. Leaves: the same base numbers as reports/raw.py, or None where
that has to be asked: where much of the range is not packed. Days that are not packed (the
current one, and those in which something has just changed) are made into blocks from their rows;
then block after block is filtered and counted by numpy, and the parts are put together: visitors
by their numbers, sessions that go on from one block to the next by their visitor and start.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from properties.models import Property
from properties.periods import Range
from reports import filters
from reports.columns import Unfit
from reports.narrowing import View, who_are_meant
from reports.plans import Plan
from reports.questions import Base, Counted, Key, Question
from reports.reading import Reader
from reports.sums import Sums


def can_answer(question: Question) -> bool:
    """Whether blocks hold what is asked: they leave bots out, and money."""
    return question.bots == "exclude" and not filters.names_money(question.filters)


def count(place: Property, question: Question, within: Range) -> Counted | None:
    """Base numbers over the range; None where too much of it is not packed."""
    try:
        return _count(place, question, within)
    except Unfit:
        return None


def each(place: Property, question: Question, within: Range) -> Iterator[tuple[Key, Base]] | None:
    """The groups of `count`, one at a time; None where it is."""
    try:
        _, [sums] = _counted(place, [Plan(question, within)])
    except Unfit:
        return None
    return sums.rows()


def _count(place: Property, question: Question, within: Range) -> Counted:
    plan = Plan(question, within)
    whole = Plan(replace(question, dimensions=()), within)
    reader, sums = _counted(place, [whole, plan] if question.dimensions else [whole])
    total, *groups = (dict(some.rows()) for some in sums)
    return Counted(groups[0] if groups else {}, total[()], from_columns=bool(reader.days))


def _counted(place: Property, asked: list[Plan]) -> tuple[Reader, list[Sums]]:
    """Sums of all of these plans from one reading; the last one is the question itself."""
    plan = asked[-1]
    reader = Reader(place, plan, set().union(*(some.columns for some in asked)))
    meant = who_are_meant(plan, reader)
    sums = [Sums(some) for some in asked]
    for block in reader.blocks():
        view = View(block, plan, meant)
        for some in sums:
            some.add(view if view.serves(some.plan) else View(block, some.plan, meant))
    return reader, sums
