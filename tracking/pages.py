"""Pages about collecting: whether events arrive, and which did last.

Enters: a property, behind THE DOOR. Leaves: the part of the snippet page that turns green by
itself, and the event inspector. Both ask again by htmx; without JavaScript there are links to look
again.
"""

import dataclasses
from datetime import date, datetime
from functools import lru_cache
from hashlib import sha256
from http import HTTPStatus
from typing import Any, NamedTuple, Self
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from properties.access import actor_of, door
from properties.context import home_of
from properties.models import Property
from properties.periods import wall, zone
from tracking import inspection
from tracking.addresses import clean_text
from tracking.fields import TEXT
from tracking.models import Event

MOST_BESIDE = 20  # lines of the list on another page


@never_cache
@require_safe
@door("property")
def first_event(request: HttpRequest, place: Property) -> HttpResponse:
    """The newest stored event of the property, or that we are waiting."""
    if not getattr(request, "htmx", False):
        return redirect("snippet", place.key)
    actor = actor_of(request)
    context = {
        "property": place,
        "event": newest(place),
        "overview": home_of(place, actor) if actor else "",
    }
    return render(request, "properties/first_event.html", context)


def newest(place: Property) -> Event | None:
    """The event with the newest time; None when there is none."""
    stored = Event.objects.filter(property_id=place.pk)
    return stored.order_by("-time").only("name", "page", "hostname", "received_at").first()


@dataclasses.dataclass(frozen=True)
class Asked:
    """What the inspector's address says. `event` is the one shown whole; `compact`: the list as
    part of another page."""

    verdict: str = ""
    name: str = ""
    event: str = ""
    compact: bool = False

    @classmethod
    def of(cls, params: QueryDict) -> Self:
        verdict = params.get("verdict", "")
        return cls(
            verdict if verdict in inspection.VERDICTS else "",
            clean_text(params.get("name", "").strip(), TEXT)[0],
            params.get("event", "")[:TEXT],
            "compact" in params,
        )

    def query(self, **more: str) -> str:
        given = {"verdict": self.verdict, "name": self.name, **more}
        if self.compact:
            given["compact"] = "1"
        said = urlencode({name: value for name, value in given.items() if value})
        return f"?{said}" if said else ""


class Row(NamedTuple):
    """A line of the list, ready to be shown."""

    id: str
    at: datetime
    when: str
    title: str
    verdict: str
    reason: str
    name: str
    link: str
    page: str
    where: str
    visitor: str
    country: str
    bot: bool

    @classmethod
    def of(cls, seen: inspection.Seen, place: Property, today: date, link: str) -> Self:
        at = wall(seen.at, zone(place.timezone))
        return cls(
            id=seen.id,
            at=seen.at,
            when=f"{at:%H:%M:%S}" if at.date() == today else f"{at.day} {at:%b %H:%M}",
            title=f"{at:%Y-%m-%d %H:%M:%S} {place.timezone}",
            link=link,
            page=_short(seen.where, place),
            **{name: getattr(seen, name) for name in _AS_SEEN},
        )


_AS_SEEN = ("verdict", "reason", "name", "where", "visitor", "country", "bot")


def _short(where: str, place: Property) -> str:
    """The page without the host that nearly all events of the property have."""
    host = place.hostnames[0] if place.hostnames else ""
    path = where.removeprefix("www.").removeprefix(host)
    return path if path.startswith("/") else where


@lru_cache(maxsize=2_000)
def _rendered(row: Row, is_current: bool) -> str:
    """A line never changes, and the list is asked for again and again."""
    return render_to_string("tracking/row.html", {"row": row, "is_current": is_current})


@never_cache
@require_safe
@door("events")
def inspector(request: HttpRequest, place: Property) -> HttpResponse:
    """The last events and refusals, and one of them whole."""
    now = timezone.now()
    asked = Asked.of(request.GET)
    target = getattr(getattr(request, "htmx", None), "target", None)
    if target == "event":
        return render(request, "tracking/event.html", _one(place, asked, now))
    context = _list(place, asked, now)
    if target == "events":
        if context["mark"] == request.GET.get("mark"):
            return HttpResponse(status=HTTPStatus.NO_CONTENT)  # nothing new: nothing is swapped
        _with_rows(place, asked, now, context)
        return render(request, "tracking/events.html", context)
    _with_rows(place, asked, now, context)
    context |= _one(place, asked, now)
    return render(request, "tracking/inspector.html", context)


def _list(place: Property, asked: Asked, now: datetime) -> dict[str, Any]:
    found = inspection.recent(place, now, asked.verdict, asked.name)
    rows = found.rows[:MOST_BESIDE] if asked.compact else found.rows
    shown = ([seen.id for seen in rows], dataclasses.replace(found, rows=[]), asked.event)
    mark = sha256(repr(shown).encode()).hexdigest()[:16]
    path = reverse("inspector", args=[place.key])
    return {
        "property": place,
        "asked": asked,
        "recent": found,
        "seen_rows": rows,
        "mark": mark,
        "path": path,
        "again": path + asked.query(mark=mark),
        "verdicts": inspection.VERDICTS,
    }


def _with_rows(place: Property, asked: Asked, now: datetime, context: dict[str, Any]) -> None:
    """Add the lines themselves: only where they are shown."""
    today = wall(now, zone(place.timezone)).date()
    # The list may stand on another page; the whole event stands on the inspector's.
    plain = Asked(asked.verdict, asked.name)
    context["rows"] = [
        _rendered(
            Row.of(seen, place, today, context["path"] + plain.query(event=seen.id)),
            seen.id == asked.event,
        )
        for seen in context["seen_rows"]
    ]


def _one(place: Property, asked: Asked, now: datetime) -> dict[str, Any]:
    seen = inspection.one(place, asked.event, now) if asked.event else None
    at = wall(seen.at, zone(place.timezone)) if seen else None
    return {
        "property": place,
        "asked": asked,
        "seen": seen,
        "at": f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d} {place.timezone}" if at else "",
        "is_in_postgres": seen is not None and inspection.is_in_postgres(place, seen),
        "close": reverse("inspector", args=[place.key]) + asked.query(),
        "minutes": inspection.LASTS // 60,
    }
