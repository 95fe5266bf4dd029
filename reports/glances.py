"""What a property came to lately, at a glance: a line and a number in the list of an account's
properties, which fetches it for each after the page.

Enters: a request behind THE DOOR. Leaves: the inside of a card: visitors of the range that the
overview opens on, as its first tile says them, and their curve, drawn without a scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from properties.models import Property
from properties.periods import RangeError
from reports import curves, drawing
from reports.address import AddressError
from reports.catalogue import OVERVIEW
from reports.curves import Point
from reports.files import refused
from reports.formatting import range_name
from reports.metrics import VISITORS
from reports.parts import Report
from reports.views import _read

WIDTH, HEIGHT, EDGE = 160, 32, 2  # of the curve; what its ends keep from the border
GLANCE = Report("glance", "Glance", "", OVERVIEW.module, tiles=(VISITORS,))


@require_safe
def glance(request: HttpRequest, place: Property) -> HttpResponse:
    try:
        page = _read(request, place, GLANCE)
    except (AddressError, RangeError) as error:
        return refused(str(error))
    numbers = curves.ask_numbers(page)
    [tile] = curves.tiles(page, numbers)
    points = curves.series(page, numbers.answer)
    shown = {
        "tile": tile,
        "word": "visitor" if numbers.answer.totals[VISITORS] == 1 else "visitors",
        "range": range_name(page.address.range),
        "lines": [drawing.path_of(line) for line in lines(points)],
        "width": WIDTH,
        "height": HEIGHT,
    }
    response = render(request, "reports/glance.html", shown)
    response["Cache-Control"] = "private, no-cache"
    return response


def lines(points: Sequence[Point]) -> list[list[tuple[float, float]]]:
    """The curve, in pieces where nothing is known; what is not over yet is not in it, for it would
    always seem to fall."""
    highest = max((point.value or 0 for point in points), default=0) or 1
    across, down = WIDTH - 2 * EDGE, HEIGHT - 2 * EDGE
    last = max(len(points) - 1, 1)
    pieces = [
        [(EDGE + across * at / last, EDGE + down * (1 - (p.value or 0) / highest)) for at, p in run]
        for is_known, run in groupby(enumerate(points), lambda each: _is_known(each[1]))
        if is_known
    ]
    return [piece for piece in pieces if len(piece) > 1]


def _is_known(point: Point) -> bool:
    return point.value is not None and not point.is_open
