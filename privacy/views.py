"""The page Privacy of a property's settings (retention, export, erasure), and deleting.

Enters: a request that passed THE DOOR. Leaves: a page, a file, or a redirect. Looking asks for the
settings; export and erasure ask for `people:manage` and a log-in of the last quarter of an hour.
"""

from typing import Any

from django.contrib import messages
from django.contrib.auth import logout
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.audit import record
from accounts.models import Account, User
from privacy import deleting, expiring, exporting, register
from privacy.endpoints import ask, erasures_of
from privacy.forms import DeleteForm, EraseForm, ExportForm
from properties.access import actor_of, door, fresh_login, public, signed_in
from properties.granting import Refused, is_owner
from properties.models import Property
from properties.settings_pages import may_manage

SHOWN = 20  # erasures


@require_safe
@door("property")
def privacy(request: HttpRequest, place: Property) -> HttpResponse:
    """How long events are kept and what would go now; who was erased; the forms."""
    return _page(request, place)


def _page(
    request: HttpRequest,
    place: Property,
    export: ExportForm | None = None,
    erase: EraseForm | None = None,
    delete: DeleteForm | None = None,
) -> HttpResponse:
    actor = actor_of(request)
    assert actor is not None, "the view wears a decorator of access.py"
    edge = expiring.edge_of(place, timezone.now())
    with connection.cursor() as cursor:
        foreseen = expiring.foresee(cursor, place, edge)
    context: dict[str, Any] = {
        "property": place,
        "may_manage": may_manage(request, place),
        "may_people": actor.may("manage", "people", place),
        "edge": edge,
        "foreseen": foreseen,
        "export": export or ExportForm(place=place, auto_id="export_%s"),
        "erase": erase or EraseForm(place=place, auto_id="erase_%s"),
        "delete": delete or DeleteForm(name=place.name, auto_id="delete_%s"),
    }
    if actor.may("view", "people", place):
        context["erasures"] = erasures_of(place).order_by("-created")[:SHOWN]
    return render(request, "privacy/property_privacy.html", context)


@require_POST
@door("people", "manage")
@fresh_login
def export(request: HttpRequest, place: Property) -> HttpResponseBase:
    """The file, or the page with what is wrong."""
    form = ExportForm(request.POST, place=place, auto_id="export_%s")
    if not form.is_valid():
        return _page(request, place, export=form)
    kind = form.cleaned_data["kind"] or "json"
    record(
        place.account_id,
        "visitor.exported",
        request=request,
        property=place,
        target=form.subject.name(place),
        new={"kind": kind},
    )
    return exporting.response(place, form.subject, kind, timezone.now())


@require_POST
@door("people", "manage")
@fresh_login
def erase(request: HttpRequest, place: Property) -> HttpResponse:
    """Ask for it; the worker does it within seconds."""
    form = EraseForm(request.POST, place=place, auto_id="erase_%s")
    if not form.is_valid():
        return _page(request, place, erase=form)
    actor = actor_of(request)
    ask(request, place, form.subject, actor.name if actor else "")
    messages.success(
        request,
        "It is being erased: the list below says when it is done. New events of this id are"
        " refused from now on.",
    )
    return redirect("property_privacy", place.key)


# -- what is stored where --------------------------------------------------------------------------


@require_safe
@signed_in
def stored(request: HttpRequest) -> HttpResponse:
    """The processing record, for whoever is signed in."""
    keys = register.EVENTS_KEYS | register.CACHE_KEYS
    context = {"tables": register.TABLES.items(), "keys": keys.items()}
    return render(request, "privacy/stored.html", context)


@require_safe
@public
def gpc(request: HttpRequest) -> JsonResponse:
    """That this site honours Global Privacy Control, for programs that ask."""
    return JsonResponse({"gpc": True, "lastUpdate": "2026-11-25"})


# -- deleting --------------------------------------------------------------------------------------


@require_POST
@door("property", "manage")
@fresh_login
def delete_property(request: HttpRequest, place: Property) -> HttpResponse:
    """The property is gone with the answer; the worker takes what was kept of it."""
    form = DeleteForm(request.POST, name=place.name, auto_id="delete_%s")
    if not form.is_valid():
        return _page(request, place, delete=form)
    name, account = place.name, place.account
    deleting.delete_property(request, place)
    messages.success(request, f"{name} is deleted. Its events and reports go within minutes.")
    return redirect("account", account.slug)


@require_http_methods(["GET", "HEAD", "POST"])
@door("property", "manage")
@fresh_login
def delete_account(request: HttpRequest, place: Account) -> HttpResponse:
    """For an owner: the account with everything in it."""
    actor = actor_of(request)
    if actor is None or not is_owner(actor, place):
        raise PermissionDenied("Only an owner can delete the account.")
    form = DeleteForm(request.POST or None, name=place.name)
    if request.method == "POST" and form.is_valid():
        name = place.name
        deleting.delete_account(request, place)
        messages.success(request, f"{name} is deleted, with all its properties.")
        return redirect("home")
    context = {"form": form, "account": place, "places": Property.objects.of(place)}
    return render(request, "privacy/delete_account.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
@fresh_login
def delete_login(request: HttpRequest) -> HttpResponse:
    """One's own user, unless an account would be nobody's."""
    user = request.user
    assert isinstance(user, User), "the view wears @signed_in"
    form = DeleteForm(request.POST or None, name=user.email)
    alone = deleting.owned_alone(user)
    if request.method == "POST" and not alone and form.is_valid():
        logout(request)  # for itself: what it tells the audit log locks that until it is stored
        try:
            deleting.delete_login(request, user)
        except Refused as refusal:  # the other owner left just now
            messages.error(request, str(refusal))
            return redirect("account_login")
        messages.success(request, "Your login is deleted.")
        return redirect("account_login")
    return render(request, "privacy/delete_login.html", {"form": form, "alone": alone})
