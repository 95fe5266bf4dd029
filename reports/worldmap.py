"""The map of the world on a report: countries in shades of how many visitors they have.

Enters: a Page. Leaves: what reports/worldmap.html draws, with the numbers of the table of countries
below it. The shapes are those of dist/vendor/world/world.svg (frontend/worldmap.mjs), to which the
page refers by their ISO codes. Called as a block by reports/catalogue.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from django.conf import settings

from reports.formatting import name_of, percent, short
from reports.parts import Page
from reports.queries import MOST_ROWS

# From which part of the most visited country's visitors on a country has a shade, palest last:
# half, a fifth, a twelfth. Even steps would leave all but one country in the palest.
SHADES = (0.5, 0.2, 0.08, 0.02, 0.0)
_FILE = settings.BASE_DIR / "frontend" / "dist" / "vendor" / "world" / "world.svg"


@dataclass(frozen=True)
class Shape:
    """A country with visitors; following `query` filters by it."""

    code: str
    text: str
    query: str
    shade: int  # 1 the palest


@dataclass(frozen=True)
class Shade:
    """A line of the legend."""

    shade: int
    text: str


@dataclass(frozen=True)
class WorldMap:
    box: str  # the viewBox of the shapes
    shapes: list[Shape]
    legend: list[Shade]
    elsewhere: str  # who is in no shape, in words


def of_page(page: Page) -> WorldMap | None:
    """None where the map has not been built: the table says the same."""
    box, codes = shapes_of_file()
    if not codes:
        return None
    question = replace(
        page.question(("visitors",), page.report), dimensions=("country",), limit=MOST_ROWS
    )
    answer = page.ask(question)
    rows = [(str(row["country"]), row["visitors"]) for row in answer.rows]
    everybody = answer.totals["visitors"] or 0
    drawn = [(code, number) for code, number in rows if code in codes]
    most = max((number for _, number in drawn), default=0)
    return WorldMap(
        box=box,
        shapes=[
            Shape(
                code,
                f"{name_of('country', code)}: {number:,} visitor{'' if number == 1 else 's'}"
                f" ({percent(number / everybody)})",
                page.address.with_filter("country", code),
                shade_of(number, most),
            )
            for code, number in drawn
        ],
        legend=legend(most),
        elsewhere=_elsewhere([(code, number) for code, number in rows if code not in codes]),
    )


def shade_of(number: int, most: int) -> int:
    """5 the darkest, of the most visited countries; 1 for whatever has a visitor."""
    return len(SHADES) - next(i for i, least in enumerate(SHADES) if number >= most * least)


def legend(most: int) -> list[Shade]:
    """From how many visitors on each shade stands, palest first; shades that mean nothing between
    whole numbers are left out."""
    edges: dict[int, int] = {}
    for place, least in enumerate(SHADES):
        first = max(1, -int(-most * least // 1))
        if first <= most and first not in edges.values():
            edges[len(SHADES) - place] = first
    return [Shade(shade, f"from {short(first)}") for shade, first in sorted(edges.items())]


def _elsewhere(rows: list[tuple[str, Any]]) -> str:
    """Unknown countries, and those too small for any map."""
    return ", ".join(f"{name_of('country', code)}: {number:,}" for code, number in rows)


@cache
def shapes_of_file() -> tuple[str, frozenset[str]]:
    """The viewBox and the ids of the map, ("", nothing) where there is none. Read once a process:
    another map comes with another release."""
    box = re.search(r'viewBox="([^"]+)"', _text())
    return box[1] if box else "", frozenset(paths_of_file())


def paths_of_file() -> dict[str, str]:
    """The outline of each country, for a picture that stands by itself. Not kept: 100 kB."""
    return dict(re.findall(r'<path id="([A-Z]{2})" d="([^"]+)"', _text()))


def _text() -> str:
    try:
        return _FILE.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
