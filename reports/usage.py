"""The usage of an account: its page, its CSV and its answer in the API, all of the same numbers.

Enters: a request behind THE DOOR of module `usage`, and a month or days (UTC). Leaves: what
tracking/usage.py counted, beside the limits of accounts/plans.py.
"""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from io import StringIO
from typing import Any, ClassVar

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Account
from accounts.plans import CLOSED, FULL, Limits, limits_of, month_of, next_month
from properties.access import Actor, DoorView, actor_of, door
from properties.api import Invalid
from properties.context import home_of
from properties.models import Property
from properties.strangers_text import csv_cell
from tracking import usage
from tracking.refusals import WHAT_TO_DO, Reason
from tracking.usage import Tally, Use

MOST_DAYS = 400
HISTORY = 12  # months
CHART_HEIGHT = 100
COLUMNS = ("accepted", "bots", "duplicate", "refused", "pings")
_MONTH = re.compile(r"(\d{4})-(\d{2})")


# -- the page ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bar:
    """A day of the chart; heights in parts of CHART_HEIGHT. `tally` None: a day to come."""

    day: date
    at: int
    tally: Tally | None
    accepted: float = 0
    refused: float = 0

    @property
    def words(self) -> str:
        if self.tally is None:
            return ""
        refused = f", {self.tally.refusals:,} refused" if self.tally.refusals else ""
        return f"{self.day:%-d %b}: {self.tally.accepted:,} accepted{refused}"

    @property
    def top(self) -> float:
        return CHART_HEIGHT - self.accepted

    @property
    def refused_top(self) -> float:
        return CHART_HEIGHT - self.accepted - self.refused


@require_safe
@door("usage")
def usage_page(request: HttpRequest, place: Account) -> HttpResponse:
    """A month against the plan: by day, by property, what was refused, and the months before."""
    now = timezone.now()
    month = read_month(request.GET.get("month", ""), now)
    use = usage.of_month(place, month, now)
    total = use.total()
    limits = limits_of(place)
    actor = actor_of(request)
    assert actor is not None, "THE DOOR lets nobody in without an actor"
    context = {
        "account": place,
        "month": month,
        "before": (month - timedelta(days=1)).replace(day=1),
        "after": next_month(month) if month < month_of(now) else None,
        "is_current": month == month_of(now),
        "opens": next_month(month),
        "limits": limits,
        "percent": limits.events and total.accepted * 100 // limits.events,
        "state": limits.level(total.accepted),
        "FULL": FULL,
        "CLOSED": CLOSED,
        "total": total,
        "complete_until": use.complete_until,
        "bars": list(chart(use, month, now)),
        "chart_width": (next_month(month) - month).days * 10,
        "chart_height": CHART_HEIGHT,
        "svg_url": f"{reverse('usage_svg', args=[place.slug])}?month={month:%Y-%m}",
        "properties": list(property_rows(use, place, actor)),
        "refused": [
            (reason, number, advice_on(reason)) for reason, number in total.refused.most_common()
        ],
        "history": usage.months_before(place, month_of(now), HISTORY),
    }
    response = render(request, "reports/usage.html", context)
    response["Cache-Control"] = "private, no-cache"
    return response


def read_month(text: str, now: datetime) -> date:
    """`2026-11`; anything else, and months to come, mean the current one."""
    current = month_of(now.astimezone(UTC))
    found = _MONTH.fullmatch(text)
    if not found or not 1 <= int(found[2]) <= 12 or int(found[1]) < 1970:
        return current
    return min(date(int(found[1]), int(found[2]), 1), current)


def chart(use: Use, month: date, now: datetime) -> Any:
    """A Bar for every day of the month."""
    days = use.by_day()
    highest = max((tally.accepted + tally.refusals for tally in days.values()), default=0) or 1
    for at in range((next_month(month) - month).days):
        day = month + timedelta(days=at)
        tally = days.get(day, Tally()) if day <= now.astimezone(UTC).date() else None
        accepted, refused = (tally.accepted, tally.refusals) if tally else (0, 0)
        yield Bar(
            day,
            at * 10 + 1,
            tally,
            round(accepted / highest * CHART_HEIGHT, 2),
            round(refused / highest * CHART_HEIGHT, 2),
        )


def property_rows(use: Use, account: Account, actor: Actor) -> Any:
    """(name, address or "", Tally), most accepted first; also properties without events."""
    places = {place.pk: place for place in Property.objects.of(account).select_related("account")}
    tallies = use.by_property()
    for property_id, tally in tallies.items():
        place = places.get(property_id)
        link = home_of(place, actor) if place is not None and actor.sees(place) else ""
        yield place.name if place else "Erased property", link, tally
    for place in places.values():
        if place.pk not in tallies:
            yield place.name, home_of(place, actor) if actor.sees(place) else "", Tally()


def advice_on(reason: str) -> str:
    """What the owner does about it; "" for a code that the installation no longer gives."""
    return WHAT_TO_DO.get(Reason(reason), "") if reason in list(Reason) else ""


# -- CSV ---------------------------------------------------------------------------------------


