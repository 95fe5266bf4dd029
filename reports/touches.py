"""First and last touch: what brought a visitor, when it was not this session.

The *first touch* of a session is its visitor's first session of all; the *last touch* the last one
up to it that did not come directly, at most LOOK_BACK before, or else the session itself. Both are
counted from the sessions that are kept: where some have expired, an answer is not exact.

Enters: the dimensions that a statement names. Leaves: what its FROM has to be joined with, and
the columns. Called by whoever makes SQL about sessions `s`; tracking/sessions.py marks the days
of later sessions when an earlier one comes late.
"""

from collections.abc import Iterable
from datetime import datetime

from psycopg import sql

from reports import metrics
from tracking.sessions import DIRECT, LOOK_BACK

FIRST, LAST = "first", "last"

_COLUMNS = sql.SQL(", ").join(map(sql.Identifier, metrics.TOUCHED))
# Written so that only the sessions' primary key can serve it, as everywhere: a planner without
# statistics would look for the visitor through all sessions by their start.
_JOINS = {
    FIRST: sql.SQL(
        " JOIN LATERAL (SELECT {columns} FROM sessions"
        " WHERE property_id = s.property_id AND (visitor, started_at) >= (s.visitor, '-infinity')"
        " ORDER BY visitor, started_at LIMIT 1) AS first_touch ON true"
    ).format(columns=_COLUMNS),
    LAST: sql.SQL(
        " LEFT JOIN LATERAL (SELECT {columns} FROM sessions"
        " WHERE property_id = s.property_id"
        " AND (visitor, started_at) <= (s.visitor, s.started_at)"
        " AND (visitor, started_at) >= (s.visitor, s.started_at - {look_back}::interval)"
        " AND channel <> ALL ({direct})"
        " ORDER BY visitor DESC, started_at DESC LIMIT 1) AS last_touch ON true"
    ).format(columns=_COLUMNS, look_back=sql.Literal(LOOK_BACK), direct=sql.Literal(list(DIRECT))),
}


def named(dimensions: Iterable[str]) -> set[str]:
    """The touches that these dimensions ask for."""
    found = map(metrics.find_dimension, dimensions)
    return {dimension.touch for dimension in found if dimension is not None and dimension.touch}


def joins(dimensions: Iterable[str]) -> sql.Composable:
    """What comes behind a FROM with sessions `s` where these dimensions are asked for."""
    return sql.SQL("").join(_JOINS[touch] for touch in sorted(named(dimensions)))


def column(dimension: metrics.Dimension) -> sql.Composable:
    """The dimension's value in a statement with its join."""
    found = sql.Identifier(f"{dimension.touch}_touch", dimension.column)
    if dimension.touch == FIRST:
        return found
    return sql.SQL("coalesce({}, {})").format(found, sql.Identifier("s", dimension.column))


def reaches_back_to(dimensions: Iterable[str], start: datetime) -> datetime | None:
    """Since when sessions matter to a question of that start; None: since ever."""
    touches = named(dimensions)
    if FIRST in touches:
        return None
    return start - LOOK_BACK if LAST in touches else start
