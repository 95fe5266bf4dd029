"""What can be taken away from a report: a whole table or its curve as CSV, the curve as SVG.

Enters: a request behind THE DOOR (urls.py names the right of each), with the address of the page it
stands on. Leaves: a file. A table is whole, whatever the page shows of it: it is counted once, its
rows wait on disk, then they are written and sent in blocks: so it is never whole in memory, and a
slow reader holds no transaction.
"""

from collections.abc import Iterator
from dataclasses import replace
from http import HTTPStatus
from itertools import islice
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.http import require_safe

from accounts.audit import record
from properties.access import Denied
from properties.models import Property
from properties.periods import RangeError
from properties.streaming import csv_download
from reports import catalogue, curves, drawing, pictures, tables
from reports.address import AddressError
from reports.catalogue import OVERVIEW
from reports.compared import BEFORE, of_tables
from reports.formatting import range_name
from reports.parts import Page, Report, Table, asked, whole
from reports.queries import EVERY, ask_rows, ask_rows_compared
from reports.views import SPLIT, _called, _may_view, _notes, _open, _read, _safe_name

ROWS_OF_A_BLOCK = 1_000

Columns = tuple[str, ...]


@require_safe
def table_csv(request: HttpRequest, place: Property, dimension: str) -> HttpResponseBase:
    """Every row of a dimension, unshortened: rates 0-1, durations in ms, values as stored."""
    shown = whole(dimension, _may_view(request, place))
    return _table(request, place, OVERVIEW, shown)


@require_safe
def report_table_csv(
    request: HttpRequest, place: Property, report: str, table: str
) -> HttpResponseBase:
    """Every row of one table of a report."""
    found = catalogue.find(report)
    return _table(request, place, found, _open(request, place, found.tables[table]))


def _table(request: HttpRequest, place: Property, report: Report, table: Table) -> HttpResponseBase:
    try:
        page = _read(request, place, report, SPLIT)
        table = page.fitted(table)
        order, _ = tables.read_order(request.GET, table)
        shown = _open(request, place, tables.split(page, table))
    except (AddressError, RangeError) as error:
        return refused(str(error))
    count, columns, rows = rows_of(page, shown, order)
    told(request, page, table.name, count)
    name = "-by-".join([table.name, *shown.dimensions[1:]])
    return csv_download(file_name(request, page, name, "csv"), blocks(columns, rows))


def rows_of(
    page: Page, table: Table, order: tables.Order
) -> tuple[int, Columns, Iterator[dict[str, Any]]]:
    """How many rows the whole table has, its columns, and each row as it is taken."""
    numbers = asked(table.columns)
    columns = (*table.dimensions, *numbers)
    question = tables.question_of(page, table, order, EVERY)
    if of_tables(page) is None:
        count, found = ask_rows(page.place, question)
        return count, columns, found
    count, pairs = ask_rows_compared(page.place, question, page.now)
    rows = (row | _before(numbers, other) for row, other in pairs)
    return count, (*columns, *_before(numbers)), rows


def _before(numbers: Columns, other: dict[str, Any] | None = None) -> dict[str, Any]:
    """What these numbers were in the range that is compared with; None is unknown."""
    return {f"{name}_before": (other or {}).get(name) for name in numbers}


@require_safe
def series_csv(
    request: HttpRequest, place: Property, report: str = OVERVIEW.name
) -> HttpResponseBase:
    """The curve, period by period, with the metric of every tile: an empty cell is unknown."""
    try:
        page = _read(request, place, catalogue.find(report))
    except (AddressError, RangeError) as error:
        return refused(str(error))
    rows = series(page)
    interval = page.address.interval
    told(request, page, interval, len(rows))
    name = file_name(request, page, interval, "csv")
    return csv_download(name, blocks(columns_of_series(page), iter(rows)))


