"""What the last half hour brought, for the live pages: conversions, carts, revenue, reading.

In: properties, a filter, and now. Out: numbers from raw events, a second or two behind (the drain),
kept for some seconds for all who look at the same. Unknown is None: where a filter asks for loyal
visitors, who are returning ones to reports, where the reader may not see money, and when counting
takes too long.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import structlog
from django.db import DatabaseError, connection
from psycopg import sql

from accounts.tenancy import tenant
from properties.currencies import DECIMALS
from properties.goals import CONVERSION
from properties.models import Goal, Property
from reports import filters
from reports.filters import BOTH, EVENTS, EVENTS_IN_RANGE, Bound, Node, leaves, like

WINDOW = timedelta(minutes=30)
KEPT = 5.0  # seconds for which what was counted is shown
KEPT_FILTERED = 15.0  # there may be as many filters as readers
COSTS = 20  # times as long as counting took it is kept, if that is longer
PATIENCE = 1_500  # ms of a statement
UNKNOWN_KEPT = 60.0
MOST_KEPT = 500
MOST_PAGES = 200
IN_CART = ("add_to_cart", "view_cart", "begin_checkout", "add_shipping_info", "add_payment_info")

log = structlog.get_logger()


@dataclass(frozen=True)
class Reading:
    """Of a page: mean engaged time and mean depth of scrolling, as page views told of them that
    were left or hidden in the window."""

    engaged_ms: int | None = None
    scroll: int | None = None


UNREAD: Final = Reading()


@dataclass(frozen=True)
class Numbers:
    """Of one property. `revenue` in minor units of `currency`."""

    events: int | None = None
    conversions: int | None = None
    carts: int | None = None
    revenue: int | None = None
    pages: Mapping[str, tuple[int, int, int, int]] | None = None  # sums and counts of Reading


_kept: dict[tuple[int, str], tuple[float, Numbers]] = {}


def of(
    places: Sequence[Property], node: Node | None, sees_money: bool, now: datetime
) -> tuple[dict[str, Any], dict[str, Reading]]:
    """`last_30m` of the snapshot, summed over the properties, and how pages are read."""
    found = [_remembered(place, node, now) for place in places]
    currencies = {place.currency for place in places}
    known: dict[str, Any] = {
        "events": _sum([each.events for each in found]),
        "conversions": _sum([each.conversions for each in found]),
        "carts": _sum([each.carts for each in found]) if sees_money else None,
        "revenue": None,
    }
    if sees_money and len(currencies) == 1:  # two currencies have no sum
        known["revenue"] = _sum([each.revenue for each in found])
    known["currency"] = currencies.pop() if len(currencies) == 1 else None
    return known, _readings(found)


def _sum(numbers: list[int | None]) -> int | None:
    return None if None in numbers else sum(number for number in numbers if number is not None)


def _readings(found: Sequence[Numbers]) -> dict[str, Reading]:
    sums: dict[str, list[int]] = {}
    for numbers in found:
        for page, values in (numbers.pages or {}).items():
            total = sums.setdefault(page, [0, 0, 0, 0])
            for index, value in enumerate(values):
                total[index] += value
    return {
        page: Reading(
            round(engaged / told) if told else None, round(scrolled / seen) if seen else None
        )
        for page, (engaged, told, scrolled, seen) in sums.items()
    }


def _remembered(place: Property, node: Node | None, now: datetime) -> Numbers:
    """Counted at most every few seconds for each process, however many look."""
    key, moment = (place.pk, repr(node)), time.monotonic()
    until, known = _kept.get(key, (0.0, Numbers()))
    if moment < until:
        return known
    numbers, lasts = Numbers(), UNKNOWN_KEPT
    try:
        if node is None or not any("loyal" in leaf.values for leaf in leaves(node)):
            numbers = _count(place, node, now)
            least = KEPT if node is None else KEPT_FILTERED
            lasts = max(least, COSTS * (time.monotonic() - moment))
    except DatabaseError as error:
        log.warning("the last half hour is not counted", error=str(error))
    if len(_kept) >= MOST_KEPT:
        _kept.clear()
    _kept[key] = time.monotonic() + lasts, numbers
    return numbers


# -- counting --------------------------------------------------------------------------------------

_NUMBERS = sql.SQL(
    "SELECT count(*), count(DISTINCT e.visitor) FILTER (WHERE {reached})"
    " FROM {events} WHERE {where}"
)
# An order counts once by its number, as in every report of revenue.
_MONEY = sql.SQL(
    "SELECT count(DISTINCT visitor) FILTER (WHERE carted > coalesce(bought, '-infinity')),"
    " (SELECT coalesce(sum(revenue), 0) FROM ("
    "   SELECT DISTINCT ON (e.name, e.props ->> 'transaction_id') e.revenue FROM {events}"
    "   WHERE {where} AND e.name IN ('purchase', 'refund') AND e.currency = %(currency)s"
    "   AND e.revenue IS NOT NULL ORDER BY e.name, e.props ->> 'transaction_id', e.time"
    " ) AS orders)"
    " FROM (SELECT e.visitor, max(e.time) FILTER (WHERE e.name = ANY(%(in_cart)s)) AS carted,"
    "   max(e.time) FILTER (WHERE e.name = 'purchase') AS bought"
    "   FROM {events} WHERE {where} AND e.name = ANY(%(shopping)s) GROUP BY e.visitor) AS shoppers"
)
_PAGES = sql.SQL(
    "SELECT e.page, coalesce(sum(e.engaged_ms), 0)::bigint, count(e.engaged_ms),"
    " coalesce(sum(e.scroll), 0)::bigint, count(e.scroll)"
    " FROM {events} WHERE {where} AND e.name = 'engagement' AND e.page <> ''"
    " GROUP BY e.page ORDER BY count(*) DESC, e.page LIMIT %(most)s"
)
_IN_WINDOW = EVENTS_IN_RANGE + sql.SQL(" AND NOT e.bot")


def _count(place: Property, node: Node | None, now: datetime) -> Numbers:
    bound = Bound(
        property=place.pk,
        start=now - WINDOW,
        end=now + timedelta(minutes=5),  # as far ahead as senders' clocks may be
        currency=place.currency,
        in_cart=list(IN_CART),
        shopping=[*IN_CART, "purchase"],
        most=MOST_PAGES,
    )
    where: sql.Composable = _IN_WINDOW
    events = EVENTS
    if node is not None:
        where = (
            _IN_WINDOW
            + sql.SQL(" AND ")
            + filters.condition(node, bound, sql.Identifier("e", "visitor"))
        )
        events = BOTH
    parts = {"events": events, "where": where}
    with tenant(place.account_id), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('statement_timeout', %s, true)", [f"{PATIENCE}ms"])
        reached = _reached(place, bound)
        cursor.execute(_NUMBERS.format(reached=reached or sql.SQL("FALSE"), **parts), bound.values)
        happened, conversions = cursor.fetchone()
        cursor.execute(_MONEY.format(**parts), bound.values)
        carts, revenue = cursor.fetchone()
        cursor.execute(_PAGES.format(**parts), bound.values)
        pages = {page: tuple(values) for page, *values in cursor.fetchall()}
    return Numbers(
        events=happened,
        conversions=conversions if reached else None,
        carts=carts,
        revenue=_minor(revenue, place.currency),
        pages=pages,
    )


def _minor(amount: Decimal, currency: str) -> int:
    return round(amount * 10 ** DECIMALS.get(currency, 2))


def _reached(place: Property, bound: Bound) -> sql.Composable | None:
    """The event reaches a goal (properties/goals.py); None when there is no goal."""
    found = [_reaches(goal, bound) for goal in Goal.objects.filter(property_id=place.pk)]
    return sql.SQL("({})").format(sql.SQL(" OR ").join(found)) if found else None


def _reaches(goal: Goal, bound: Bound) -> sql.Composable:
    if goal.kind == Goal.Kind.PAGE:
        return sql.SQL("(e.name = 'pageview' AND e.page LIKE {})").format(
            bound.add(like(goal.page))
        )
    parts: list[sql.Composable] = []
    if goal.event:
        parts.append(
            sql.SQL("(e.name = {} OR e.name = {} AND e.props ->> 'goal' = {})").format(
                bound.add(goal.event), bound.add(CONVERSION), bound.add(goal.name)
            )
        )
    if goal.kind == Goal.Kind.VALUE:
        parts.append(
            sql.SQL("(e.revenue >= {} AND e.currency = %(currency)s)").format(
                bound.add(goal.minimum)
            )
        )
    return sql.SQL("({})").format(sql.SQL(" AND ").join(parts))
