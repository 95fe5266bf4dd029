"""The live pages, of a property and of an account: door, address, snapshot, render.

Enters: a request behind THE DOOR, of a member or by a share link. Leaves: the page with every
number of this moment in it, and the same numbers as JSON for browsers whose stream breaks. What
stands on the page is decided in reports/live_page.py; frontend/static/js/live.js keeps it going.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.models import Account
from accounts.tenancy import tenant
from properties.access import Actor, actor_of, member
from properties.context import url_of as route_of
from properties.models import Property
from properties.periods import wall, zone
from reports import live_page, realtime
from reports.address import AddressError
from reports.realtime_api import asked_by, places_of
from reports.views import gives_files, url_of
from tracking import store

ASKED_EVERY = 5  # seconds, where no stream comes through


@require_safe
def live_of_property(request: HttpRequest, place: Property) -> HttpResponse:
    """Who is here now: numbers, where they are, and what drives the page."""
    actor, url = actor_here(request), url_of(request, place)
    own = {
        "title": place.name,
        "waits": place.first_event_at is None,
        "history_url": url("concurrency"),
        "svg_url": url("live_svg"),
        "snippet_url": _if_may(actor, "property", place, lambda: route_of("snippet", place.key)),
        "overview_url": _if_may(actor, "audience", place, lambda: url("overview")),
    }
    return _page(request, [place], own, url("live_now"), url("live_stream"))


@require_safe
def now_of_property(request: HttpRequest, place: Property) -> HttpResponse:
    """The snapshot as JSON, for the page's script: by the page's own right, also by a link."""
    return _json(request, [place])


@require_safe
@member
def live_of_account(request: HttpRequest, account: Account) -> HttpResponse:
    """All properties of the account of which the reader may view who is here, together."""
    places = places_of(actor_here(request), account)
    ways = {place.key: reverse("live", args=[place.key]) for place in places}
    svg_url = reverse("account_live_svg", args=[account.slug])
    own = {"title": account.name, "ways": ways, "svg_url": svg_url}
    now_url = reverse("account_live_now", args=[account.slug])
    stream_url = reverse("account_live_stream", args=[account.slug])
    with tenant(account.pk):
        return _page(request, places, own, now_url, stream_url)


@require_safe
@member
def now_of_account(request: HttpRequest, account: Account) -> HttpResponse:
    places = places_of(actor_here(request), account)
    with tenant(account.pk):
        return _json(request, places, is_account=True)


def actor_here(request: HttpRequest) -> Actor:
    actor = actor_of(request)
    assert actor is not None, "THE DOOR lets nobody in without an actor"
    return actor


def _if_may(actor: Actor, module: str, place: Property, url: Callable[[], str]) -> str:
    return url() if actor.may("view", module, place) else ""


def _page(
    request: HttpRequest,
    places: Sequence[Property],
    own: dict[str, Any],
    now_url: str,
    stream_url: str,
) -> HttpResponse:
    """`own`: what this page alone has, of a property or of an account."""
    now = timezone.now()
    try:
        address = live_page.read(request.GET)
    except AddressError as error:
        return _render(request, own | {"error": str(error)}, HTTPStatus.BAD_REQUEST)
    ways = own.get("ways")
    is_account = ways is not None
    snapshot = snapshot_of(request, places, address, now, is_account)
    # Several currencies have no sum, and several zones no common clock: the browser's is taken.
    currency = common(place.currency for place in places)
    zone_name = common(place.timezone for place in places)
    sees_orders = all(actor_here(request).may("view", "ecommerce", place) for place in places)
    cards = (live_page.PLACES, *live_page.CARDS) if is_account else live_page.CARDS
    context = own | {
        "address": address,
        "gives_files": gives_files(request),
        "chips": [(each, address.without(each)) for each in address.filters],
        "snapshot": snapshot,
        "at": wall(now, zone(zone_name or "UTC")),
        "numbers": live_page.numbers(snapshot),
        "unusual": ((snapshot or {}).get("unusual") or {}).get("text", ""),
        "visits": live_page.visits(snapshot),
        "last_30m": live_page.last_30m(snapshot, sees_orders, currency),
        "pages": live_page.fill(live_page.PAGES, snapshot, address),
        "cards": [
            live_page.fill(card, snapshot, address, ways if card is live_page.PLACES else None)
            for card in cards
        ],
        "words": live_page.OF_PAGES,
        "is_empty": snapshot is not None and not snapshot["open"],
        "driver": {
            "snapshot": snapshot,
            "before": live_page.week_before(places, address, now),
            "now": now_url + address.filter_query,
            "stream": stream_url + address.filter_query,
            "every": ASKED_EVERY,
            "zone": zone_name or None,
            "currency": currency,
            "decimals": live_page.decimals(currency),
            "query": address.query,
            "countries": live_page.country_names(),
            "ways": ways or {},
        },
    }
    return _render(request, context)


def common(values: Any) -> str:
    """The value that all have; "" for several."""
    every = set(values)
    return every.pop() if len(every) == 1 else ""


def _json(
    request: HttpRequest, places: Sequence[Property], is_account: bool = False
) -> HttpResponse:
    now = timezone.now()
    try:
        address = live_page.read(request.GET)
    except AddressError as error:
        body = {"error": {"code": "invalid_filter", "message": str(error), "field": "filter"}}
        return JsonResponse(body, status=HTTPStatus.BAD_REQUEST)
    if request.GET.get("before") == "1":  # the line of a week before, which a page asks for hourly
        return JsonResponse({"before": live_page.week_before(places, address, now)})
    snapshot = snapshot_of(request, places, address, now, is_account)
    if snapshot is None:
        body = {"error": {"code": "unavailable", "message": "The live numbers do not answer."}}
        return JsonResponse(body, status=HTTPStatus.SERVICE_UNAVAILABLE)
    return JsonResponse(snapshot)


def snapshot_of(
    request: HttpRequest,
    places: Sequence[Property],
    address: live_page.Address,
    now: datetime,
    is_account: bool,
) -> dict[str, Any] | None:
    """None while Valkey does not answer: the page says so, and asks again."""
    params = QueryDict(address.filter_query.removeprefix("?"))  # what the page shows, no more
    asked = asked_by(actor_here(request), list(places), params)
    try:
        return realtime.snapshot(places, asked, now, is_account)
    except store.Unavailable:
        return None


def _render(
    request: HttpRequest, context: dict[str, Any], status: HTTPStatus = HTTPStatus.OK
) -> HttpResponse:
    address = context.get("address")
    template = "live/wall.html" if address and address.wall else "live/live.html"
    response = render(request, template, context, status=status)
    response["Cache-Control"] = "private, no-cache"
    return response
