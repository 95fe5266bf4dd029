"""The report pages of a property: door, address, ask, render.

Enters: a request behind THE DOOR (urls.py names the right of each page), of a member or by a share
link. Leaves: the overview, the whole table of one dimension (as a
page and as CSV) and the number of visitors online now. What a page shows is decided in
reports/pages.py; htmx gets the part between the frame's header and footer.
"""

import csv
import re
from datetime import datetime
from http import HTTPStatus
from io import StringIO
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.audit import record
from properties.access import actor_of
from properties.models import Property
from properties.periods import RangeError, parse_range, zone
from properties.strangers_text import csv_cell
from reports import annotations, pages
from reports.address import OPERATORS, Address, AddressError, read
from reports.filters import LONGEST_VALUE
from reports.metrics import DIMENSIONS
from reports.queries import DEFAULT_RANGE, MOST_ROWS
from tracking import live, store

# Fields of forms that become part of the address: the answer to them is a redirect to it.
_FORM_FIELDS = frozenset({"from", "to", "filter_dimension"})


@require_safe
def overview(request: HttpRequest, place: Property) -> HttpResponse:
    """Tiles, one time series and the cards that the reader may see."""
    now = timezone.now()
    may_view = _may_view(request, place)
    try:
        address = _read(request, place, now)
    except (AddressError, RangeError) as error:
        return _refused(request, place, now, error)
    if _FORM_FIELDS & request.GET.keys():
        return HttpResponseRedirect(request.path + address.query)
    url = url_of(request, place)
    numbers = pages.ask_numbers(place, address, now)
    answer = numbers.answer
    points = pages.series(place, address, answer, now)
    actor, starts = actor_of(request), pages.starts(answer)
    assert actor is not None, "THE DOOR lets nobody in without an actor"
    notes = annotations.beside(place, actor, address.query, address.range, starts, now)
    context = {
        "tiles": list(pages.tiles(address, numbers)),
        "metric": pages.PLOTTED[address.metric],
        "points": points,
        "curve": pages.curve(address, points, notes),
        "notes": notes,
        "intervals": pages.interval_links(address),
        "caption": pages.caption(address, answer, now),
        "bots_apart": pages.bots_apart(place, address),
        "is_empty": place.first_event_at is None and not any(answer.totals.values()),
        "is_new": pages.is_new(place, now) and not any(answer.totals.values()),
        "cards": [pages.fill(place, address, card, now, url) for card in pages.cards_for(may_view)],
    }
    return _page(request, place, address, now, "reports/overview.html", context)


@require_safe
def table(request: HttpRequest, place: Property, dimension: str) -> HttpResponse:
    """Every value of a dimension with every metric: sorted, in pages."""
    now = timezone.now()
    try:
        address = _read(request, place, now)
        order = pages.read_order(request.GET, dimension, _may_view(request, place))
    except (AddressError, RangeError) as error:
        return _refused(request, place, now, error, dimension)
    if _FORM_FIELDS & request.GET.keys():
        return HttpResponseRedirect(request.path + address.query)
    url = url_of(request, place)
    context = {
        "table": pages.table(place, address, dimension, order, now),
        "csv_url": url("table_csv", dimension) if _gives_files(request) else "",
        "overview_url": url("overview") if _may_view(request, place)("audience") else "",
        "siblings": pages.siblings(address, dimension, url),
        "dimension": dimension,
        "overview_query": address.query,
    }
    return _page(request, place, address, now, "reports/table.html", context)


@require_safe
def table_csv(request: HttpRequest, place: Property, dimension: str) -> HttpResponse:
    """The same rows as a file, unshortened: rates 0-1, durations in ms, values as stored."""
    now = timezone.now()
    try:
        address = _read(request, place, now)
        order = pages.read_order(request.GET, dimension, _may_view(request, place))
    except (AddressError, RangeError) as error:
        return HttpResponse(
            str(error), status=HTTPStatus.BAD_REQUEST, content_type="text/plain; charset=utf-8"
        )
    answer = pages.ask_table(place, address, dimension, order, MOST_ROWS, now)
    text = StringIO()
    writer = csv.writer(text)
    columns = (dimension, *order.columns)
    writer.writerow(columns)
    writer.writerows([csv_cell(row[name]) for name in columns] for row in answer.rows)
    record(
        place.account_id,
        "report.exported",
        request=request,
        property=place,
        target=dimension,
        new={"rows": len(answer.rows), "address": address.query},
    )
    named = f"{_called(request, place)}-{dimension}-{address.range.text.replace('..', '-to-')}.csv"
    return HttpResponse(
        text.getvalue(),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{_safe_name(named)}"'},
    )


