"""Filters as people write, read and build them: in the address, on chips, in the builder.

Enters: the `filter` parameters of an address, in their order, or a filter as a question takes it.
Leaves: Items (a Filter, or a Group of Items) and from them the same parameters, the question's
filter and the words of a chip. Pure.

`page:is:/pricing` is a filter. `any(`, `all(`, `none(` and `visitor(` open a group and `)` closes
it, each a parameter of its own, so that nothing in a value can be taken for one:

    ?filter=country:is:DE&filter=any(&filter=device:is:mobile&filter=os:is:iOS&filter=)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from properties.api import Invalid
from properties.inputs import is_storable
from properties.strangers_text import visible
from reports.filters import (
    DONE,
    LONGEST_VALUE,
    MOST_DEPTH,
    SEGMENT,
    VISITOR,
    check_dimension,
)
from reports.formatting import name_of
from reports.metrics import DIMENSIONS, GOAL, PROPS, Dimension, find_dimension

OPERATORS = {
    "is": "is",
    "is_not": "is not",
    "contains": "contains",
    "contains_not": "does not contain",
    "matches": "matches",
    "has_done": "visitor has done",
    "has_not_done": "visitor has not done",
}
# What each is for a question: its operator, and whether it is turned round.
_ASKED = {
    "contains_not": ("contains", True),
    "has_not_done": ("has_done", True),
}
_OPPOSITE = {
    "is": "is_not",
    "contains": "contains_not",
    "has_done": "has_not_done",
}
_OPPOSITE |= {away: towards for towards, away in _OPPOSITE.items()}
_WHOLE = ("is", "is_not")  # what may be asked of goals and segments
# Groups: of which parts something must hold, and what a chip says between and before them.
GROUPS = {
    "all": "all of",
    "any": "any of",
    "none": "none of",
    "visitor": "visitors with",
}
_BETWEEN = {"all": " and ", "any": " or ", "none": " or ", "visitor": " and "}
CLOSE = ")"
MOST_FILTERS = 20
MOST_LONG = 10 * MOST_FILTERS  # parameters, brackets included
_OPERATOR = re.compile(rf":({'|'.join(OPERATORS)}):")

# No dimension, for its visitors are counted in no rows; filtered by as if it were one.
SEGMENTS = Dimension(SEGMENT, "session", "", "Segment", "audience")
NAMED = (GOAL, SEGMENT)  # what stands for filters

Path = tuple[int, ...]  # of an item: its place in the list, in that item's group, and so on


class FilterError(ValueError):
    """A filter that cannot be read; the message says what to write instead."""


@dataclass(frozen=True)
class Filter:
    """`page:is:/pricing`: a dimension, an operator and one value."""

    dimension: str
    operator: str
    value: str

    @classmethod
    def parse(cls, text: str) -> Filter:
        """The filter in `page:is:/pricing` or `props:plan:is:pro`; FilterError if it is none."""
        of_props = PROPS if text.startswith(PROPS) else ""
        bare = text.removeprefix(PROPS)
        # The name of a property may have colons in it: it ends where an operator stands.
        found = _OPERATOR.search(bare) if of_props else None
        name = bare[: found.start()] if found else bare.partition(":")[0]
        operator, colon, value = bare[len(name) + 1 :].partition(":")
        dimension = of_props + name
        _check(dimension, operator, has_value=bool(colon))
        if operator in ("contains", "contains_not") and not value:
            raise FilterError("Say what the filter should look for: its value is empty.")
        if len(value) > LONGEST_VALUE or not is_storable(value):
            raise FilterError(
                f"No value is longer than {LONGEST_VALUE:,} letters or holds a NUL: shorten it."
            )
        return cls(dimension, operator, value)

    @property
    def texts(self) -> list[str]:
        return [f"{self.dimension}:{self.operator}:{self.value}"]

    @property
    def of(self) -> Dimension:
        found = SEGMENTS if self.dimension == SEGMENT else find_dimension(self.dimension)
        assert found is not None, f"{self.dimension!r} was parsed and is no dimension"
        return found

    @property
    def label(self) -> str:
        if self.operator in ("has_done", "has_not_done"):
            seen = "seen page" if self.dimension == "page" else "done"
            return f"Visitor has {'not ' if self.operator == 'has_not_done' else ''}{seen}"
        return f"{self.of.label} {OPERATORS[self.operator]}"

    @property
    def shown_value(self) -> str:
        if self.operator in ("contains", "contains_not", "matches") or self.dimension in NAMED:
            return visible(self.value)
        return name_of(self.dimension, self.value)

    @property
    def words(self) -> str:
        return f"{self.label} {self.shown_value}"

    @property
    def asked(self) -> list[Any]:
        operator, is_turned = _ASKED.get(self.operator, (self.operator, False))
        leaf: list[Any] = [operator, self.dimension, [self.value]]
        return ["not", leaf] if is_turned else leaf

    def turned(self) -> Item:
        """The opposite."""
        if self.operator in _OPPOSITE:
            return replace(self, operator=_OPPOSITE[self.operator])
        return Group("none", (self,))

    def filters(self) -> Iterator[Filter]:
        yield self


def _check(dimension: str, operator: str, has_value: bool) -> None:
    if dimension != SEGMENT:
        try:
            check_dimension(dimension, "filter")
        except Invalid as error:
            raise FilterError(
                f"There is no filter by {dimension[:40]!r}: choose one of "
                f"{', '.join([*DIMENSIONS, SEGMENT])}."
            ) from error
    known = _operators_of(dimension)
    if operator not in known or not has_value:
        raise FilterError(
            f"A filter is written {dimension}:is:value; "
            f"instead of 'is' it may say {', '.join(known[1:])}."
        )


def _operators_of(dimension: str) -> list[str]:
    if dimension in NAMED:
        return list(_WHOLE)
    done = ("has_done", "has_not_done")
    return [name for name in OPERATORS if dimension in DONE or name not in done]


@dataclass(frozen=True)
class Group:
    """Several items of which `kind` (of GROUPS) says how many must hold."""

    kind: str
    items: tuple[Item, ...]

    @property
    def texts(self) -> list[str]:
        inside = [text for item in self.items for text in item.texts]
        return [f"{self.kind}(", *inside, CLOSE]

    @property
    def label(self) -> str:
        return {"none": "Not", "visitor": "Visitors with"}.get(self.kind, "")

    @property
    def shown_value(self) -> str:
        return _said(self.items, _BETWEEN[self.kind])

    @property
    def words(self) -> str:
        return f"{self.label} {self.shown_value}".strip()

    @property
    def asked(self) -> list[Any]:
        within = joined("or" if self.kind in ("any", "none") else "and", self.items)
        if self.kind == "none":
            return ["not", within]
        return [VISITOR, within] if self.kind == "visitor" else within

    def turned(self) -> Item:
        return Group("any", self.items) if self.kind == "none" else Group("none", (self,))

    def filters(self) -> Iterator[Filter]:
        for item in self.items:
            yield from item.filters()


Item = Filter | Group
Items = tuple[Item, ...]


def joined(joint: str, items: Sequence[Item]) -> list[Any]:
    """What a question asks of several items."""
    return items[0].asked if len(items) == 1 else [joint, *(item.asked for item in items)]


def said(items: Sequence[Item]) -> str:
    """All of the items in words."""
    return _said(items, _BETWEEN["all"]) if len(items) > 1 else items[0].words


def _said(items: Sequence[Item], between: str) -> str:
    """A group of several stands in brackets."""
    parts = [
        f"({item.words})" if isinstance(item, Group) and len(item.items) > 1 else item.words
        for item in items
    ]
    return between.join(parts)


def filters_in(items: Iterable[Item]) -> list[Filter]:
    return [each for item in items for each in item.filters()]


# -- reading -----------------------------------------------------------------------------------


def read(texts: Sequence[str]) -> Items:
    """The items that parameters spell, each once; FilterError if they cannot be read."""
    if len(texts) > MOST_LONG:
        raise FilterError(_TOO_MANY)
    rest = list(texts)
    items = tuple(dict.fromkeys(_read(rest, 1)))
    if rest:
        raise FilterError(f"A {CLOSE!r} closes no group: leave it out.")
    if len(filters_in(items)) > MOST_FILTERS:
        raise FilterError(_TOO_MANY)
    return items


_TOO_MANY = f"Over {MOST_FILTERS} filters at once: remove some."


def _read(rest: list[str], depth: int) -> Iterator[Item]:
    """Takes from the front of `rest` what belongs to one group; one that is not closed ends with
    the address, and one without filters says nothing."""
    if depth > MOST_DEPTH:
        raise FilterError(f"Nest filters at most {MOST_DEPTH} deep.")
    while rest and rest[0] != CLOSE:
        text = rest.pop(0)
        kind = text.removesuffix("(")
        if not text.endswith("(") or kind not in GROUPS:
            yield Filter.parse(text)
            continue
        items = tuple(dict.fromkeys(_read(rest, depth + 1)))
        if rest:
            rest.pop(0)
        if items:
            yield Group(kind, items)


def texts_of(items: Iterable[Item]) -> list[str]:
    return [text for item in items for text in item.texts]


def of_question(tree: Any) -> Items:
    """The items that say the same as a question's filter, which `filters.parse` has approved
    but for its goals and segments."""
    item = _of(tree)
    return item.items if isinstance(item, Group) and item.kind == "all" else (item,)


def _of(tree: Any) -> Item:
    operator, *rest = tree
    if operator == "not":
        inner = _of(rest[0])
        if isinstance(inner, Group) and inner.kind == "any":
            return Group("none", inner.items)
        return inner.turned()
    if operator == VISITOR:
        return Group("visitor", of_question(rest[0]))
    if operator in ("and", "or"):
        items = tuple(map(_of, rest))
        return items[0] if len(items) == 1 else Group(_KINDS[operator], items)
    dimension, values = rest
    items = tuple(Filter(dimension, operator, value) for value in values)
    return items[0] if len(items) == 1 else Group("all" if operator == "is_not" else "any", items)


_KINDS = {"and": "all", "or": "any"}


# -- building ----------------------------------------------------------------------------------


def path_of(text: str) -> Path:
    """`1.0` -> (1, 0); FilterError for what is no path."""
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,3}){0,9}", text, re.ASCII):
        raise FilterError("That place among the filters is not there: choose another.")
    return tuple(map(int, text.split(".")))


def walk(items: Items, path: Path = ()) -> Iterator[tuple[Path, Item]]:
    """Every item with its path, groups before what is in them."""
    for index, item in enumerate(items):
        yield (*path, index), item
        if isinstance(item, Group):
            yield from walk(item.items, (*path, index))


def changed(items: Items, path: Path, change: Callable[[Item], Item | None]) -> Items:
    """The items with another one at that path; None takes it away, and a group that is empty then.
    FilterError if nothing is there."""
    index, *rest = path
    if index >= len(items):
        raise FilterError("That filter is not there any more: choose another place.")
    item = items[index]
    if not rest:
        new = change(item)
    elif isinstance(item, Group):
        within = changed(item.items, tuple(rest), change)
        new = replace(item, items=within) if within else None
    else:
        raise FilterError("That filter is not there any more: choose another place.")
    return tuple(dict.fromkeys([*items[:index], *([new] if new else []), *items[index + 1 :]]))


def put(items: Items, added: Item, into: str) -> Items:
    """The items and one more: beside them, or where `into` says: `in:1` into that group, `or:1.0`
    as another way to pass that item."""
    if not into:
        return tuple(dict.fromkeys((*items, added)))
    how, _, where = into.partition(":")
    if how not in ("in", "or"):
        raise FilterError("Choose where the filter belongs: it is none of the places there are.")

    def with_it(item: Item) -> Item:
        if isinstance(item, Group) and (how == "in" or item.kind == "any"):
            return replace(item, items=tuple(dict.fromkeys((*item.items, added))))
        return Group("any" if how == "or" else "all", (item, added))

    return changed(items, path_of(where), with_it)


@dataclass(frozen=True)
class Place:
    """Where a new filter can go, for the builder's list."""

    into: str
    words: str


def places(items: Items) -> list[Place]:
    """Beside all others, as an alternative to one of them, into one of the groups."""
    found = [Place("", "and: all must hold")] if items else []
    for path, item in walk(items):
        where = ".".join(map(str, path))
        if isinstance(item, Group):
            found.append(Place(f"in:{where}", f"within {GROUPS[item.kind]}: {item.shown_value}"))
        if not isinstance(item, Group) or item.kind != "any":
            found.append(Place(f"or:{where}", f"or, instead of: {item.words}"))
    return found
