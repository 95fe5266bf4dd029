"""Concurrency, shown: the page, its CSV and the API, of one reading of what was asked for.

Enters: a request behind THE DOOR, with range, interval and perhaps a page or a source in its
address. Leaves: how many were here at once, period by period, and the pages and sources with the
most of them. The numbers come from reports/concurrency.py.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from http import HTTPStatus
from io import StringIO
from typing import Any, Final
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.audit import record
from properties.access import DoorView
from properties.api import Invalid
from properties.inputs import is_storable
from properties.models import Property
from properties.periods import Kind, Range, RangeError, check_points, inside, parse_range, zone
from properties.strangers_text import csv_cell, visible
from reports import concurrency, drawing, schema
from reports.concurrency import INTERVALS, NAMES, Point
from reports.filters import LONGEST_VALUE
from reports.formatting import RANGES, exact, period_name, range_name, short, tick_name
from reports.questions import DEFAULT_RANGE
from reports.views import _called, _safe_name, gives_files, url_of
from tracking.rounds import DIMENSIONS, EVERY

STATES: Final = ("open", "active", "engaged")
MOST_POINTS = 2_000
READABLE = 800  # points of a line
ROWS_OF_A_CARD = 20
OFFERED: Final = ("today", "yesterday", "7d", "28d", "90d", "year")


@dataclass(frozen=True)
class Asked:
    """What an address asks for; `value` "" without a dimension."""

    range: Range
    interval: Kind
    dimension: str = ""
    value: str | None = None
    state: str = "open"
    chosen: bool = False  # the interval, by the reader

    @property
    def parameters(self) -> dict[str, str]:
        named = {"range": self.range.text, "interval": self.interval if self.chosen else ""}
        named["state"] = "" if self.state == "open" else self.state
        if self.value is not None:
            named |= {"dimension": self.dimension, "value": self.value}
        return {name: text for name, text in named.items() if text or name == "value"}

    @property
    def query(self) -> str:
        return f"?{urlencode(self.parameters)}"

    def but(self, **changes: Any) -> str:
        return replace(self, **changes).query


def read(given: Mapping[str, str], place: Property, now: datetime) -> Asked:
    """Raises Invalid, which names the parameter."""
    asked, interval, chosen = _within(given, place, now)
    dimension, value = given.get("dimension", ""), given.get("value")
    if dimension and dimension not in DIMENSIONS:
        raise Invalid("invalid_dimension", "Write page or source.", "dimension")
    if value is not None and not dimension:
        raise Invalid("invalid_value", "Say what it is a value of: dimension=page.", "dimension")
    if value is not None and (len(value) > LONGEST_VALUE or not is_storable(value)):
        raise Invalid("invalid_value", "Write a shorter value without NUL.", "value")
    state = given.get("state", "open")
    if state not in STATES:
        raise Invalid("invalid_state", f"Write one of {', '.join(STATES)}.", "state")
    return Asked(asked, interval, dimension, value, state, chosen)


def _within(given: Mapping[str, str], place: Property, now: datetime) -> tuple[Range, Kind, bool]:
    tz = zone(place.timezone)
    first = place.first_event_at
    try:
        asked = parse_range(given.get("range") or DEFAULT_RANGE, tz, now, first=first)
        if place.window:
            asked = inside(asked, place.window)
    except RangeError as error:
        raise Invalid("invalid_range", str(error), "range") from error
    wanted = given.get("interval") or concurrency.default_interval(asked)
    if wanted not in INTERVALS:
        raise Invalid("invalid_interval", f"Write one of {', '.join(INTERVALS)}.", "interval")
    try:
        check_points(asked, wanted, MOST_POINTS)
    except RangeError as error:
        raise Invalid("invalid_interval", str(error), "interval") from error
    return asked, wanted, bool(given.get("interval"))


# -- the API ---------------------------------------------------------------------------------------


class Concurrency(DoorView):
    """How many were here at once."""

    module = "realtime"
    parameters = frozenset({"format", "range", "interval", "dimension", "value", "limit"})

    @extend_schema(
        operation_id="concurrency",
        tags=["reports"],
        parameters=[
            OpenApiParameter("range", str, description='A word, or "2026-05-17..2026-05-20".'),
            OpenApiParameter("interval", str, enum=list(INTERVALS)),
            OpenApiParameter("dimension", str, enum=list(DIMENSIONS)),
            OpenApiParameter("value", str, description="One page or source, period by period."),
            OpenApiParameter("limit", int, description=f"1 to {schema.MOST_CONCURRENT} rows"),
        ],
        responses=OpenApiResponse(schema.CONCURRENCY),
        examples=[OpenApiExample("One hour", value=schema.CONCURRENCY_EXAMPLE)],
    )
    def get(self, request: Request, key: str) -> Response:
        """The most, and on average, visitors online at once: by period, or by page or source."""
        assert isinstance(self.place, Property)
        now = timezone.now()
        asked = read(request.query_params, self.place, now)
        limit = self._limit(request.query_params.get("limit"))
        return Response({"rows": rows(self.place, asked, limit, now), "meta": meta(asked)})

    @staticmethod
    def _limit(text: str | None) -> int:
        most = schema.MOST_CONCURRENT
        if text is None:
            return most
        if text.isdecimal() and text.isascii() and 1 <= int(text[:9]) <= most:
            return int(text[:9])
        raise Invalid("invalid_limit", f"Write a whole number from 1 to {most}.", "limit")


def rows(place: Property, asked: Asked, limit: int, now: datetime) -> list[dict[str, Any]]:
    """One flat object a period; or, of a dimension without a value, one for each value."""
    where = asked.range, asked.interval, now
    if asked.dimension and asked.value is None:
        found = concurrency.ranked(place, *where, asked.dimension, limit)
        return [{asked.dimension: value, **numbers} for value, numbers in found]
    points = concurrency.series(place, *where, asked.dimension, asked.value or "")
    return [
        {"time": point.within.start.isoformat(), "samples": point.samples, **point.numbers}
        for point in points
    ]


def meta(asked: Asked) -> dict[str, Any]:
    return {
        "timezone": asked.range.tz.key,
        "from": asked.range.span.start.isoformat(),
        "to": asked.range.span.end.isoformat(),
        "interval": asked.interval,
        "sampled_every": EVERY,
        "definitions": concurrency.DEFINITIONS,
    }


# -- the page --------------------------------------------------------------------------------------


@require_safe
def page(request: HttpRequest, place: Property) -> HttpResponse:
    """The line of one of the three numbers, and the pages and sources with the most visitors."""
    now = timezone.now()
    try:
        asked = read(request.GET, place, now)
    except Invalid as error:
        context = {"place": place, "error": str(error.detail)}
        return _page(request, context, HTTPStatus.BAD_REQUEST)
    points = concurrency.series(
        place, asked.range, asked.interval, now, asked.dimension, asked.value or ""
    )
    url = url_of(request, place)
    context = {
        "place": place,
        "asked": asked,
        "name": visible(asked.value or ""),
        "all_query": asked.but(dimension="", value=None),
        "range_name": range_name(asked.range),
        "ranges": _ranges(asked, place, now),
        "intervals": _intervals(asked),
        "tiles": [_tile(asked, points, state) for state in STATES],
        "curve": curve(asked, points, now),
        "points": [(_name(asked, point), _texts(point)) for point in points],
        "is_unknown": not any(point.samples for point in points),
        "cards": [_card(place, asked, name, now) for name in DIMENSIONS],
        "live_url": url("live"),
        "csv_url": url("concurrency_csv") + asked.query if gives_files(request) else "",
        "svg_url": url("concurrency_svg") + asked.query,
        "every": EVERY,
        "window": place.window,
    }
    return _page(request, context)


def _page(
    request: HttpRequest, context: dict[str, Any], status: HTTPStatus = HTTPStatus.OK
) -> HttpResponse:
    response = render(request, "reports/concurrency.html", context, status=status)
    response["Cache-Control"] = "private, no-cache"
    return response


def _ranges(asked: Asked, place: Property, now: datetime) -> list[dict[str, Any]]:
    words: Mapping[str, str] = {word: RANGES[word] for word in OFFERED}
    if place.window:
        words = {place.window.text: range_name(place.window)}
    tz = zone(place.timezone)
    return [
        {
            "text": text,
            "query": replace(asked, range=parse_range(word, tz, now), chosen=False).query,
            "is_current": asked.range.text == word,
        }
        for word, text in words.items()
    ]


def _intervals(asked: Asked) -> list[dict[str, Any]]:
    return [
        {
            "text": kind.capitalize(),
            "query": asked.but(interval=kind, chosen=True),
            "is_current": kind == asked.interval,
        }
        for kind in INTERVALS
        if kind == asked.interval or _is_readable(asked.range, kind)
    ]


def _is_readable(asked: Range, kind: Kind) -> bool:
    try:
        return check_points(asked, kind, READABLE) > 1
    except RangeError:
        return False


def _tile(asked: Asked, points: list[Point], state: str) -> dict[str, Any]:
    """The most of the range, and the mean by samples."""
    known = [point for point in points if point.samples]
    peak = max((point.numbers[f"{state}_peak"] or 0 for point in known), default=None)
    total = sum((point.numbers[f"{state}_average"] or 0) * point.samples for point in known)
    average = total / sum(point.samples for point in known) if known else None
    return {
        "name": state,
        "label": state.capitalize(),
        "definition": f"{concurrency.DEFINITIONS[f'{state}_peak']} On average: "
        "the mean over all moments that were looked at.",
        "query": asked.but(state=state),
        "is_plotted": asked.state == state,
        "peak": short(peak),
        "average": short(average),
        "title": f"At most {exact(peak)} in one moment, {exact(average)} on average",
    }


def curve(asked: Asked, points: list[Point], now: datetime) -> dict[str, Any]:
    """What chart.js draws: the average, and the peak as the thin line behind it."""
    peaks = [point.numbers[f"{asked.state}_peak"] for point in points]
    averages = [point.numbers[f"{asked.state}_average"] for point in points]
    starts = [point.within.start for point in points]
    names = [period_name(asked.interval, start, asked.range) for start in starts]
    return {
        "label": f"{asked.state.capitalize()}, on average",
        "unit": "count",
        "ticks": [tick_name(asked.interval, start, asked.range) for start in starts],
        "names": names,
        "values": averages,
        "texts": [f"{short(value)} on average" for value in averages],
        "before": peaks,
        "beforeNames": ["At most"] * len(points),
        "beforeTexts": [short(value) for value in peaks],
        "openFrom": next((at for at, p in enumerate(points) if p.within.end > now), None),
    }


def _name(asked: Asked, point: Point) -> str:
    return period_name(asked.interval, point.within.start, asked.range)


def _texts(point: Point) -> list[str]:
    return [short(point.numbers[name]) for name in NAMES]


def _card(place: Property, asked: Asked, dimension: str, now: datetime) -> dict[str, Any]:
    found = concurrency.ranked(place, asked.range, asked.interval, now, dimension, ROWS_OF_A_CARD)
    longest = max((numbers["open_average"] or 0 for _, numbers in found), default=0)
    return {
        "dimension": dimension,
        "title": f"{dimension.capitalize()}s",
        "rows": [
            {
                "name": visible(value),
                "query": asked.but(dimension=dimension, value=value),
                "is_current": (asked.dimension, asked.value) == (dimension, value),
                "width": f"{100 * (numbers['open_average'] or 0) / (longest or 1):.1f}%",
                "cells": [short(numbers[name]) for name in NAMES[:2]],
            }
            for value, numbers in found
        ],
    }


@require_safe
def as_svg(request: HttpRequest, place: Property) -> HttpResponse:
    """The line as a picture; `?theme=dark`, and `?download=1` to save it."""
    now = timezone.now()
    try:
        asked = read(request.GET, place, now)
        theme = request.GET.get("theme", "light")
        if theme not in drawing.THEMES:
            raise Invalid("invalid_theme", "Write light or dark.", "theme")
    except Invalid as error:
        return HttpResponse(
            str(error.detail),
            status=HTTPStatus.BAD_REQUEST,
            content_type="text/plain; charset=utf-8",
        )
    points = concurrency.series(
        place, asked.range, asked.interval, now, asked.dimension, asked.value or ""
    )
    of = f"{asked.dimension} is {visible(asked.value)}" if asked.value is not None else ""
    lines = [range_name(asked.range), of, f"looked at every {EVERY} seconds", place.timezone]
    picture = drawing.drawn(
        drawing.of_curve(curve(asked, points, now), place.name, lines, theme, "at most")
    )
    name = f"{_called(request, place)}-concurrency-{asked.range.text.replace('..', '-to-')}.svg"
    return drawing.response(picture, _safe_name(name) if "download" in request.GET else "")


@require_safe
def as_csv(request: HttpRequest, place: Property) -> HttpResponse:
    """The rows of the API as a file."""
    now = timezone.now()
    try:
        asked = read(request.GET, place, now)
    except Invalid as error:
        return HttpResponse(
            str(error.detail),
            status=HTTPStatus.BAD_REQUEST,
            content_type="text/plain; charset=utf-8",
        )
    found = rows(place, asked, schema.MOST_CONCURRENT, now)
    first = [asked.dimension] if asked.dimension and asked.value is None else ["time", "samples"]
    columns = [*first, *NAMES]
    text = StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([csv_cell(row[name]) for name in columns] for row in found)
    record(
        place.account_id,
        "report.exported",
        request=request,
        property=place,
        target="concurrency",
        new={"rows": len(found), "address": asked.query},
    )
    named = f"{_called(request, place)}-concurrency-{asked.range.text.replace('..', '-to-')}.csv"
    return HttpResponse(
        text.getvalue(),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{_safe_name(named)}"'},
    )
