"""Pages of API keys: make, list, change and revoke them.

Enters: a request of somebody who may view or manage the account's keys. Leaves: a rendered page or
a redirect. A key's secret is in the answer to the POST that makes it and nowhere else.
"""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from accounts import modules
from accounts.models import Account
from properties import revoking
from properties.access import Actor, actor_of, door, fresh_login
from properties.api_key_forms import ApiKeyForm
from properties.models import ApiKey


def _actor(request: HttpRequest) -> Actor:
    actor = actor_of(request)
    assert actor is not None, "THE DOOR lets nobody in without an actor"
    return actor


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@door("api_keys", POST="manage")
@fresh_login
def api_keys(request: HttpRequest, place: Account) -> HttpResponse:
    """The keys of the account, and the form for one more."""
    actor, now = _actor(request), timezone.now()
    form = ApiKeyForm(request.POST or None, actor=actor, account=place)
    secret = ""
    if request.method == "POST" and form.is_valid():
        secret = form.save(now, request)
        if form.is_valid():
            form = ApiKeyForm(actor=actor, account=place)
    keys = ApiKey.objects.of(place).select_related("made_by").prefetch_related("grants__property")
    context = {
        "account": place,
        "keys": keys.order_by("-created"),
        "form": form,
        "secret": secret,
        "may_manage": actor.may("manage", "api_keys", place),
        "account_modules": modules.ACCOUNT_MODULES,
        "now": now,
    }
    return render(request, "properties/api_keys.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@door("api_keys", "manage")
@fresh_login
def api_key(request: HttpRequest, place: Account, pk: int) -> HttpResponse:
    """One key: its name, rights and end."""
    key, now = _key(place, pk), timezone.now()
    form = ApiKeyForm(request.POST or None, actor=_actor(request), account=place, key=key)
    if request.method == "POST" and form.is_valid():
        form.save(now, request)
        if form.is_valid():
            messages.success(request, f"{key.name} is changed, for its next request already.")
            return redirect("api_keys", place.slug)
    context: dict[str, Any] = {
        "account": place,
        "key": _key(place, pk),
        "form": form,
        "goes_on": key.is_usable(now),
        "account_modules": modules.ACCOUNT_MODULES,
    }
    return render(request, "properties/api_key.html", context)


@require_POST
@door("api_keys", "manage")
@fresh_login
def revoke_api_key(request: HttpRequest, place: Account, pk: int) -> HttpResponse:
    """End a key. Its row stays, so that the list tells what there was."""
    key = _key(place, pk)
    revoking.revoke(key, request)
    messages.success(request, f"{key.name} is revoked. Requests with it are refused from now on.")
    return redirect("api_keys", place.slug)


def _key(place: Account, pk: int) -> ApiKey:
    return get_object_or_404(ApiKey.objects.of(place), pk=pk)