@require_safe
def chart_svg(request: HttpRequest, place: Property, report: str = OVERVIEW.name) -> HttpResponse:
    """The curve as a picture; `?theme=dark`, and `?download=1` to save it."""
    try:
        page = _read(request, place, catalogue.find(report))
    except (AddressError, RangeError) as error:
        return refused(str(error))
    theme = request.GET.get("theme", "light")
    name = file_name(request, page, page.address.metric, "svg")
    picture = drawing.drawn(_drawing(request, page, theme))
    return drawing.response(picture, name if "download" in request.GET else "")


@require_safe
def block_svg(request: HttpRequest, place: Property, report: str, block: str) -> HttpResponse:
    """What else is drawn on a report: its map, say. As `chart_svg`."""
    found = catalogue.find(report)
    drawn = next(each for each in found.blocks if each.name == block)
    if not _may_view(request, place)(found.module):  # the page that it stands on
        raise Denied("view", found.module, place)
    try:
        page = _read(request, place, found, found.own)
    except (AddressError, RangeError) as error:
        return refused(str(error))
    made = drawn.make(page)
    if made is None or drawn.picture is None:
        raise Http404
    lines = [
        range_name(page.address.range),
        *(f"{each.label} {each.shown_value}" for each in page.address.filters),
        curves.caption_of(page),
    ]
    theme = request.GET.get("theme", "light")
    picture = drawn.picture(made, pictures.Source(place.name, lines, theme))
    name = file_name(request, page, drawn.file_name, "svg")
    return drawing.response(picture, name if "download" in request.GET else "")


def columns_of_series(page: Page) -> Columns:
    return ("period", "starts", *page.tiles, "is_complete")


def series(page: Page) -> list[dict[str, Any]]:
    """A row for every period, with the metric of every tile; None is unknown, not 0. Nothing where
    no tile may be viewed."""
    if not page.tiles:
        return []
    answer = curves.ask_numbers(replace(page, address=replace(page.address, compare="none"))).answer
    interval = page.address.interval
    key, opened, is_open = f"time:{interval}", answer.meta["open_from"], False
    rows = []
    for row, start in zip(answer.rows, curves.starts(answer), strict=True):
        is_open = is_open or row[key] == opened
        numbers = {name: row[name] for name in page.tiles}
        about = {"period": row[key], "starts": start.isoformat()}
        rows.append(about | numbers | {"is_complete": "no" if is_open else "yes"})
    return rows


def _drawing(request: HttpRequest, page: Page, theme: str) -> drawing.Drawing:
    address, name = page.address, page.place.name
    if not page.tiles:
        lines = [range_name(address.range), "you may view none of its numbers"]
        return drawing.Drawing(page.report.title, name, lines, "count", [], [], theme=theme)
    answer = curves.ask_numbers(page).answer
    points = curves.series(page, answer)
    curve = curves.curve(page, points, _notes(request, page, curves.starts(answer)))
    lines = [
        range_name(address.range),
        f"{points[0].name} to {points[-1].name}" if len(points) > 1 else "",
        *(f"{each.label} {each.shown_value}" for each in address.filters),
        curves.caption(address, answer, page.now),
    ]
    before_name = BEFORE.get(address.compare, "").removeprefix("the ")
    return drawing.of_curve(curve, name, lines, theme, before_name)


def blocks(columns: Columns, rows: Iterator[dict[str, Any]]) -> Iterator[list[Any]]:
    """The heading, then the rows, so many at once."""
    yield [columns]
    while block := list(islice(rows, ROWS_OF_A_BLOCK)):
        yield [[row[name] for name in columns] for row in block]


def told(request: HttpRequest, page: Page, what: str, rows: int) -> None:
    record(
        page.place.account_id,
        "report.exported",
        request=request,
        property=page.place,
        target=what,
        new={"rows": rows, "address": page.address.query},
    )


def refused(text: str) -> HttpResponse:
    return HttpResponse(
        text, status=HTTPStatus.BAD_REQUEST, content_type="text/plain; charset=utf-8"
    )


def file_name(request: HttpRequest, page: Page, what: str, kind: str) -> str:
    days = page.address.range.text.replace("..", "-to-")
    return _safe_name(f"{_called(request, page.place)}-{what}-{days}.{kind}")
