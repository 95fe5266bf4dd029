"""The seed's counters: an event of an account (or of all of them) by month, day, hour, minute.

Enters: `/api/stats/track/{account or all}/{event}/{year}[/{month}[/{day}[/{hour}]]]`. Leaves: a
number for every part of that period, zeros included, summed over the properties that the actor
may view, each in its own zone. `unique` counts visitors instead of events.
"""

import re
from calendar import monthrange
from dataclasses import astuple, dataclass
from datetime import datetime, timedelta

from django.http import Http404
from django.urls import reverse
from django.utils import timezone
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiResponse,
    extend_schema,
    extend_schema_view,
)
from rest_framework import status
from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Account
from accounts.tenancy import tenant
from properties import periods
from properties.access import Denied, SignedInView, only, see_account
from properties.inputs import is_storable
from properties.models import Property
from properties.periods import Kind, Range, RangeError, Span
from reports import filters, queries, schema
from reports.questions import Question
from tracking.models import Event

ALL = "all"  # in place of an account
UNIQUE = "unique"  # in place of an event
_NAMES = ("year", "month", "day", "hour")
_PARTS: dict[str, Kind] = {"year": "month", "month": "day", "day": "hour", "hour": "minute"}


class Expired(APIException):
    """404: an hour is counted from raw events, and these are gone."""

    status_code = status.HTTP_404_NOT_FOUND
    default_code = "expired"

    @classmethod
    def of(cls, place: Property) -> "Expired":
        return cls(
            f"Minutes are counted from raw events, which are kept for {place.retention_days} days. "
            "Ask for the day instead."
        )


@dataclass(frozen=True)
class Moment:
    """A year, month, day or hour on the calendar, in nobody's zone yet."""

    year: int
    month: int | None = None
    day: int | None = None
    hour: int | None = None

    @property
    def kind(self) -> str:
        return _NAMES[sum(part is not None for part in astuple(self)) - 1]

    @property
    def parts(self) -> range:
        """The numbers of its months, days, hours or minutes."""
        if self.kind == "year":
            return range(1, 13)
        if self.kind == "month":
            return range(1, monthrange(self.year, self.month or 1)[1] + 1)
        return range(24) if self.kind == "day" else range(60)

    def days(self, place: Property) -> Range | None:
        """Its days in the property's zone; None for a day that the zone skipped."""
        first = f"{self.year:04d}-{self.month or 1:02d}-{self.day or 1:02d}"
        month = self.month or 12
        last = f"{self.year:04d}-{month:02d}-{self.day or monthrange(self.year, month)[1]:02d}"
        try:
            return periods.parse_range(
                {"from": first, "to": last}, periods.zone(place.timezone), timezone.now()
            )
        except RangeError:
            return None


def moment(year: str, month: str = "", day: str = "", hour: str = "") -> Moment:
    """The moment that a path names, zero-padded or not; Http404 where the calendar has none."""
    given = [part for part in (year, month, day, hour) if part]
    digits = [r"\d{4}", r"\d{1,2}", r"\d{1,2}", r"\d{1,2}"]
    if not all(re.fullmatch(d, part, re.ASCII) for d, part in zip(digits, given, strict=False)):
        raise Http404("There is no such date.")
    found = Moment(*map(int, given))
    try:
        datetime(found.year, found.month or 1, found.day or 1, found.hour or 0)
    except ValueError as error:
        raise Http404("There is no such date.") from error
    if not periods.FIRST_YEAR <= found.year <= periods.LAST_YEAR:
        raise Http404("There is no such date.")
    if found.month == 0 or found.day == 0:
        raise Http404("There is no such date.")
    return found


