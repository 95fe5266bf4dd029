"""Which events, sessions and visitors a question is about.

Enters: ["is" | "is_not" | "contains" | "matches" | "has_done", dimension, [values]], nested by
["and" | "or" | "not" | "visitor", ...]. Leaves: a checked tree, and the SQL condition it means.
Page, event and property filters bind to one event, source, country, device and the like to its
session, `has_done` to the visitor within the range; plain filters hold together on one event.
["visitor", filter] binds what is in it to the visitor: all that is done by whoever has an event in
the range on which the filter holds. A segment (segments.py) is one of these with a name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from psycopg import sql

from properties.api import Invalid
from properties.goals import CONVERSION
from properties.inputs import is_storable
from properties.models import Goal
from reports import metrics, touches
from reports.metrics import GOAL
from tracking import fields

OPERATORS = ("is", "is_not", "contains", "matches", "has_done")
VISITOR = "visitor"
JOINTS = ("and", "or", "not", VISITOR)
DONE = ("event", "page")  # what a visitor can have done

WORTH = "worth"  # (amount, currency): what an event brought at least; only goals ask it
WORTHS = f"event:{WORTH}"  # the column of it, which is no dimension: nothing is split by it

MOST_DEPTH = 8
MOST_FILTERS = 50
MOST_IN_ALL = 200  # those within "visitor" and within segments, too
MOST_VALUES = 1_000
LONGEST_VALUE = 2_000
LONGEST_NAME = len(metrics.PROPS) + fields.TEXT  # the longest of a property that is taken in


@dataclass(frozen=True)
class Leaf:
    operator: str
    dimension: str
    values: tuple[str, ...]

    @property
    def scope(self) -> str:
        """What it binds to: "event", "session" or "visitor"."""
        if self.operator == "has_done":
            return "visitor"
        found = metrics.find_dimension(self.dimension)
        assert found is not None
        return found.scope

    @property
    def column(self) -> str:
        """The column of a block (blocks.py) that tells whether it holds."""
        return WORTHS if self.operator == WORTH else f"{self.scope}:{self.dimension}"


@dataclass(frozen=True)
class Branch:
    joint: str
    parts: tuple[Leaf | Branch, ...]


class Reached(Branch):
    """What reaches some goals, or does not: one filter, however many events that may be."""


Node = Leaf | Branch


def leaves(node: Node) -> Iterator[Leaf]:
    """The filters of the tree that are asked of an event or session themselves: all but those
    within a "visitor"."""
    if isinstance(node, Leaf):
        yield node
    elif node.joint != VISITOR:
        for part in node.parts:
            yield from leaves(part)


def crowds(node: Node) -> Iterator[Branch]:
    """The parts of the tree that are asked of the visitor: each "visitor"."""
    if isinstance(node, Branch):
        if node.joint == VISITOR:
            yield node
        else:
            for part in node.parts:
                yield from crowds(part)


def all_leaves(node: Node) -> Iterator[Leaf]:
    """Every filter of the tree, those within a "visitor" too."""
    yield from leaves(node)
    for crowd in crowds(node):
        yield from leaves(crowd.parts[0])


# -- reading -----------------------------------------------------------------------------------


def parse(tree: object) -> Node:
    """The filter as a checked tree; raises Invalid. Parts that are nodes already (what reaches a
    goal) are taken as they are."""
    if isinstance(tree, Leaf | Branch):
        return tree
    node = _parse(tree, 1, within=False)
    within = [_size(crowd.parts[0]) for crowd in crowds(node)]
    if max(_size(node), *within, 0) > MOST_FILTERS:
        raise _invalid("too_many", f"At most {MOST_FILTERS} filters go into one question.")
    if _size(node) + sum(within) > MOST_IN_ALL:
        message = f"At most {MOST_IN_ALL} filters go into one question, those of segments included."
        raise _invalid("too_many", message)
    return node


def _size(node: Node) -> int:
    """How many filters were written down: a goal is one, and so is a "visitor"."""
    if isinstance(node, Leaf | Reached) or node.joint == VISITOR:
        return 1
    return sum(map(_size, node.parts))


def _parse(tree: object, depth: int, within: bool) -> Node:
    if isinstance(tree, Leaf | Branch):
        return tree
    if depth > MOST_DEPTH:
        raise _invalid("too_deep", f"Nest filters at most {MOST_DEPTH} deep.")
    if not isinstance(tree, list | tuple) or not tree or not isinstance(tree[0], str):
        raise _invalid("shape", _SHAPE)
    operator, *rest = tree
    if operator in JOINTS:
        return _branch(operator, rest, depth, within)
    if operator not in OPERATORS:
        known = ", ".join(OPERATORS + JOINTS)
        raise _invalid("unknown_operator", f"There is no {operator[:40]!r}. Known: {known}.")
    return _leaf(operator, rest)


_OF_SEGMENTS = (
    'Write ["is" | "is_not", "segment", [slugs]]. A segment stands in no other segment and in no '
    '"visitor": write its filters there.'
)
_SHAPE = 'Write a filter as ["is", "country", ["DE"]], or ["and", filter, filter].'


def _invalid(code: str, message: str) -> Invalid:
    return Invalid(code, message, "filters")


def _branch(joint: str, parts: list[Any], depth: int, within: bool) -> Branch:
    """`within`: whether it stands in a "visitor", whose filters are nested on their own."""
    if joint in ("not", VISITOR) and len(parts) != 1:
        raise _invalid("shape", f'"{joint}" takes exactly one filter.')
    if not 1 <= len(parts) <= MOST_FILTERS:
        raise _invalid("shape", f'"{joint}" takes 1 to {MOST_FILTERS} filters.')
    if joint == VISITOR:
        if within:
            raise _invalid("shape", _OF_SEGMENTS)
        return Branch(joint, (_parse(parts[0], 1, within=True),))
    return Branch(joint, tuple(_parse(part, depth + 1, within) for part in parts))


def _leaf(operator: str, rest: list[Any]) -> Leaf:
    if len(rest) != 2 or not isinstance(rest[0], str):
        raise _invalid("shape", _SHAPE)
    name, values = rest
    if name.startswith(metrics.TIME):
        raise _invalid("unknown_dimension", 'Choose the time by "range", not by a filter.')
    if name == SEGMENT:
        raise _invalid("shape", _OF_SEGMENTS)
    check_dimension(name, "filters")
    if name == GOAL and operator not in ("is", "is_not"):
        raise _invalid("unknown_operator", 'A goal takes "is" and "is_not".')
    if operator == "has_done" and name not in DONE:
        raise _invalid("unknown_dimension", f'"has_done" takes {" or ".join(DONE)}.')
    return Leaf(operator, name, _values(values))


def _values(values: object) -> tuple[str, ...]:
    if not isinstance(values, list | tuple) or not 1 <= len(values) <= MOST_VALUES:
        raise _invalid("shape", f"Give a list of 1 to {MOST_VALUES:,} values.")
    for value in values:
        if not isinstance(value, str) or len(value) > LONGEST_VALUE or not is_storable(value):
            raise _invalid(
                "invalid_value", f"A value is a text of at most {LONGEST_VALUE:,} characters."
            )
    return tuple(values)


def check_dimension(name: str, field: str) -> None:
    """Raise Invalid unless there is a dimension (but time) of that name."""
    found = metrics.find_dimension(name)
    if found is None or len(name) > LONGEST_NAME or not is_storable(name):
        known = ", ".join([*metrics.DIMENSIONS, metrics.PROPS + "<name>"])
        raise Invalid(
            "unknown_dimension", f"There is no dimension {name[:40]!r}. Known: {known}.", field
        )


# -- goals -------------------------------------------------------------------------------------


def with_goals(tree: object, goals: Callable[[], Iterable[Goal]], depth: int = 1) -> object:
    """The tree with what reaches a goal in place of ["is" | "is_not", "goal", [names]].

    Anything else stays as it is, for `parse` to judge. Raises Invalid for an unknown goal.
    """
    # In a "visitor" nesting begins anew.
    if not isinstance(tree, list | tuple) or not tree or depth > 2 * MOST_DEPTH:
        return tree
    operator, *rest = tree
    if operator in JOINTS:
        return [operator, *(with_goals(part, goals, depth + 1) for part in rest)]
    if operator not in ("is", "is_not") or len(rest) != 2 or rest[0] != GOAL:
        return tree
    known = {goal.name: goal for goal in goals()}
    reached = reaching(_known(known, name) for name in _values(rest[1]))
    return Reached("not", (reached,)) if operator == "is_not" else reached


def _known(goals: Mapping[str, Goal], name: str) -> Goal:
    try:
        return goals[name]
    except KeyError:
        message = f"There is no goal {name[:40]!r} of this property."
        raise _invalid("unknown_goal", message) from None


def reaching(goals: Iterable[Goal]) -> Reached:
    """Whether an event reaches one of these goals, as properties/goals.py says it."""
    return Reached("or", tuple(map(_reaches, goals)))


def _reaches(goal: Goal) -> Node:
    if goal.kind == Goal.Kind.PAGE:
        return Branch(
            "and", (Leaf("is", "event", ("pageview",)), Leaf("matches", "page", (goal.page,)))
        )
    by_name = Branch(
        "and",
        (
            Leaf("is", "event", (CONVERSION,)),
            Leaf("is", f"{metrics.PROPS}goal", (goal.name,)),
        ),
    )
    called = Branch("or", (Leaf("is", "event", (goal.event,)), by_name))
    if goal.kind != Goal.Kind.VALUE:
        return called
    worth = Leaf(WORTH, "event", (str(goal.minimum), goal.property.currency))
    return Branch("and", (called, worth)) if goal.event else worth


# -- segments ----------------------------------------------------------------------------------

SEGMENT = "segment"


def with_segments(tree: object, filters_of: Callable[[str], object], depth: int = 1) -> object:
    """The tree with ["visitor", its filters] in place of ["is" | "is_not", "segment", [slugs]].

    `filters_of` a slug raises Invalid for one that is not there. Anything else stays as it is, for
    `parse` to judge: so a segment that named a segment would be refused.
    """
    if not isinstance(tree, list | tuple) or not tree or depth > MOST_DEPTH:
        return tree
    operator, *rest = tree
    if operator in JOINTS:
        return [operator, *(with_segments(part, filters_of, depth + 1) for part in rest)]
    if operator not in ("is", "is_not") or len(rest) != 2 or rest[0] != SEGMENT:
        return tree
    members = ["or", *([VISITOR, filters_of(slug)] for slug in _values(rest[1]))]
    return ["not", members] if operator == "is_not" else members


# -- SQL ---------------------------------------------------------------------------------------

EVENTS = sql.SQL("events AS e")
# The session of an event is the visitor's last that began before it. Written so that only the
# sessions' primary key can serve it: of a young property the planner knows nothing, and a plain
# join compared every event with every session.
BOTH = sql.SQL(
    "events AS e JOIN LATERAL ("
    "SELECT * FROM sessions WHERE property_id = e.property_id"
    " AND (visitor, started_at) <= (e.visitor, e.time)"
    " ORDER BY visitor DESC, started_at DESC LIMIT 1"
    ") AS s ON s.visitor = e.visitor AND e.time <= s.ended_at"
)
EVENTS_IN_RANGE = sql.SQL(
    "e.property_id = %(property)s AND e.time >= %(start)s AND e.time < %(end)s"
)


def like(pattern: str) -> str:
    """A pattern in which * stands for anything, as LIKE wants it."""
    for special in ("\\", "%", "_"):
        pattern = pattern.replace(special, f"\\{special}")
    return pattern.replace("*", "%")


class Bound:
    """The values of a statement: each gets a placeholder, none is ever written into the text."""

    def __init__(self, **values: Any) -> None:
        self.values: dict[str, Any] = dict(values)

    def add(self, value: Any) -> sql.Placeholder:
        name = f"v{len(self.values)}"
        self.values[name] = value
        return sql.Placeholder(name)


def array(values: Iterable[datetime | int]) -> str:
    """Moments or numbers as Postgres reads an array, to be bound and cast: the driver would quote
    each of the hundred thousand hours of thirteen years by itself, which takes it seconds."""
    texts = (one.isoformat() if isinstance(one, datetime) else str(int(one)) for one in values)
    return "{" + ",".join(texts) + "}"


def column(name: str, bound: Bound) -> sql.Composable:
    """The dimension's value (or the worth) as never-null text, of an event `e` or a session `s`."""
    if name == WORTH:
        return _WORTH
    found = metrics.find_dimension(name)
    assert found is not None
    if name.startswith(metrics.PROPS):
        key = bound.add(name.removeprefix(metrics.PROPS))
        return sql.SQL("coalesce(e.props ->> {}::text, '')").format(key)
    if found.sql:
        return sql.SQL(found.sql)
    if found.touch:
        return touches.column(found)
    return sql.Identifier("e" if found.scope == "event" else "s", found.column)


