"""The route over raw events and sessions: answers every question, at the price of reading them.

Enters: a Question and a range. Leaves: base numbers by group and in total. Event measures and
visitors count events in the range; session measures count sessions that start in it and, when
the question names something that only an event has, that have such an event in the range.
Quantiles are those of the events in the range.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from django.db import connection
from psycopg import sql

from properties.models import Property
from properties.periods import Range
from reports import filters, metrics, touches
from reports.blocks import row_by_row
from reports.filters import BOTH, EVENTS, EVENTS_IN_RANGE, Bound
from reports.questions import Base, Counted, Key, Question

_BOTS = {
    "exclude": sql.SQL("NOT {}.bot"),
    "include": sql.SQL("TRUE"),
    "only": sql.SQL("{}.bot"),
}
_SESSIONS = sql.SQL("sessions AS s")
_SESSIONS_IN_RANGE = sql.SQL(
    "s.property_id = %(property)s AND s.started_at >= %(start)s AND s.started_at < %(end)s"
)


def count(place: Property, question: Question, within: Range) -> Counted:
    """Base numbers over the range; groups are ordered and cut as the question says."""
    total = _Statement(place, replace(question, dimensions=()), within).run()
    groups = _Statement(place, question, within).run() if question.dimensions else {}
    return Counted(groups, total.get((), {}))


def each(place: Property, question: Question, within: Range) -> Iterator[tuple[Key, Base]]:
    """The groups, one at a time and in any order: Postgres keeps those that have not been taken."""
    statement = _Statement(place, question, within)
    bound = statement.bound()
    yield from statement.rows(row_by_row(statement.counted(bound), bound.values))


@dataclass(frozen=True)
class _Statement:
    place: Property
    question: Question
    within: Range

    def run(self) -> dict[Key, Base]:
        bound = self.bound()
        with connection.cursor() as cursor:
            cursor.execute(self.text(bound), bound.values)
            return dict(self.rows(cursor.fetchall()))

    def rows(self, found: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Key, Base]]:
        width, needs = len(self.question.dimensions), self.question.needs
        for row in found:
            yield row[:width], dict(zip(needs, row[width:], strict=True))

    def bound(self) -> Bound:
        return Bound(
            property=self.place.pk,
            start=self.within.span.start,
            end=self.within.span.end,
            starts=filters.array(one.start for one in self.question.periods(self.within)),
            places=filters.array(self.question.places(self.within)),
        )

    def text(self, bound: Bound) -> sql.Composed:
        """What is counted, ordered and cut as the question says."""
        keys = self._keys()
        return self.counted(bound) + self._order(keys) if keys else self.counted(bound)

    def counted(self, bound: Bound) -> sql.Composed:
        """`visitors` and event measures, and session measures, joined on the dimensions."""
        halves = []
        if self._needs_of("event"):
            halves.append(self._event_half(bound))
        if self._needs_of("session"):
            halves.append(self._session_half(bound))
        keys = self._keys()
        numbers = [_or_nothing(name) for name in self.question.needs]
        statement = sql.SQL("SELECT {} FROM ").format(sql.SQL(", ").join([*keys, *numbers]))
        statement += self._joined(halves, keys)
        if not keys:
            return statement
        # A row is something that was counted: as in rollups, which store no zeros.
        some = [
            sql.SQL("{} IS DISTINCT FROM {}").format(number, sql.SQL(_NOTHING[is_quantile(name)]))
            for name, number in zip(self.question.needs, numbers, strict=True)
        ]
        return statement + sql.SQL(" WHERE {}").format(sql.SQL(" OR ").join(some))

    def _joined(self, halves: list[sql.Composed], keys: list[sql.Identifier]) -> sql.Composed:
        tables = [
            sql.SQL("({}) AS {}").format(half, sql.Identifier(name))
            for half, name in zip(halves, ("first", "second"), strict=False)
        ]
        if not keys:
            return sql.SQL(" CROSS JOIN ").join(tables)
        joined = sql.SQL(" FULL JOIN ").join(tables)
        if len(tables) > 1:
            joined += sql.SQL(" USING ({})").format(sql.SQL(", ").join(keys))
        return joined

    # -- the halves --

    def _event_half(self, bound: Bound) -> sql.Composed:
        needs = self._needs_of("event")
        columns = [sql.SQL("e.visitor"), *_values(needs), *self._dimensions(bound, "e.time")]
        where = [EVENTS_IN_RANGE, _BOTS[self.question.bots].format(sql.Identifier("e"))]
        return self._half(
            needs,
            sql.SQL("SELECT {} FROM {} WHERE {}").format(
                sql.SQL(", ").join(columns),
                self._from(BOTH) if self._names_any("session") else EVENTS,
                sql.SQL(" AND ").join([*where, *self._conditions(bound, "e")]),
            ),
        )

    def _session_half(self, bound: Bound) -> sql.Composed:
        needs = self._needs_of("session")
        dimensions = self._dimensions(bound, "s.started_at")
        where = [_SESSIONS_IN_RANGE, _BOTS[self.question.bots].format(sql.Identifier("s"))]
        if not self._names_any("event"):
            matched = sql.SQL("SELECT {} FROM {} WHERE {}").format(
                sql.SQL(", ").join([*_values(needs), *dimensions]),
                self._from(_SESSIONS),
                sql.SQL(" AND ").join([*where, *self._conditions(bound, "s")]),
            )
            return self._half(needs, matched)
        # A session counts once however many of its events match.
        at = {name: metrics.MEASURES[name].at for name in needs if metrics.MEASURES[name].at}
        columns: list[sql.Composable] = [sql.SQL("s.visitor"), sql.SQL("s.started_at")]
        columns += [*_values([name for name in needs if name not in at]), *dimensions]
        some = [
            sql.SQL("max((e.page = {})::int * {}) AS {}").format(
                sql.Identifier("s", page),
                sql.SQL(metrics.MEASURES[name].sql),
                sql.Identifier(name),
            )
            for name, page in at.items()
        ]
        matched = sql.SQL("SELECT {} FROM {} WHERE {} GROUP BY {}").format(
            sql.SQL(", ").join([*columns, *some]),
            self._from(BOTH),
            sql.SQL(" AND ").join([*where, EVENTS_IN_RANGE, *self._conditions(bound, "s")]),
            sql.SQL(", ").join(map(sql.Literal, range(1, len(columns) + 1))),
        )
        return self._half(needs, matched)

    def _half(self, needs: list[str], matched: sql.Composed) -> sql.Composed:
        keys = self._keys()
        numbers = [
            sql.SQL("{} AS {}").format(_aggregate(name), sql.Identifier(name)) for name in needs
        ]
        grouped = sql.SQL("SELECT {} FROM ({}) AS matched").format(
            sql.SQL(", ").join([*keys, *numbers]), matched
        )
        if keys:
            grouped += sql.SQL(" GROUP BY {}").format(sql.SQL(", ").join(keys))
        return grouped

    # -- parts --

    def _needs_of(self, scope: str) -> list[str]:
        return [name for name in self.question.needs if _scope(name) == scope]

    def _keys(self) -> list[sql.Identifier]:
        return [sql.Identifier(f"d{index}") for index in range(len(self.question.dimensions))]

    def _dimensions(self, bound: Bound, moment: str) -> list[sql.Composed]:
        """The dimensions as columns d0, d1, ...; a period by its index, counted from 1."""
        return [
            sql.SQL("{} AS {}").format(self._dimension(name, bound, moment), key)
            for name, key in zip(self.question.dimensions, self._keys(), strict=True)
        ]

    def _dimension(self, name: str, bound: Bound, moment: str) -> sql.Composable:
        if name.startswith(metrics.TIME):
            return sql.SQL(
                "(%(places)s::int[])[width_bucket({}, %(starts)s::timestamptz[])]"
            ).format(sql.Identifier(*moment.split(".")))
        return filters.column(name, bound)

    def _conditions(self, bound: Bound, alias: str) -> list[sql.Composable]:
        """The filter, and that what a ranked table leaves out when empty is not."""
        found = []
        if self.question.filters is not None:
            visitor = sql.Identifier(alias, "visitor")
            found.append(filters.condition(filters.parse(self.question.filters), bound, visitor))
        for name in self.question.dimensions:
            dimension = metrics.find_dimension(name)
            if dimension is not None and not dimension.blank:
                found.append(sql.SQL("{} <> ''").format(filters.column(name, bound)))
        return found

    def _from(self, tables: sql.SQL) -> sql.Composable:
        """Tables with sessions `s`, and the sessions by which those are attributed."""
        return tables + touches.joins(self.question.named)

    def _names_any(self, scope: str) -> bool:
        """Whether a dimension or a filter binds to an event (or to a session)."""
        scopes: set[str] = {
            dimension.scope
            for name in self.question.dimensions
            if (dimension := metrics.find_dimension(name))
        }
        if self.question.filters is not None:
            tree = filters.parse(self.question.filters)
            scopes |= {leaf.scope for leaf in filters.leaves(tree)}
        return scope in scopes

    def _order(self, keys: list[sql.Identifier]) -> sql.Composed:
        """Most first as the question says; ties by the dimensions, by code point."""
        terms = [self._order_term(name, way, keys) for name, way in self.question.order]
        terms += [
            self._order_term(name, "asc", keys)
            for name in self.question.dimensions
            if name not in dict(self.question.order)
        ]
        order = sql.SQL(" ORDER BY {}").format(sql.SQL(", ").join(terms))
        if not self.question.is_series:
            order += sql.SQL(" LIMIT {}").format(sql.Literal(self.question.limit))
        return order

    def _order_term(self, name: str, way: str, keys: list[sql.Identifier]) -> sql.Composed:
        direction = sql.SQL("ASC NULLS LAST" if way == "asc" else "DESC NULLS LAST")
        if name in metrics.METRICS:
            return sql.SQL("{} {}").format(_metric(metrics.METRICS[name]), direction)
        key = keys[self.question.dimensions.index(name)]
        if name.startswith(metrics.TIME):
            return sql.SQL("{} {}").format(key, direction)
        return sql.SQL('{} COLLATE "C" {}').format(key, direction)


def is_quantile(name: str) -> bool:
    return name in metrics.QUANTILES


_NOTHING = {False: "0", True: "NULL"}


def _or_nothing(name: str) -> sql.Composed:
    """The base number of a group that may have no row of it: 0, or NULL for a quantile."""
    return sql.SQL("coalesce({}, {})").format(
        sql.Identifier(name), sql.SQL(_NOTHING[is_quantile(name)])
    )


def _scope(name: str) -> str:
    return metrics.MEASURES[name].scope if name in metrics.MEASURES else "event"


def _values(names: Iterable[str]) -> list[sql.Composed]:
    """What each row says to these base numbers, as columns; a sample that is asked for several
    quantiles comes once."""
    every: dict[str, str] = {}
    for name in names:
        if name in metrics.QUANTILES:
            sample = metrics.SAMPLES[metrics.QUANTILES[name].sample]
            every[sample.name] = sample.sql
        elif name != metrics.VISITORS:
            every[name] = metrics.MEASURES[name].sql
    return [
        sql.SQL("({})::bigint AS {}").format(sql.SQL(text), sql.Identifier(name))
        for name, text in every.items()
    ]


def _aggregate(name: str) -> sql.Composable:
    if name == metrics.VISITORS:
        return sql.SQL("count(DISTINCT visitor)")
    if name in metrics.QUANTILES:
        quantile = metrics.QUANTILES[name]
        return sql.SQL("percentile_disc({}) WITHIN GROUP (ORDER BY nullif({}, -1))").format(
            sql.Literal(quantile.part), sql.Identifier(quantile.sample)
        )
    return sql.SQL("coalesce(sum({}), 0)::bigint").format(sql.Identifier(name))


def _metric(metric: metrics.Metric) -> sql.Composed:
    above = _or_nothing(metric.of)
    if not metric.over:
        return above
    return sql.SQL("{}::float8 / nullif({}, 0)").format(above, sql.Identifier(metric.over))