@require_safe
def now(request: HttpRequest, place: Property) -> HttpResponse:
    """The inside of "412 now": the bar of the other pages fetches it every few seconds."""
    return render(request, "reports/now.html", {"online": online(place, timezone.now())})


def url_of(request: HttpRequest, place: Property) -> pages.UrlOf:
    """The addresses of the report pages, as seen from this one: below the property, or below the
    share link that shows it."""
    token = getattr(request, "share_token", "")

    def url(page: str, dimension: str = "") -> str:
        names = {"token": token} if token else {"key": place.key}
        if dimension:
            names["dimension"] = dimension
        return reverse(f"shared_{page}" if token else page, kwargs=names)

    return url


def online(place: Property, now: datetime) -> Any:
    """Who is here (tracking/live.py); None while Valkey does not answer."""
    try:
        return live.shown(place, round(now.timestamp() * 1000))
    except store.Unavailable:
        return None  # history does not depend on it: the page shows "-" and asks again


def _may_view(request: HttpRequest, place: Property) -> pages.MayView:
    actor = actor_of(request)
    assert actor is not None, "THE DOOR lets nobody in without an actor"
    return lambda module: actor.may("view", module, place)


def _read(request: HttpRequest, place: Property, now: datetime) -> Address:
    may_view = _may_view(request, place)
    return read(request.GET, place, now, metrics=pages.PLOTTED, tabs=pages.TABS, may_view=may_view)


def _page(
    request: HttpRequest,
    place: Property,
    address: Address,
    now: datetime,
    template: str,
    context: dict[str, Any],
    status: HTTPStatus = HTTPStatus.OK,
) -> HttpResponse:
    """A report page with its bar around what it shows."""
    may_view = _may_view(request, place)
    sees_online = may_view("realtime")
    response = render(
        request,
        template,
        {
            "place": place,
            "bar": pages.bar(address, now),
            "filter_dimensions": [each for each in DIMENSIONS.values() if may_view(each.module)],
            "operators": OPERATORS,
            "longest_value": LONGEST_VALUE,
            "sees_online": sees_online,
            "now_url": url_of(request, place)("now") if sees_online else "",
            "live_url": url_of(request, place)("live") if sees_online else "",
            "online": online(place, now) if sees_online else None,
            "snippet_url": _snippet_url(place) if may_view("property") else "",
            **context,
        },
        status=status,
    )
    # The numbers of one account belong into no shared cache, and go stale at once.
    response["Cache-Control"] = "private, no-cache"
    return response


def _refused(
    request: HttpRequest,
    place: Property,
    now: datetime,
    error: AddressError | RangeError,
    dimension: str = "",
) -> HttpResponse:
    """400: what is wrong, above a bar that keeps what was typed."""
    opens_on = place.window or parse_range(DEFAULT_RANGE, zone(place.timezone), now)
    default = Address(opens_on, window=place.window)
    context = {"error": str(error), "typed": request.GET}
    template = "reports/table.html" if dimension else "reports/overview.html"
    return _page(request, place, default, now, template, context, status=HTTPStatus.BAD_REQUEST)


def _snippet_url(place: Property) -> str:
    try:
        return reverse("snippet", args=[place.key])
    except NoReverseMatch:
        return ""


def _called(request: HttpRequest, place: Property) -> str:
    """The key, which settings and programs know the property by; its name for everybody else."""
    return place.name[:60] if hasattr(request, "share_token") else place.key


def _gives_files(request: HttpRequest) -> bool:
    actor = actor_of(request)
    return actor is not None and getattr(actor.holder, "downloads", True)


def _safe_name(name: str) -> str:
    """A file name of letters, digits and a few signs: it stands in a header."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", name)