# "12.5 EUR", and nothing where no money is; `brings` reads it as `_leaf_condition` compares it.
_WORTH = sql.SQL("coalesce(trim_scale(e.revenue)::text || ' ' || e.currency, '')")


def brings(leaf: Leaf) -> Callable[[str], bool]:
    """Whether an event of a worth brought what the leaf asks for at least. Exactly: as floats,
    amounts with six decimals are not told apart."""
    least, currency = Decimal(leaf.values[0]), leaf.values[1]

    def test(worth: str) -> bool:
        amount, _, code = worth.partition(" ")
        return bool(amount) and code == currency and Decimal(amount) >= least

    return test


def condition(node: Node, bound: Bound, visitor: sql.Composable) -> sql.Composable:
    """The tree over an event `e` and its session `s`; `visitor` is the column of the visitor.

    The statement binds `property`, `start` and `end`, the range in which `has_done` looks.
    """
    if isinstance(node, Leaf):
        return _leaf_condition(node, bound, visitor)
    if node.joint == VISITOR:
        return _crowd_condition(node.parts[0], bound, visitor)
    parts = [condition(part, bound, visitor) for part in node.parts]
    if node.joint == "not":
        return sql.SQL("NOT ({})").format(parts[0])
    return sql.SQL("({})").format(sql.SQL(f" {node.joint.upper()} ").join(parts))


