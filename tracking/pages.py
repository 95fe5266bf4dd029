"""Whether events arrive: the part of the snippet page that turns green by itself.

Enters: a property, behind THE DOOR. Leaves: a fragment that asks again every two seconds until
an event is stored. Asked by htmx; without JavaScript the page has a link to look again.
"""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from properties.access import actor_of, door
from properties.context import home_of
from properties.models import Property
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
