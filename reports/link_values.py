"""What the filter builder offers to whoever has a share link: values, and properties of events.

Enters: a request behind the door of share links (urls.py names the module of each dimension).
Leaves: JSON as of the API, of the days that the link shows. Members ask the API itself, which takes
no link for somebody.
"""

from typing import Any

from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from properties import periods
from properties.inputs import is_storable
from properties.models import Property
from properties.periods import Range, RangeError, parse_range, zone
from reports import discovery
from reports.filters import LONGEST_NAME, LONGEST_VALUE
from reports.metrics import PROPS
from reports.queries import DEFAULT_RANGE

OFFERED = 20


@require_safe
def properties(request: HttpRequest, place: Property) -> JsonResponse:
    """The properties that events had."""
    within = _range(request, place)
    found = discovery.props(place, within) if within else []
    return _answer(properties=[{"name": prop.name} for prop in found])


@require_safe
def values(request: HttpRequest, place: Property, dimension: str = "", prop: str = "") -> Any:
    """The most frequent values of a dimension that contain what is typed."""
    within, search = _range(request, place), request.GET.get("search", "")
    name = dimension or f"{PROPS}{prop}"
    asks_too_much = len(search) > LONGEST_VALUE or len(name) > LONGEST_NAME
    if within is None or asks_too_much or not is_storable(search) or not is_storable(name):
        return _answer(values=[])
    found = discovery.values(place, name, within, search, OFFERED)
    return _answer(values=[{"value": value} for value, _ in found])


def _range(request: HttpRequest, place: Property) -> Range | None:
    """What of the range may be seen; None for nothing, or for what is no range."""
    now, asked = timezone.now(), request.GET.get("range", DEFAULT_RANGE)
    try:
        within = parse_range(asked, zone(place.timezone), now, first=place.first_event_at)
        return periods.inside(within, place.window) if place.window else within
    except RangeError:
        return None


def _answer(**body: Any) -> JsonResponse:
    response = JsonResponse(body)
    response["Cache-Control"] = "private, no-cache"
    return response
