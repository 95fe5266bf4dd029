"""The report pages of a property: door, address, ask, render.

Enters: a request behind THE DOOR (urls.py names the right of each page), of a member or by a share
link. Leaves: any report, a whole table and the number of visitors online now. What a page shows is
decided in reports/catalogue.py, what is taken away from it in reports/files.py; htmx gets the part
between the frame's header and footer.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from properties import goals
from properties.access import Denied, actor_of
from properties.capture import SWITCHES
from properties.context import url_of as route_of
from properties.models import Property
from properties.periods import RangeError, parse_range, zone
from reports import annotations, building, catalogue, curves, picks, tables
from reports.address import Address, AddressError, read
from reports.catalogue import OVERVIEW
from reports.metrics import VISITORS
from reports.parts import MayView, Page, Report, Table, UrlOf, asked, whole
from reports.queries import DEFAULT_RANGE, Question, ask
from tracking import live, store

# Fields of forms that become part of the address: the answer to them is a redirect to it.
_FORM_FIELDS = frozenset({"from", "to", "filter_dimension"})
SPLIT = ("by",)  # what whole tables have in their address: `by=device`


@require_safe
def overview(request: HttpRequest, place: Property) -> HttpResponse:
    return report(request, place, OVERVIEW.name)


@require_safe
def report(request: HttpRequest, place: Property, report: str) -> HttpResponse:
    """Tiles, one time series, and the blocks and cards that the reader may see."""
    found = catalogue.find(report)
    try:
        page = _read(request, place, found, found.own)
    except (AddressError, RangeError) as error:
        return _refused(request, place, found, error)
    if _FORM_FIELDS & request.GET.keys():
        return HttpResponseRedirect(request.path + page.address.query)
    context: dict[str, Any] = {"caption": "", "intervals": []}
    is_counted = True
    page.expect(each for card in found.cards for each in tables.questions_of(page, card))
    if page.tiles:
        numbers = curves.ask_numbers(page)
        is_counted = any(numbers.answer.totals.values())
        points = curves.series(page, numbers.answer)
        notes = _notes(request, page, curves.starts(numbers.answer))
        context = {
            "tiles": list(curves.tiles(page, numbers)),
            "plotted": found.words_of(page.address.metric)[0],
            "points": points,
            "curve": curves.curve(page, points, notes),
            "notes": notes,
            "svg_url": _url(page, "chart_svg") + page.address.query,
            "series_url": _url(page, "series_csv") + page.address.query,
            "intervals": curves.interval_links(page.address),
            "caption": curves.caption(page.address, numbers.answer, page.now),
            "bots_apart": curves.bots_apart(page),
        }
    waits_for = "" if is_counted else curves.waits_for(place, page.now)
    if waits_for and request.headers.get("HX-Trigger") == waits_for:
        return HttpResponse(status=HTTPStatus.NO_CONTENT)  # as before: nothing is swapped
    return _page(
        request,
        page,
        "reports/report.html",
        {
            **context,
            "waits_for": waits_for,
            "blocks": list(_blocks(page)),
            "cards": [card for each in found.cards if (card := tables.fill(page, each))],
            "tables_url": _url(page, "tables_zip") + page.address.query if found.cards else "",
            "switched_off": _switched_off(page),
            "switch_url": route_of("property_tracking", place.key)
            if page.may_view("property")
            else "",
        },
    )


def _switched_off(page: Page) -> list[str]:
    """What the report needs and the property does not capture, as the settings call it."""
    return [
        switch.label
        for switch in SWITCHES
        if switch.name in page.report.switches and switch.name not in page.place.capture
    ]


def _url(page: Page, route: str) -> str:
    """Where a file of the page's curve is."""
    if page.report is OVERVIEW:
        return page.url_of(route)
    return page.url_of(f"report_{route}", report=page.report.name)