@require_safe
@door("usage")
def usage_csv(request: HttpRequest, place: Account) -> HttpResponse:
    """A line for each day and property of a month."""
    now = timezone.now()
    month = read_month(request.GET.get("month", ""), now)
    use = usage.of_month(place, month, now)
    names = dict(Property.objects.of(place).values_list("pk", "name"))
    keys = dict(Property.objects.of(place).values_list("pk", "key"))
    text = StringIO()
    writer = csv.writer(text)
    writer.writerow(["day", "property", "name", *COLUMNS])
    for (property_id, day), tally in sorted(use.cells.items(), key=lambda cell: cell[0][::-1]):
        name = names.get(property_id, "Erased property")
        row = [day.isoformat(), keys.get(property_id, ""), csv_cell(name)]
        writer.writerow([*row, *numbers(tally).values()])
    return HttpResponse(
        text.getvalue(),
        content_type="text/csv; charset=utf-8",
        headers={
            "Content-Disposition": f'attachment; filename="usage-{place.slug}-{month:%Y-%m}.csv"',
            "Cache-Control": "private, no-cache",
        },
    )


def numbers(tally: Tally) -> dict[str, int]:
    """By COLUMNS."""
    return {
        "accepted": tally.accepted,
        "bots": tally.bots,
        "duplicate": tally.duplicate,
        "refused": tally.refusals,
        "pings": tally.pings,
    }


# -- API ---------------------------------------------------------------------------------------

_NUMBER = {"type": "integer", "minimum": 0}
_BY_REASON = {"type": "object", "additionalProperties": _NUMBER}
_TALLY = {
    "accepted": _NUMBER,
    "bots": _NUMBER,
    "duplicate": _NUMBER,
    "pings": _NUMBER,
    "refused": _BY_REASON,
}
_OR_NONE = {"type": "integer", "nullable": True, "minimum": 0}
USAGE: dict[str, Any] = {
    "type": "object",
    "required": ["account", "from", "to", "plan", "totals", "properties", "days"],
    "properties": {
        "account": {"type": "string"},
        "from": {"type": "string", "format": "date"},
        "to": {"type": "string", "format": "date"},
        "complete_until": {"type": "string", "nullable": True, "format": "date-time"},
        "plan": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "events_per_month": _OR_NONE,
                "refused_from": _OR_NONE,
                "properties": _OR_NONE,
                "members": _OR_NONE,
            },
        },
        "totals": {"type": "object", "properties": _TALLY},
        "properties": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "property": {
                        "type": "string",
                        "nullable": True,
                        "description": "Null: erased.",
                    },
                    "name": {"type": "string"},
                    **_TALLY,
                },
            },
        },
        "days": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"day": {"type": "string", "format": "date"}, **_TALLY},
            },
        },
    },
}


class Usage(DoorView):
    """What an account has used."""

    module = "usage"
    parameters = DoorView.parameters | {"from", "to"}
    place: Account
    verbs: ClassVar = {"GET": "view"}

    @extend_schema(
        tags=["accounts"],
        operation_id="usage",
        parameters=[
            OpenApiParameter(
                "from", OpenApiTypes.DATE, description="First day, UTC. Default: of this month."
            ),
            OpenApiParameter(
                "to", OpenApiTypes.DATE, description="Last day, inclusive. Default: today."
            ),
        ],
        responses=OpenApiResponse(USAGE),
    )
    def get(self, request: Request, account: str) -> Response:
        """Accepted events by property and day of receipt (UTC): what plans count."""
        now = timezone.now()
        first, last = read_days(request.query_params, now)
        use = usage.between(self.place, first, last, now)
        places = Property.objects.of(self.place).in_bulk()
        return Response(
            {
                "account": self.place.slug,
                "from": first.isoformat(),
                "to": last.isoformat(),
                "complete_until": use.complete_until,
                "plan": plan_as_json(limits_of(self.place)),
                "totals": as_json(use.total()),
                "properties": [
                    {
                        "property": places[pk].key if pk in places else None,
                        "name": places[pk].name if pk in places else "Erased property",
                        **as_json(tally),
                    }
                    for pk, tally in use.by_property().items()
                ],
                "days": [
                    {"day": day.isoformat(), **as_json(tally)}
                    for day, tally in use.by_day().items()
                ],
            }
        )


def read_days(params: Mapping[str, str], now: datetime) -> tuple[date, date]:
    """`from` and `to`; Invalid says what is wrong with them."""
    today = now.astimezone(UTC).date()
    last = _day(params, "to", today)
    first = _day(params, "from", month_of(now.astimezone(UTC)) if last >= today else last)
    if first > last:
        raise Invalid("range", "The first day comes after the last one.", "from")
    if (last - first).days >= MOST_DAYS:
        raise Invalid("range", f"Ask for at most {MOST_DAYS} days.", "from")
    return first, last


def _day(params: Mapping[str, str], name: str, default: date) -> date:
    text = params.get(name)
    if text is None:
        return default
    try:
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
            raise ValueError
        found = date.fromisoformat(text)
    except ValueError:
        raise Invalid("date", "Write a day like 2026-11-05.", name) from None
    if not 1970 <= found.year <= 9000:
        raise Invalid("date", "Write a day between the years 1970 and 9000.", name)
    return found


def as_json(tally: Tally) -> dict[str, Any]:
    return numbers(tally) | {"refused": dict(tally.refused.most_common())}


def plan_as_json(limits: Limits) -> dict[str, Any]:
    return {
        "name": limits.plan,
        "events_per_month": limits.events,
        "refused_from": limits.most,
        "properties": limits.properties,
        "members": limits.members,
    }
