"""Pages of accounts and properties: first steps, settings, the snippet, API keys.

Enters: a request that passed THE DOOR. Leaves: a rendered page or a redirect. Forms judge what
is typed (forms.py); nothing here knows a rule.
"""

from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from accounts.forms import AccountForm
from accounts.models import Account, User
from properties import allowance, currencies, forms, joining, recording, snippets
from properties.access import Actor, actor_of, door, member, signed_in
from properties.context import home_of, url_of
from properties.models import Property


def _actor(request: HttpRequest) -> Actor:
    actor = actor_of(request)
    assert actor is not None, "the view wears no decorator of access.py"
    return actor


@require_safe
@signed_in
def home(request: HttpRequest) -> HttpResponse:
    """On to where most work is: the only property, the first account, or the first step."""
    actor = _actor(request)
    accounts = actor.accounts()
    if not accounts:
        return redirect("new_account")
    places = actor.properties()
    if len(places) == 1 and len(accounts) == 1:
        return redirect(home_of(places[0], actor))
    return redirect("account", accounts[0].slug)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def new_account(request: HttpRequest) -> HttpResponse:
    """First step: name the account. Whoever opens it owns it."""
    form = AccountForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        owner = _actor(request).holder
        assert isinstance(owner, User)
        try:
            with transaction.atomic():
                account = joining.open_account(
                    form.cleaned_data["slug"], form.cleaned_data["name"], owner, request
                )
            return redirect("new_property", account.slug)
        except IntegrityError:  # somebody was quicker
            form.add_error("slug", "This short name is taken. Choose another.")
    return render(request, "properties/new_account.html", {"form": form})


@require_safe
@member
def account(request: HttpRequest, place: Account) -> HttpResponse:
    """The properties of an account that exist for the actor."""
    actor = _actor(request)
    rows = [
        (
            prop,
            home_of(prop, actor),
            url_of("now", prop.key) if actor.may("view", "realtime", prop) else "",
            url_of("glance", prop.key) if actor.may("view", "audience", prop) else "",
        )
        for prop in actor.properties(place)
    ]
    context = {"account": place, "rows": rows, "may_add": actor.may("manage", "property", place)}
    return render(request, "properties/account.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@door("property", "manage")
def new_property(request: HttpRequest, place: Account) -> HttpResponse:
    """Second step: what is measured, in which zone and currency. Then the snippet."""
    form = forms.NewPropertyForm(
        request.POST or None, initial={"timezone": "UTC", "currency": "EUR"}
    )
    if request.method == "POST" and form.is_valid() and (full := allowance.why_no_property(place)):
        form.add_error(None, full)
    if request.method == "POST" and form.is_valid():
        prop = form.save(commit=False)
        prop.account = place
        prop.save()
        recording.property_created(request, prop)
        return redirect("snippet", prop.key)
    context = {"form": form, "account": place, **_choices()}
    return render(request, "properties/new_property.html", context)


@require_safe
@door("property")
def snippet(request: HttpRequest, place: Property) -> HttpResponse:
    """Third step: what to paste, and whether an event came."""
    origin = snippets.origin_of(request)
    context = {
        "property": place,
        "snippets": snippets.snippets(place, origin),
        "inspector_url": url_of("inspector", place.key)
        if _actor(request).may("view", "events", place)
        else "",
    }
    return render(request, "properties/snippet.html", context)


def _choices() -> dict[str, list[str]]:
    """What the browser offers while a zone or a currency is typed."""
    return {"zones": forms.zone_names(), "currencies": sorted(currencies.DECIMALS)}