def _blocks(page: Page) -> Iterator[dict[str, Any]]:
    """Each block that the reader may see, as its template and what that reads."""
    for block in page.report.blocks:
        if page.may_view(block.module) and (made := block.make(page)) is not None:
            svg_url = ""
            if block.picture:
                url = page.url_of("report_block_svg", report=page.report.name, block=block.name)
                svg_url = url + page.address.query
            yield {
                "name": block.name,
                "template": block.template,
                "made": made,
                "svg_url": svg_url,
            }


def _notes(request: HttpRequest, page: Page, starts: list[datetime]) -> annotations.Beside | None:
    """The notes of the range, for whoever may view the audience; one more is written on the
    overview, to which the form comes back."""
    actor = actor_of(request)
    if actor is None or not page.may_view("audience"):
        return None
    shown = page.address
    notes = annotations.beside(page.place, actor, shown.query, shown.range, starts, page.now)
    return notes if notes is None or page.report is OVERVIEW else replace(notes, may_manage=False)


@require_safe
def table(request: HttpRequest, place: Property, dimension: str) -> HttpResponse:
    """Every value of a dimension with every metric: sorted, in pages."""
    shown = whole(dimension, _may_view(request, place))
    return _table(request, place, OVERVIEW, shown)


@require_safe
def report_table(request: HttpRequest, place: Property, report: str, table: str) -> HttpResponse:
    """Every row of one table of a report: sorted, in pages."""
    found = catalogue.find(report)
    return _table(request, place, found, _open(request, place, found.tables[table]))


def _open(request: HttpRequest, place: Property, table: Table) -> Table:
    """The table, if everything in it may be viewed; the route's door knows the report's module
    only. Raises Denied."""
    may_view = _may_view(request, place)
    for module in table.modules:
        if not may_view(module):
            raise Denied("view", module, place)
    return table


def _table(request: HttpRequest, place: Property, report: Report, table: Table) -> HttpResponse:
    try:
        page = _read(request, place, report, SPLIT)
        table = page.fitted(table)
        order, number = tables.read_order(request.GET, table)
        _open(request, place, tables.split(page, table))
    except (AddressError, RangeError) as error:
        return _refused(request, place, report, error, is_table=True)
    if _FORM_FIELDS & request.GET.keys():
        return HttpResponseRedirect(request.path + page.address.query)
    route, names = ("overview", {}) if report is OVERVIEW else ("report", {"report": report.name})
    context = {
        "whole": tables.whole_table(page, table, order, number),
        "above_url": page.url_of(route, **names) + page.address.query
        if page.may_view(report.module)
        else "",
        "siblings": tables.siblings(page, table),
    }
    return _page(request, page, "reports/table.html", context)


@require_safe
def now(request: HttpRequest, place: Property) -> HttpResponse:
    """The inside of "412 now": the bar of the other pages fetches it every few seconds."""
    return render(request, "reports/now.html", {"online": online(place, timezone.now())})


# What of an address says who is counted, and over which range.
_WHOM = {"range", "from", "to", "bots", "filter", "filter_into"} | {
    f"filter_{part}" for part in ("dimension", "prop", "operator", "value")
}


@require_safe
def count(request: HttpRequest, place: Property) -> HttpResponse:
    """How many visitors the filters let pass, with the one that is being typed; the inside of a
    line in the builder, which asks again while somebody types."""
    params = QueryDict(mutable=True)
    for name in _WHOM & request.GET.keys():
        params.setlist(name, request.GET.getlist(name))
    if not params.get("filter_value", "").strip():
        params.pop("filter_dimension", None)
    now = timezone.now()
    context: dict[str, Any] = {}
    try:
        address = read(params, place, now, metrics=(), tabs={}, may_view=_may_view(request, place))
        everybody = Question(metrics=(VISITORS,), range=address.range, bots=address.bots)
        context["some"] = context["everybody"] = ask(place, everybody, now).totals[VISITORS]
        if address.asked_filters is not None:
            some = replace(everybody, filters=address.asked_filters)
            context["some"] = ask(place, some, now).totals[VISITORS]
        else:
            context["everybody"] = None
    except (AddressError, RangeError) as error:
        context = {"error": str(error)}
    response = render(request, "reports/count.html", context)
    response["Cache-Control"] = "private, no-cache"
    return response


