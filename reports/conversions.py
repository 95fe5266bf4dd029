"""Conversions: sessions and visitors that reached a goal of the property.

Enters: a Question that names a conversion or is split by `goal`. Leaves: base numbers, put together
from plain questions: what is asked, and the same narrowed to events that reach a goal. So every
route may answer each part, and a conversion is what filters say: a session that starts in the
range and in which such an event happened in it; where a dimension or a filter binds to an event,
that very event. Called by reports/queries.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Protocol

from properties import goals
from properties.models import Goal, Property
from properties.periods import Range
from reports import filters, metrics
from reports.metrics import GOAL
from reports.questions import EVERY, Base, Counted, Key, Question, joined
from reports.sheets import Groups, side_by_side

Plain = Callable[[Question, Range], tuple[Counted, str]]  # counts a question without goals


class Each(Protocol):  # the same, one group at a time
    def __call__(
        self, question: Question, within: Range, /, *, exactly: bool
    ) -> Iterator[tuple[Key, Base]]: ...


Names = Mapping[str, str]  # a base number of the answer, and what it is in a plain question

ROUTES = ("rolled", "columns", "raw")  # of several parts, the dearest is named


def names_goals(question: Question) -> bool:
    """Whether it takes goals to answer."""
    return GOAL in question.dimensions or any(n in metrics.CONVERSIONS for n in question.needs)


def of_nobody(place: Property, question: Question) -> Base:
    """What the numbers of a group are that nobody is in: those that are missing are 0, but without
    a goal nobody has said what counts."""
    reached = [name for name in question.needs if _is_reached(name)]
    return dict.fromkeys(reached) if reached and not goals.exist(place) else {}


def _is_reached(name: str) -> bool:
    """Whether a base number counts who reached a goal, and not of how many."""
    return name in metrics.CONVERSIONS and metrics.CONVERSIONS[name].reached


def count(place: Property, question: Question, within: Range, plain: Plain) -> tuple[Counted, str]:
    """Base numbers of a question that names goals, and the route of the dearest part."""
    parts = _Counts(question, within, plain, goals.of(place))
    counted = parts.by_goal() if GOAL in question.dimensions else parts.of_any_goal(question)
    return counted, max(parts.routes, key=ROUTES.index, default=ROUTES[0])


def each(
    place: Property, question: Question, within: Range, plain: Each
) -> Iterator[tuple[Key, Base]]:
    """The groups of `count`, one at a time, where it is split by more than `goal`."""
    return _Rows(question, within, plain, goals.of(place)).each()


class _Parts:
    """The plain questions behind one that names goals.

    Numbers are the question's own (sessions by country), those of who `reached` a goal, and those
    of everybody `asked`, of whom a rate is one.
    """

    def __init__(self, question: Question, within: Range, every: list[Goal]) -> None:
        self.question, self.within, self.goals = question, within, every
        found = {name: metrics.CONVERSIONS.get(name) for name in question.needs}
        self.own = {name: name for name, conversion in found.items() if conversion is None}
        self.reached = {n: c.counts for n, c in found.items() if c is not None and c.reached}
        # Without a goal nobody has said what counts: that is not 0.
        self.unsaid: Base = {} if every else dict.fromkeys(self.reached)
        self.asked = {n: c.counts for n, c in found.items() if c is not None and not c.reached}

    def _without_goal(self) -> Question:
        rest = tuple(name for name in self.question.dimensions if name != GOAL)
        return replace(self.question, dimensions=rest)

    def _with_goal(self, key: Key, goal: Goal) -> Key:
        at = self.question.dimensions.index(GOAL)
        return (*key[:at], goal.name, *key[at:])

    @cached_property
    def _own_metrics(self) -> list[str]:
        """The metrics of the question that know nothing of goals."""
        known = self.own.keys()
        return [name for name in self.question.metrics if known >= {*metrics.METRICS[name].needs}]

    def _plain(self, question: Question, names: Names) -> Question:
        """What is asked to learn these base numbers."""
        own = self._own_metrics if names.keys() & self.own.keys() else []
        others = [of for name, of in names.items() if name not in self.own]
        asked = tuple(dict.fromkeys([*own, *others]))
        return replace(question, metrics=asked, order_by=(), limit=EVERY)

    @staticmethod
    def _narrowed(question: Question, some: Iterable[Goal]) -> Question:
        reached = filters.reaching(some)
        if question.filters is None:
            return replace(question, filters=reached)
        both = filters.Branch("and", (filters.parse(question.filters), reached))
        return replace(question, filters=both)


class _Counts(_Parts):
    """Counts all groups of each part at once."""

    def __init__(self, question: Question, within: Range, plain: Plain, every: list[Goal]) -> None:
        super().__init__(question, within, every)
        self.routes: set[str] = set()
        self._count = plain

    def of_any_goal(self, question: Question) -> Counted:
        """Each number as it is, and conversions of any goal."""
        free = self._part(question, self.own | self.asked)
        if not self.goals:
            return joined([free, self._unsaid(question, free)])
        return joined([free, self._part(self._narrowed(question, self.goals), self.reached)])

    def by_goal(self) -> Counted:
        """A row for each goal, of those who reached it; its rate is one of all who were asked."""
        question = self._without_goal()
        asked = self._part(question, self.asked)
        groups: dict[Key, Base] = {}
        for goal in self.goals:
            reached = self._part(self._narrowed(question, [goal]), self.own | self.reached)
            both = joined([asked, reached])
            rows = both.groups if question.dimensions else {(): both.total}
            for key, numbers in rows.items():
                if any(numbers.values()):
                    groups[self._with_goal(key, goal)] = numbers
        return Counted(groups, self.of_any_goal(replace(question, dimensions=())).total)

    def _part(self, question: Question, names: Names) -> Counted:
        """These base numbers, under the names that they have in the answer."""
        if not names:
            return Counted({}, {})
        counted, route = self._count(self._plain(question, names), self.within)
        self.routes.add(route)
        return Counted(
            {key: _renamed(numbers, names) for key, numbers in counted.groups.items()},
            _renamed(counted.total, names),
        )

    def _unsaid(self, question: Question, free: Counted) -> Counted:
        """What stands in every group and in all periods."""
        places = question.labels(self.within) if question.is_series else {}
        groups = [*free.groups, *((place,) for place in places)]
        return Counted(dict.fromkeys(groups, self.unsaid), self.unsaid)


class _Rows(_Parts):
    """Puts the groups of the parts together one at a time: each part waits in a spool, by key."""

    def __init__(self, question: Question, within: Range, plain: Each, every: list[Goal]) -> None:
        super().__init__(question, within, every)
        self._each = plain

    def each(self) -> Iterator[tuple[Key, Base]]:
        if GOAL in self.question.dimensions:
            return self._by_goal()
        free = self._part(self.question, self.own | self.asked)
        if not self.goals:
            return ((key, {**numbers, **self.unsaid}) for key, numbers in free)
        reached = self._part(self._narrowed(self.question, self.goals), self.reached)
        return side_by_side(free, reached)

    def _by_goal(self) -> Iterator[tuple[Key, Base]]:
        question = self._without_goal()
        asked = self._part(question, self.asked)
        for goal in self.goals:
            reached = self._part(self._narrowed(question, [goal]), self.own | self.reached)
            for key, numbers in side_by_side(asked, reached):
                if any(numbers.values()):
                    yield self._with_goal(key, goal), numbers

    def _part(self, question: Question, names: Names) -> Groups:
        if not names:
            return Groups(names, ())
        found = self._each(self._plain(question, names), self.within, exactly=True)
        return Groups(names, ((key, _renamed(numbers, names)) for key, numbers in found))


def _renamed(numbers: Base, names: Names) -> Base:
    """What a route does not say is 0, or no quantile."""
    nothing = {of: None if of in metrics.QUANTILES else 0 for of in names.values()}
    return {name: numbers.get(of, nothing[of]) for name, of in names.items()}
