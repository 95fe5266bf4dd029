"""Which events, sessions and visitors a question is about.

Enters: ["is" | "is_not" | "contains" | "matches" | "has_done", dimension, [values]], nested by
["and" | "or" | "not", ...]. Leaves: a checked tree, and the SQL condition that it means.
Page, event and property filters bind to one event, source, country, device and the like to its
session, `has_done` to the visitor within the range; plain filters hold together on one event.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from properties.api import Invalid
from properties.goals import CONVERSION
from properties.inputs import is_storable
from properties.models import Goal
from reports import metrics, touches

OPERATORS = ("is", "is_not", "contains", "matches", "has_done")
JOINTS = ("and", "or", "not")
DONE = ("event", "page")  # what a visitor can have done

MOST_DEPTH = 8
MOST_FILTERS = 50
MOST_VALUES = 1_000
LONGEST_VALUE = 2_000
LONGEST_NAME = 100


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


@dataclass(frozen=True)
class Branch:
    joint: str
    parts: tuple[Leaf | Branch, ...]


Node = Leaf | Branch


def leaves(node: Node) -> Iterator[Leaf]:
    """Every plain filter of the tree."""
    if isinstance(node, Leaf):
        yield node
    else:
        for part in node.parts:
            yield from leaves(part)


# -- reading -----------------------------------------------------------------------------------


def parse(tree: object) -> Node:
    """The filter as a checked tree; raises Invalid."""
    node = _parse(tree, 1)
    if sum(1 for _ in leaves(node)) > MOST_FILTERS:
        raise _invalid("too_many", f"At most {MOST_FILTERS} filters go into one question.")
    return node


def _parse(tree: object, depth: int) -> Node:
    if depth > MOST_DEPTH:
        raise _invalid("too_deep", f"Nest filters at most {MOST_DEPTH} deep.")
    if not isinstance(tree, list | tuple) or not tree or not isinstance(tree[0], str):
        raise _invalid("shape", _SHAPE)
    operator, *rest = tree
    if operator in JOINTS:
        return _branch(operator, rest, depth)
    if operator not in OPERATORS:
        known = ", ".join(OPERATORS + JOINTS)
        raise _invalid("unknown_operator", f"There is no {operator[:40]!r}. Known: {known}.")
    return _leaf(operator, rest)


_SHAPE = 'Write a filter as ["is", "country", ["DE"]], or ["and", filter, filter].'


def _invalid(code: str, message: str) -> Invalid:
    return Invalid(code, message, "filters")


def _branch(joint: str, parts: list[Any], depth: int) -> Branch:
    if joint == "not" and len(parts) != 1:
        raise _invalid("shape", '"not" takes exactly one filter.')
    if not 1 <= len(parts) <= MOST_FILTERS:
        raise _invalid("shape", f'"{joint}" takes 1 to {MOST_FILTERS} filters.')
    return Branch(joint, tuple(_parse(part, depth + 1) for part in parts))


def _leaf(operator: str, rest: list[Any]) -> Leaf:
    if len(rest) != 2 or not isinstance(rest[0], str):
        raise _invalid("shape", _SHAPE)
    name, values = rest
    if name.startswith(metrics.TIME):
        raise _invalid("unknown_dimension", 'Choose the time by "range", not by a filter.')
    check_dimension(name, "filters")
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

GOAL = "goal"


def with_goals(tree: object, goals: Callable[[], Iterable[Goal]], depth: int = 1) -> object:
    """The tree with what reaches a goal in place of ["is" | "is_not", "goal", [names]].

    Anything else stays as it is, for `parse` to judge. Raises Invalid for an unknown goal, and
    for one by worth, which no filter can tell.
    """
    if not isinstance(tree, list | tuple) or not tree or depth > MOST_DEPTH:
        return tree
    operator, *rest = tree
    if operator in JOINTS:
        return [operator, *(with_goals(part, goals, depth + 1) for part in rest)]
    if operator not in ("is", "is_not") or len(rest) != 2 or rest[0] != GOAL:
        return tree
    known = {goal.name: goal for goal in goals()}
    reached = ["or", *(_reaches(known, name) for name in _values(rest[1]))]
    return ["not", reached] if operator == "is_not" else reached


def _reaches(known: Mapping[str, Goal], name: str) -> list[Any]:
    goal = known.get(name)
    if goal is None:
        raise _invalid("unknown_goal", f"There is no goal {name[:40]!r} of this property.")
    if goal.kind == Goal.Kind.VALUE:
        raise _invalid("unknown_goal", f"{name[:40]!r} is a goal by worth: filter by its event.")
    if goal.kind == Goal.Kind.PAGE:
        return ["and", ["is", "event", ["pageview"]], ["matches", "page", [goal.page]]]
    by_name = ["and", ["is", "event", [CONVERSION]], ["is", f"{metrics.PROPS}goal", [goal.name]]]
    return ["or", ["is", "event", [goal.event]], by_name]


# -- SQL ---------------------------------------------------------------------------------------


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


def column(name: str, bound: Bound) -> sql.Composable:
    """The dimension's value as never-null text, of an event `e` or a session `s`."""
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


def condition(node: Node, bound: Bound, visitor: sql.Composable) -> sql.Composable:
    """The tree over an event `e` and its session `s`; `visitor` is the column of the visitor.

    The statement binds `property`, `start` and `end`, the range in which `has_done` looks.
    """
    if isinstance(node, Leaf):
        return _leaf_condition(node, bound, visitor)
    parts = [condition(part, bound, visitor) for part in node.parts]
    if node.joint == "not":
        return sql.SQL("NOT ({})").format(parts[0])
    return sql.SQL("({})").format(sql.SQL(f" {node.joint.upper()} ").join(parts))


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
    value = column(leaf.dimension, bound)
    if leaf.operator == "contains":
        found = [sql.SQL("strpos({}, {}) > 0").format(value, bound.add(v)) for v in leaf.values]
        return sql.SQL("({})").format(sql.SQL(" OR ").join(found))
    if leaf.operator == "matches":
        found = [sql.SQL("{} LIKE {}").format(value, bound.add(like(v))) for v in leaf.values]
        return sql.SQL("({})").format(sql.SQL(" OR ").join(found))
    among = sql.SQL("{} = ANY({}::text[])").format(value, bound.add(list(leaf.values)))
    return among if leaf.operator == "is" else sql.SQL("NOT ({})").format(among)
