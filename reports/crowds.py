"""Who is meant by a filter, as one bitmap made of those that rollups keep.

Enters: a filter and stretches of whole hours or days. Leaves: everybody with an event in them on
which the filter holds, in milliseconds; or None where bitmaps cannot tell: two plain filters must
hold on one event, or on one session, and bitmaps know of each only who it was. Called by
reports/rolled.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import reduce
from operator import and_, or_
from typing import TypeVar

from django.db import connection
from psycopg import sql
from pyroaring import BitMap

from properties.models import Property
from reports import filters, metrics
from reports.blocks import binary_cursor
from reports.columns import Numbers
from reports.filters import Branch, Leaf, Node

OTHER = "(other)"  # what the rollup calls values beyond its most frequent ones

Stretch = tuple[str, datetime, datetime]  # grain, [start, end)


def union(several: Iterable[BitMap]) -> BitMap:
    found = list(several)
    return BitMap.union(*found) if found else BitMap()


def rows(
    bound: filters.Bound, place: Property, dimension: str, stretches: Sequence[Stretch]
) -> sql.Composed:
    """The rows of rollups or bitmaps of a dimension ("": of everybody) in these stretches."""
    within = [
        sql.SQL("(grain = {} AND starts_at >= {} AND starts_at < {})").format(
            *(bound.add(part) for part in stretch)
        )
        for stretch in stretches
    ]
    return sql.SQL("property_id = {} AND dimension = {} AND ({})").format(
        bound.add(place.pk), bound.add(dimension), sql.SQL(" OR ").join(within)
    )


def is_of_visitor(node: Node) -> bool:
    """Whether it asks of the visitor only, so that it holds on all of her events or on none."""
    return all(leaf.scope == "visitor" for leaf in filters.leaves(node))


def can_tell(node: Node) -> bool:
    """Whether bitmaps know who has an event on which it holds."""
    if isinstance(node, Leaf):
        return _test_of(node) is not None
    if node.joint == "not":
        return is_of_visitor(node) and can_tell(node.parts[0])
    if node.joint == "and" and sum(not is_of_visitor(part) for part in node.parts) > 1:
        return False
    return all(map(can_tell, node.parts))


def hides_values(place: Property, dimension: str, stretches: Sequence[Stretch]) -> bool:
    """Whether a stretch has "(other)": the values asked for may be among them."""
    bound = filters.Bound()
    text = sql.SQL(
        "SELECT EXISTS (SELECT FROM rollups WHERE {rows} AND value = {other})"
        " OR EXISTS (SELECT FROM bitmaps WHERE {rows} AND value = {other})"
    ).format(rows=rows(bound, place, dimension, stretches), other=bound.add(OTHER))
    with connection.cursor() as cursor:
        cursor.execute(text, bound.values)
        return bool(cursor.fetchone()[0])


P = TypeVar("P", BitMap, Numbers)


def those(node: Node | None, of: Callable[[Node | None], P]) -> P:
    """Everybody with an event on which it holds. `of` tells of whom that is so, of everybody (None)
    and of what must hold on one and the same event, which only somebody who sees events can tell;
    what else can be said of visitors is put together from that."""
    if node is None or isinstance(node, Leaf):
        return of(node)
    if node.joint == filters.VISITOR:
        return those(node.parts[0], of)
    if node.joint == "or":
        return reduce(or_, (those(part, of) for part in node.parts))
    if node.joint == "not":
        if not is_of_visitor(node):
            return of(node)
        everybody = of(None)
        return everybody ^ (everybody & those(node.parts[0], of))
    plain = tuple(part for part in node.parts if not is_of_visitor(part))
    found = [those(part, of) for part in node.parts if is_of_visitor(part)]
    if plain:
        found.append(those(plain[0], of) if len(plain) == 1 else of(Branch("and", plain)))
    return reduce(and_, found)


class Hidden(Exception):
    """A value asked for may be one of "(other)": bitmaps cannot tell after all."""


@dataclass
class Crowd:
    """Reads each bitmap that a filter needs once. `who` raises Hidden."""

    place: Property
    stretches: Sequence[Stretch]
    _known: dict[Leaf | str, BitMap] = field(default_factory=dict)
    _whole: set[str] = field(default_factory=set)  # dimensions without "(other)"

    def who(self, node: Node) -> BitMap:
        """Everybody with an event on which it holds; it must be one that `can_tell` approves."""
        return those(node, self._part)

    def _part(self, node: Node | None) -> BitMap:
        if node is None:
            return self._everybody()
        assert isinstance(node, Leaf)
        return self._of(node)

    def _everybody(self) -> BitMap:
        if "" not in self._known:
            self._known[""] = self._read("", None)
        return self._known[""]

    def _of(self, leaf: Leaf) -> BitMap:
        leaf = replace(leaf, operator="is") if leaf.operator == "has_done" else leaf
        if leaf not in self._known:
            if leaf.dimension not in self._whole:
                if hides_values(self.place, leaf.dimension, self.stretches):
                    raise Hidden
                self._whole.add(leaf.dimension)
            self._known[leaf] = self._read(leaf.dimension, leaf)
        return self._known[leaf]

    def _read(self, dimension: str, leaf: Leaf | None) -> BitMap:
        bound = filters.Bound()
        text = sql.SQL("SELECT bits FROM bitmaps WHERE {rows}").format(
            rows=rows(bound, self.place, dimension, self.stretches)
        )
        if leaf is not None:
            test = _test_of(leaf)
            assert test is not None
            text += sql.SQL(" AND {}").format(test(leaf, bound))
        with binary_cursor() as cursor:
            cursor.execute(text, bound.values)
            return union(BitMap.deserialize(bits) for (bits,) in cursor.fetchall())


Test = Callable[[Leaf, filters.Bound], sql.Composable]


def _among(leaf: Leaf, bound: filters.Bound) -> sql.Composable:
    return sql.SQL("value = ANY({}::text[])").format(bound.add(list(leaf.values)))


def _not_among(leaf: Leaf, bound: filters.Bound) -> sql.Composable:
    return sql.SQL("value <> ALL({}::text[])").format(bound.add(list(leaf.values)))


def _test_of(leaf: Leaf) -> Test | None:
    """What a filter asks of a bitmap's value, None where bitmaps do not say it.

    Where no value is a row of its own ("blank"), those who are not in its bitmap may be in none.
    """
    found = metrics.DIMENSIONS.get(leaf.dimension)
    if found is None or not found.rolled:
        return None
    if leaf.operator in ("is", "has_done"):
        return _among if "" not in leaf.values else None
    return _not_among if leaf.operator == "is_not" and found.blank else None