def url_of(request: HttpRequest, place: Property) -> UrlOf:
    """The addresses of the report pages, as seen from this one: below the property, or below the
    share link that shows it."""
    token = getattr(request, "share_token", "")

    def url(route: str, **names: str) -> str:
        where = {"token": token} if token else {"key": place.key}
        return reverse(f"shared_{route}" if token else route, kwargs=where | names)

    return url


def online(place: Property, now: datetime) -> Any:
    """Who is here (tracking/live.py); None while Valkey does not answer."""
    try:
        return live.shown(place, round(now.timestamp() * 1000))
    except store.Unavailable:
        return None  # history does not depend on it: the page shows "-" and asks again


def _may_view(request: HttpRequest, place: Property) -> MayView:
    actor = actor_of(request)
    assert actor is not None, "THE DOOR lets nobody in without an actor"
    return lambda module: actor.may("view", module, place)


def _read(request: HttpRequest, place: Property, report: Report, own: tuple[str, ...] = ()) -> Page:
    """The report as the address asks for it; `own` parameters are for what stands on the page."""
    now, may_view = timezone.now(), _may_view(request, place)
    tabs = {
        card.name: {table.name: asked((*table.columns, *table.extra)) for table in card.tables}
        for card in report.cards
    }
    has_goals = goals.exist(place)
    metrics = report.shown_tiles(may_view, has_goals)
    address = read(request.GET, place, now, metrics=metrics, tabs=tabs, may_view=may_view, own=own)
    if not hasattr(request, "share_token"):
        address = replace(address, look=())  # only what is shared stands in frames
    return Page(place, report, address, now, may_view, url_of(request, place), has_goals)


def _page(
    request: HttpRequest,
    page: Page,
    template: str,
    context: dict[str, Any],
    status: HTTPStatus = HTTPStatus.OK,
) -> HttpResponse:
    """A report page with its bar around what it shows."""
    place, may_view = page.place, page.may_view
    sees_online = may_view("realtime")
    response = render(
        request,
        template,
        {
            "place": place,
            "report": page.report,
            "look": dict(page.address.look),
            "gives_files": gives_files(request),
            "bar": picks.bar(page.address, page.now, page.report.bots is None),
            "build": building.shown(page, actor_of(request)),
            "sees_online": sees_online,
            "now_url": page.url_of("now") if sees_online else "",
            "live_url": page.url_of("live") if sees_online else "",
            "online": online(place, page.now) if sees_online else None,
            "snippet_url": route_of("snippet", place.key) if may_view("property") else "",
            "inspector_url": _inspector_url(request, page),
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
    report: Report,
    error: AddressError | RangeError,
    is_table: bool = False,
) -> HttpResponse:
    """400: what is wrong, above a bar that keeps what was typed."""
    now = timezone.now()
    opens_on = place.window or parse_range(DEFAULT_RANGE, zone(place.timezone), now)
    default = Address(opens_on, window=place.window)
    page = Page(place, report, default, now, _may_view(request, place), url_of(request, place))
    context = {"error": str(error), "typed": request.GET}
    template = "reports/table.html" if is_table else "reports/report.html"
    return _page(request, page, template, context, status=HTTPStatus.BAD_REQUEST)


def _inspector_url(request: HttpRequest, page: Page) -> str:
    is_shared = hasattr(request, "share_token")
    return (
        route_of("inspector", page.place.key) if page.may_view("events") and not is_shared else ""
    )


def _called(request: HttpRequest, place: Property) -> str:
    """The key, which settings and programs know the property by; its name for everybody else."""
    return place.name[:60] if hasattr(request, "share_token") else place.key


def gives_files(request: HttpRequest) -> bool:
    actor = actor_of(request)
    return actor is not None and getattr(actor.holder, "downloads", True)


def _safe_name(name: str) -> str:
    """A file name of letters, digits and a few signs: it stands in a header."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", name)
