"""The live pages: door, address, snapshot, render.

Enters: a request behind THE DOOR, of a member or by a share link. Leaves: the page with every
number of this moment in it, and the same numbers as JSON for browsers whose stream breaks. What
stands on the page is decided in reports/live_page.py; live.js keeps it going.
"""

from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from properties.access import actor_of
from properties.context import url_of as route_of
from properties.models import Property
from properties.periods import Span, floor, wall, zone
from reports import concurrency, live_page
from reports.address import AddressError
from reports.views import url_of
from tracking import live, store

ASKED_EVERY = 5  # seconds, where no stream comes through
# The graph's line of the week before: what it shows, and as long as a page usually stays open.
DRAWN, STAYS = timedelta(minutes=15), timedelta(hours=3)


@require_safe
def live_of_property(request: HttpRequest, place: Property) -> HttpResponse:
    """Who is here now: numbers, where they are, and what drives the page."""
    now = timezone.now()
    try:
        address = live_page.read(request.GET)
    except AddressError as error:
        context: dict[str, Any] = {"place": place, "error": str(error)}
        return _page(request, context, HTTPStatus.BAD_REQUEST)
    snapshot = _snapshot(place, address, now)
    actor = actor_of(request)
    assert actor is not None, "THE DOOR lets nobody in without an actor"
    url = url_of(request, place)
    sees_orders = actor.may("view", "ecommerce", place)
    context = {
        "place": place,
        "address": address,
        "chips": [(each, address.without(each)) for each in address.filters],
        "snapshot": snapshot,
        "at": wall(now, zone(place.timezone)),
        "numbers": live_page.numbers(snapshot),
        "visits": live_page.visits(snapshot),
        "last_30m": live_page.last_30m(snapshot, sees_orders, place.currency),
        "pages": live_page.fill(live_page.PAGES, snapshot, address),
        "cards": [live_page.fill(card, snapshot, address) for card in live_page.CARDS],
        "words": live_page.OF_PAGES,
        "is_empty": snapshot is not None and not snapshot["open"],
        "waits": place.first_event_at is None,
        "snippet_url": route_of("snippet", place.key)
        if actor.may("view", "property", place)
        else "",
        "history_url": url("concurrency"),
        "overview_url": url("overview") if actor.may("view", "audience", place) else "",
        "driver": {
            "snapshot": snapshot,
            "now": url("live_now") + address.filter_query,
            "every": ASKED_EVERY,
            "before": [] if address.filters else _week_before(place, now),
            "zone": place.timezone,
            "currency": place.currency,
            "seesOrders": sees_orders,
            "query": address.query,
            "countries": live_page.country_names(),
        },
    }
    return _page(request, context)


@require_safe
def now_of_property(request: HttpRequest, place: Property) -> HttpResponse:
    """The snapshot as JSON, for the page's script: by the page's own right, also by a link."""
    try:
        address = live_page.read(request.GET)
    except AddressError as error:
        return _refused(str(error))
    snapshot = _snapshot(place, address, timezone.now())
    return _numbers(snapshot)


def _week_before(place: Property, now: datetime) -> list[tuple[int, float]]:
    """For the minutes that the graph shows, and for as long as the page may stay open."""
    within = Span(now - DRAWN, now + STAYS)
    minutes = Span(
        *(floor("minute", edge, zone(place.timezone)) for edge in (within.start, within.end))
    )
    return concurrency.week_before(place, minutes, now)


def _snapshot(place: Property, address: live_page.Address, now: datetime) -> dict[str, Any] | None:
    """None while Valkey does not answer: the page says so, and asks again."""
    try:
        return live.shown(place, round(now.timestamp() * 1000))
    except store.Unavailable:
        return None


def _page(
    request: HttpRequest, context: dict[str, Any], status: HTTPStatus = HTTPStatus.OK
) -> HttpResponse:
    address = context.get("address")
    template = "live/wall.html" if address and address.wall else "live/live.html"
    response = render(request, template, context, status=status)
    response["Cache-Control"] = "private, no-cache"
    return response


def _numbers(snapshot: dict[str, Any] | None) -> HttpResponse:
    if snapshot is None:
        body = {"error": {"code": "unavailable", "message": "The live numbers do not answer."}}
        return JsonResponse(body, status=HTTPStatus.SERVICE_UNAVAILABLE)
    return JsonResponse(snapshot)


def _refused(message: str) -> HttpResponse:
    body = {"error": {"code": "invalid_filter", "message": message, "field": "filter"}}
    return JsonResponse(body, status=HTTPStatus.BAD_REQUEST)