def _crowd_condition(node: Node, bound: Bound, visitor: sql.Composable) -> sql.Composable:
    """Bots and people have no number in common, so it need not ask who is one."""
    asked = [leaf.dimension for leaf in leaves(node) if leaf.scope == "session"]
    return sql.SQL("{visitor} IN (SELECT e.visitor FROM {rows} WHERE {within} AND {holds})").format(
        visitor=visitor,
        rows=BOTH + touches.joins(asked) if asked else EVENTS,
        within=EVENTS_IN_RANGE,
        holds=condition(node, bound, sql.Identifier("e", "visitor")),
    )


def _leaf_condition(leaf: Leaf, bound: Bound, visitor: sql.Composable) -> sql.Composable:
    if leaf.operator == "has_done":
        return sql.SQL(
            "{visitor} IN (SELECT done.visitor FROM events AS done"
            " WHERE done.property_id = %(property)s"
            " AND done.time >= %(start)s AND done.time < %(end)s"
            " AND {column} = ANY({values}::text[]))"
        ).format(
            visitor=visitor,
            column=sql.Identifier("done", metrics.DIMENSIONS[leaf.dimension].column),
            values=bound.add(list(leaf.values)),
        )
    if leaf.operator == WORTH:
        amount, currency = map(bound.add, leaf.values)
        return sql.SQL(
            "coalesce(e.revenue >= {}::numeric AND e.currency = {}::text, false)"
        ).format(amount, currency)
    value = column(leaf.dimension, bound)
    if leaf.operator == "contains":
        found = [sql.SQL("strpos({}, {}) > 0").format(value, bound.add(v)) for v in leaf.values]
        return sql.SQL("({})").format(sql.SQL(" OR ").join(found))
    if leaf.operator == "matches":
        found = [sql.SQL("{} LIKE {}").format(value, bound.add(like(v))) for v in leaf.values]
        return sql.SQL("({})").format(sql.SQL(" OR ").join(found))
    among = sql.SQL("{} = ANY({}::text[])").format(value, bound.add(list(leaf.values)))
    return among if leaf.operator == "is" else sql.SQL("NOT ({})").format(among)
