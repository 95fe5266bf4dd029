"""Pages about collecting: whether events arrive, and which did last.

Enters: a property, behind THE DOOR. Leaves: the part of the snippet page that turns green by
itself, and the event inspector. Both ask again by htmx; without JavaScript there are links to look
again.
"""

from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from http import HTTPStatus
from typing import Any, NamedTuple, Self
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
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


@dataclass(frozen=True)
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
        return "?" + urlencode({name: value for name, value in given.items() if value})


class Row(NamedTuple):
    """A line of the list, ready to be shown."""

    seen: inspection.Seen
    when: str
    title: str
    link: str
    page: str


@never_cache
@require_safe
@door("events")
def inspector(request: HttpRequest, place: Property) -> HttpResponse:
    """The last events and refusals, and one of them whole."""
    now = timezone.now()
    asked = Asked.of(request.GET)
    target = getattr(getattr(request, "htmx", None), "target", None)
    if target == "event":
        return render(request, "tracking/event.html", _one(place, asked))
    context = _list(place, asked, now)
    if target == "events":
        if context["mark"] == request.GET.get("mark"):
            return HttpResponse(status=HTTPStatus.NO_CONTENT)  # nothing new: nothing is swapped
        return render(request, "tracking/events.html", context)
    context |= _one(place, asked)
    return render(request, "tracking/inspector.html", context)


def _list(place: Property, asked: Asked, now: datetime) -> dict[str, Any]:
    found = inspection.recent(place, now, asked.verdict, asked.name)
    tz = zone(place.timezone)
    today = wall(now, tz).date()
    path = reverse("inspector", args=[place.key])
    rows = []
    for seen in found.rows:
        at = wall(seen.at, tz)
        when = f"{at:%H:%M:%S}" if at.date() == today else f"{at.day} {at:%b %H:%M}"
        # The list may stand on another page; the whole event stands on the inspector's.
        link = path + Asked(asked.verdict, asked.name).query(event=seen.id)
        title = f"{at:%Y-%m-%d %H:%M:%S} {place.timezone}"
        rows.append(Row(seen, when, title, link, _short(seen.where, place)))
    shown = (
        [seen.id for seen in found.rows], found.pings, found.left_out, found.is_live, asked.event,
    )  # fmt: skip
    mark = sha256(repr(shown).encode()).hexdigest()[:16]
    return {
        "property": place,
        "asked": asked,
        "recent": found,
        "rows": rows,
        "mark": mark,
        "path": path,
        "again": path + asked.query(mark=mark),
        "verdicts": inspection.VERDICTS,
        "minutes": inspection.LASTS // 60,
    }


def _short(where: str, place: Property) -> str:
    """The page without the host that nearly all events of the property have."""
    host = place.hostnames[0] if place.hostnames else ""
    path = where.removeprefix("www.").removeprefix(host)
    return path if path.startswith("/") else where


def _one(place: Property, asked: Asked) -> dict[str, Any]:
    seen = inspection.one(place, asked.event) if asked.event else None
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
