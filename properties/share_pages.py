"""Pages of share links: make, list and revoke them; and the door of one that has a password.

Enters: a request of somebody who may manage the property (or, to `unlock`, whoever has the
address). Leaves: a rendered page or a redirect. A link's address is in the answer to the POST that
makes it and nowhere else.
"""

from http import HTTPStatus

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from accounts import modules
from properties import issuing, revoking, sharing, snippets
from properties.access import Actor, actor_of, by_link, door, enter_by_link
from properties.granting import Refused
from properties.models import Property, ShareLink
from properties.share_forms import ShareLinkForm


def _actor(request: HttpRequest) -> Actor:
    actor = actor_of(request)
    assert actor is not None, "THE DOOR lets nobody in without an actor"
    return actor


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@door("property", "manage")
def share_links(request: HttpRequest, place: Property) -> HttpResponse:
    """The links of a property, and the form for one more."""
    actor, now = _actor(request), timezone.now()
    form = ShareLinkForm(request.POST or None, actor=actor, place=place)
    address, hosts = "", []
    if request.method == "POST" and form.is_valid():
        try:
            link, token = issuing.issue_link(actor, place, form.wanted(), now, request)
        except Refused as error:
            form.add_error(None, str(error))
        else:
            address, hosts = snippets.origin_of(request) + sharing.root_of(token), link.hosts
            form = ShareLinkForm(actor=actor, place=place)
    found = ShareLink.objects.of(place.account).filter(property=place)
    rows = [
        (link, [modules.NAMES[module] for module in issuing.modules_of(link)], link.is_usable(now))
        for link in found.select_related("made_by").prefetch_related("grants")
    ]
    context = {
        "property": place,
        "rows": rows,
        "form": form,
        "address": address,
        "hosts": hosts,
        "snippet": sharing.frame_of(address, place) if hosts else "",
        "may_view": bool(issuing.can_share(actor, place)),
    }
    return render(request, "properties/share_links.html", context)


@require_POST
@door("property", "manage")
def revoke_share_link(request: HttpRequest, place: Property, pk: int) -> HttpResponse:
    """End a link. Its row stays, so that the list tells what there was."""
    link = get_object_or_404(ShareLink.objects.of(place.account), property=place, pk=pk)
    revoking.revoke(link, request)
    messages.success(request, f"{link.name} is revoked: its address shows nothing from now on.")
    return redirect("property_share", place.key)


@require_POST
@by_link
def unlock_share(request: HttpRequest, token: str) -> HttpResponse:
    """The password of a link: right, and this browser is let in for some hours."""
    link = enter_by_link(request, token, timezone.now())
    asked = request.POST.get("next", "")
    onward = asked if asked.startswith(sharing.root_of(token)) else sharing.root_of(token)
    password = request.POST.get("password", "")[: issuing.LONGEST_PASSWORD + 1]
    try:
        right = sharing.try_password(request, link, password)
    except sharing.TooMany:
        refused = "Too many wrong passwords. Wait a quarter of an hour, then try again."
        status = HTTPStatus.TOO_MANY_REQUESTS
        response = sharing.ask_password(request, token, onward, refused, status)
        response["Retry-After"] = str(sharing.TRIES_WITHIN)
        return response
    if not right:
        refused = "This is not the password. Ask whoever gave you the address."
        return sharing.ask_password(request, token, onward, refused)
    response = redirect(onward)
    sharing.remember(request, response, link, token)
    return response
