"""The moving graph of the live page as a picture of its last ten minutes.

Enters: a request behind THE DOOR of the live page, with its filters. Leaves: the SVG that
reports/drawing.py makes of the seconds that the page's script draws.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.models import Account
from accounts.tenancy import tenant
from properties.access import member
from properties.models import Property
from properties.periods import wall, zone
from reports import drawing, live_page
from reports.address import AddressError
from reports.drawing import Drawing
from reports.formatting import Number
from reports.live_views import actor_here, common, snapshot_of
from reports.realtime_api import places_of
from reports.views import _called, _safe_name

SECONDS = 600
HOLDS = 12  # seconds for which a number stands when nobody says otherwise, as in live-graph.js


@require_safe
def of_property(request: HttpRequest, place: Property) -> HttpResponse:
    return _picture(request, [place], place.name, _called(request, place))


@require_safe
@member
def of_account(request: HttpRequest, account: Account) -> HttpResponse:
    places = places_of(actor_here(request), account)
    with tenant(account.pk):
        return _picture(request, places, account.name, account.slug, is_account=True)


def _picture(
    request: HttpRequest,
    places: Sequence[Property],
    about: str,
    called: str,
    *,
    is_account: bool = False,
) -> HttpResponse:
    now, theme = timezone.now(), request.GET.get("theme", "light")
    try:
        address = live_page.read(request.GET)
        if theme not in drawing.THEMES:
            raise AddressError("A theme is light or dark.", "theme")
    except AddressError as error:
        kind = "text/plain; charset=utf-8"
        return HttpResponse(str(error), status=HTTPStatus.BAD_REQUEST, content_type=kind)
    snapshot = snapshot_of(request, places, address, now, is_account)
    zone_name = common(place.timezone for place in places) or "UTC"
    lines = [
        f"ten minutes until {wall(now, zone(zone_name)):%-d %b %Y %H:%M:%S}",
        *(f"{each.label} {each.shown_value}" for each in address.filters),
        zone_name,
    ]
    before = dict(live_page.week_before(places, address, now))
    picture = drawing.drawn(drawn(snapshot, before, now, about, lines, theme, zone_name))
    name = _safe_name(f"{called}-live-{now:%Y-%m-%d-%H%M%S}.svg")
    return drawing.response(picture, name if "download" in request.GET else "")


def drawn(
    snapshot: dict[str, Any] | None,
    before: dict[int, float],
    now: datetime,
    about: str,
    lines: Sequence[str],
    theme: str,
    zone_name: str,
) -> Drawing:
    """`snapshot` None: the live numbers do not answer, and nothing is known."""
    until = int(now.timestamp())
    first = now.astimezone(UTC) - timedelta(seconds=SECONDS - 1)
    opened, active, engaged = seconds(snapshot["recent"] if snapshot else [], until)
    tz = zone(zone_name)
    week = [before.get(at - at % 60) for at in range(until - SECONDS + 1, until + 1)]
    return Drawing(
        title="Open",
        about=about,
        lines=lines,
        unit="count",
        ticks=[f"{wall(first + timedelta(seconds=n), tz):%H:%M:%S}" for n in range(SECONDS)],
        values=opened,
        before=week if any(value is not None for value in week) else (),
        before_name="open, a week before",
        others=(("Active", "graph-active", active), ("Engaged", "graph-engaged", engaged)),
        theme=theme,
    )


def seconds(recent: Sequence[Sequence[int]], until: int) -> list[list[Number]]:
    """Open, active and engaged in each of the last SECONDS; None where nobody knows."""
    known = {second: numbers for second, *numbers in recent}
    found: list[list[Number]] = [[], [], []]
    last: Sequence[int] | None = None
    since = 0
    for second in range(until - SECONDS - HOLDS, until + 1):
        if second in known:
            last, since = known[second], second
        elif second - since > HOLDS:
            last = None
        if second > until - SECONDS:
            for place, line in enumerate(found):
                line.append(last[place] if last is not None else None)
    return found