class Stats(SignedInView):
    """Counters of one event."""

    @extend_schema(
        tags=["reports"],
        responses=OpenApiResponse(schema.STATS),
        examples=[OpenApiExample("A year", value=schema.STATS_EXAMPLE)],
    )
    def get(self, request: Request, account: str, event: str, year: str, **rest: str) -> Response:
        """How often an event came in every month of a year, day of a month, hour of a day or
        minute of an hour. The account `all` is every account that you may see; the event
        `unique` is visitors."""
        if not is_storable(account + event) or len(event) > filters.LONGEST_VALUE:
            raise Http404("There is nothing here.")
        asked = moment(year, **rest)
        data = dict.fromkeys(asked.parts, 0)
        expired = []
        places = self._places(account, "audience" if event == UNIQUE else "events")
        for place in places:
            with tenant(place.account_id):
                found = counts(place, event, asked, timezone.now())
            if found is None:
                expired.append(place)
            for part, number in found or []:
                data[part] += number
        if expired and len(expired) == len(places):
            raise Expired.of(expired[0])
        return Response(
            {
                "account": account,
                "type": "track",
                "event": event,
                **dict(zip(_NAMES, astuple(asked), strict=True)),
                "data": {str(part): number for part, number in data.items()},
                "links": links(account, event, asked),
            }
        )

    def _places(self, slug: str, module: str) -> list[Property]:
        account: Account | None = None if slug == ALL else see_account(self.actor, slug)
        places = self.actor.properties(account)
        allowed = only(places, self.actor, "view", module)
        is_barred = bool(places) or (
            account is not None and not self.actor.may("view", module, account)
        )
        if not allowed and is_barred:
            raise Denied("view", module, account or places[0].account)
        return allowed


def view_of(part: str) -> type[Stats]:
    """The view for the routes that end with that part: OpenAPI wants a name for each."""
    named = type(f"StatsOf{part.title()}", (Stats,), {})
    return extend_schema_view(get=extend_schema(operation_id=f"stats_of_{part}"))(named)


def counts(
    place: Property, event: str, asked: Moment, now: datetime
) -> list[tuple[int, int]] | None:
    """(part of the moment, number) of one property; a part that comes twice stands there twice.

    None for an hour beyond its retention in which nothing was counted: nothing to add for other
    properties, nothing to show for itself. Raises Expired where a number outlived its raw events.
    """
    days = asked.days(place)
    if days is None:
        return []
    if asked.hour is None:
        return _count(place, event, days, _PARTS[asked.kind])
    found = []
    for hour in periods.spans("hour", days.span, days.tz):
        if periods.wall(hour.start, days.tz).hour == asked.hour:
            within = _range(hour, days)
            if not _is_kept(place, hour, now):
                if any(number for _, number in _count(place, event, within, "hour")):
                    raise Expired.of(place)
                return None
            found += _count(place, event, within, "minute")
    return found


def _count(place: Property, event: str, within: Range, part: Kind) -> list[tuple[int, int]]:
    name = "visitors" if event == UNIQUE else "events"
    question = Question(
        metrics=(name,),
        dimensions=(f"time:{part}",),
        range=within,
        filters=None if event == UNIQUE else ["is", "event", [event]],
    )
    counted, _ = queries.count(place, question, within)
    starts = [periods.wall(span.start, within.tz) for span in question.periods(within)]
    return [
        (getattr(start, part), counted.groups.get((index,), {}).get(name) or 0)
        for index, start in enumerate(starts, 1)
    ]


def _range(hour: Span, days: Range) -> Range:
    edges = {"from": hour.start.isoformat(), "to": hour.end.isoformat()}
    return periods.parse_range(edges, days.tz, hour.start)


def _is_kept(place: Property, hour: Span, now: datetime) -> bool:
    """An old hour with raw events (imported after their retention) can still be counted."""
    if hour.end > now - timedelta(days=place.retention_days):
        return True
    within = Event.objects.filter(property_id=place.pk, time__gte=hour.start, time__lt=hour.end)
    return within.exists()


def links(account: str, event: str, asked: Moment) -> list[str]:
    """Paths of the parts: an hour has none, for minutes are not split."""
    if asked.kind == "hour":
        return []
    names = dict(zip(_NAMES, astuple(asked), strict=True))
    own = {name: part for name, part in names.items() if part is not None}
    below = _NAMES[_NAMES.index(asked.kind) + 1]
    return [
        reverse(f"stats_{below}", kwargs={"account": account, "event": event, **own, below: part})
        for part in asked.parts
    ]
