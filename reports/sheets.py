"""A whole table in its order, for files: each row's texts and numbers, however many rows there are.

Enters: a Question that ranks by metrics, and its groups in any order, one at a time. Leaves: the
same groups in the order of reports/questions.py `best`, from a spool (Sheet); or in the order of
their texts, so that several tables can stand side by side (Groups). Called by reports/queries.py
and reports/conversions.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import merge
from itertools import groupby
from operator import itemgetter
from typing import cast

from reports import metrics
from reports.questions import Base, Key, Question
from reports.spools import Row, Spool


class Sheet:
    """The rows of a table, kept until they are taken. Its dimensions are texts: time is none."""

    def __init__(
        self, question: Question, groups: Iterable[tuple[Key, Base]], more: Iterable[str] = ()
    ) -> None:
        """`more` numbers go with each row that has them."""
        assert question.interval is None, "a period is no text"
        assert all(name in metrics.METRICS for name, _ in question.order), "ranks by metrics only"
        self._needs, self._more = question.needs, list(more)
        self._width = len(question.dimensions)
        self._order = [(metrics.METRICS[name], way) for name, way in question.order]
        self._spool = Spool(self._row(key, numbers) for key, numbers in groups)

    def __len__(self) -> int:
        return len(self._spool)

    def ordered(self) -> Iterator[tuple[Key, Base]]:
        """Every row, ranked as the question says; ties by the texts, None last."""
        first = 2 * len(self._order)
        last = first + self._width
        for row in self._spool:
            numbers = dict(zip([*self._needs, *self._more], row[last:], strict=True))
            yield cast(Key, tuple(row[first:last])), cast(Base, numbers)

    def _row(self, key: Key, numbers: Base) -> Row:
        """What it stands by, its texts, and its numbers, of which one that is missing is 0."""
        row: Row = []
        for metric, way in self._order:
            value = metric.value(numbers)
            row += (1, 0) if value is None else (0, -value if way == "desc" else value)
        row += key
        row += [numbers.get(name, _nothing(name)) for name in self._needs]
        row += [numbers.get(name) for name in self._more]
        return row


def _nothing(name: str) -> int | None:
    """What a base number is that is not there."""
    return None if name in metrics.QUANTILES else 0


class Groups:
    """Groups that have these numbers, by their texts; as often as they are asked for."""

    def __init__(self, names: Iterable[str], groups: Iterable[tuple[Key, Base]]) -> None:
        self._names = list(names)
        self._spool = Spool(
            [*key, *(numbers.get(name, _nothing(name)) for name in self._names)]
            for key, numbers in groups
        )

    def __iter__(self) -> Iterator[tuple[Key, Base]]:
        many = len(self._names)
        for row in self._spool:
            numbers = dict(zip(self._names, row[-many:], strict=True))
            yield cast(Key, tuple(row[:-many])), cast(Base, numbers)


def side_by_side(*several: Iterable[tuple[Key, Base]]) -> Iterator[tuple[Key, Base]]:
    """The numbers that several tables, each in the order of its keys, have of one key."""
    for key, parts in groupby(merge(*several, key=itemgetter(0)), itemgetter(0)):
        yield key, {name: number for _, numbers in parts for name, number in numbers.items()}


BEFORE = "before:"


def compared(
    question: Question, groups: Iterable[tuple[Key, Base]], others: Iterable[tuple[Key, Base]]
) -> Sheet:
    """The groups as a Sheet, each with what `others` has of it: `before` takes that apart."""
    needs = question.needs
    earlier = (
        (key, {BEFORE + name: number for name, number in numbers.items()})
        for key, numbers in Groups(needs, others)
    )
    both = side_by_side(Groups(needs, groups), earlier)
    # What was there only in the other range is no row.
    rows = ((key, numbers) for key, numbers in both if needs[0] in numbers)
    return Sheet(question, rows, more=[BEFORE + name for name in needs])


def before(question: Question, numbers: Base) -> Base:
    """What a row of `compared` was in the other range; nothing where it was no row."""
    found = {name: numbers.get(BEFORE + name) for name in question.needs}
    return found if any(number is not None for number in found.values()) else {}
