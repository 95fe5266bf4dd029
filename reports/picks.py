"""The bar of a report page: range picker, comparison, filters and bots as links to other views.

Enters: an Address. Leaves: plain values that the templates only lay out. Pure. Called by
reports/views.py; its Link is what every other part of a page links with, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from properties.periods import RangeError, clamp, parse_range
from reports.address import Address
from reports.formatting import RANGES, range_name
from reports.queries import Bots

COMPARED = {
    ("previous", False): "vs previous",
    ("previous", True): "vs previous, same weekdays",
    ("year", False): "vs year before",
    ("year", True): "vs year before, same weekdays",
}

# Bots are events like others, kept and countable; who asks for none gets people.
WITH_BOTS: dict[Bots, str] = {"exclude": "No bots", "include": "With bots", "only": "Bots only"}


@dataclass(frozen=True)
class Link:
    text: str
    query: str
    is_current: bool = False
    title: str = ""


def bar(address: Address, now: datetime, asks_bots: bool = True) -> dict[str, Any]:
    """Range picker, comparison switch and bots: links to the neighbouring views. `asks_bots`:
    whether the reader chooses if bots count."""
    shown = address.range
    tz = address.range.tz
    return {
        "range_name": range_name(shown),
        "ranges": [
            Link(text, _with_range(address, word), shown.text == word)
            for word, text in _ranges(address, now).items()
        ],
        "back": _beside(address, -1, now),
        "on": _beside(address, 1, now),
        "window": address.window,
        "from": shown.first or shown.span.start.astimezone(tz).date(),
        "to": shown.last or shown.span.end.astimezone(tz).date(),
        "compare": _comparisons(address),
        "changes": _changes(address),
        "bots": [
            Link(text, address.but(bots=choice), address.bots == choice)
            for choice, text in WITH_BOTS.items()
            if asks_bots
        ],
        # What the forms of the bar carry along beside their own fields.
        "kept": address.parameters,
        "kept_without_range": [
            pair for pair in address.parameters if pair[0] not in ("range", "interval")
        ],
    }


def _beside(address: Address, way: Literal[-1, 1], now: datetime) -> Link | None:
    """The view over the range before or after; None where nothing can be seen of that."""
    if way == -1 and address.range.text == "all":
        return None
    try:
        found = address.range.beside(way)
    except (RangeError, ValueError, OverflowError):  # before or after the years that there are
        return None
    if found.span.start > now or clamp(found, address.window) is None:
        return None
    return Link(range_name(found), _with_range(address, found.text))


def _comparisons(address: Address) -> list[Link]:
    """What the page can be compared with; nothing where no other day may be seen."""
    offered = address.comparisons
    if not offered and address.window is not None:
        return []
    current = address.compared.span if address.compared else None
    links = [
        Link(
            COMPARED[name, by_weekday],
            address.but(compare=name, by_weekday=by_weekday),
            current is not None and address.before(name, by_weekday) == address.compared,
        )
        for name, by_weekday in offered
    ]
    none = address.but(compare="none", by_weekday=False, changes=False)
    return [*links, Link("no comparison", none, current is None)]


def _changes(address: Address) -> Link | None:
    """The switch that compares the rows of tables; None where the page compares nothing."""
    if address.compared is None:
        return None
    text = "Hide changes in tables" if address.changes else "Show changes in tables"
    return Link(text, address.but(changes=not address.changes))


def _ranges(address: Address, now: datetime) -> dict[str, str]:
    """Word -> name: the usual ranges; where not every day may be seen, all that may, and those
    of the usual ones that lie within."""
    window = address.window
    if window is None:
        return RANGES
    usual = {word: text for word, text in RANGES.items() if word != "all"}
    within = [
        word for word in usual for asked in [parse_range(word, window.tz, now)]
        if clamp(asked, window) == asked and asked.span != window.span
    ]  # fmt: skip
    return {window.text: range_name(window)} | {word: usual[word] for word in within}


def _with_range(address: Address, word: str) -> str:
    """The view over another range, in that range's own interval."""
    wanted = [pair for pair in address.parameters if pair[0] not in ("range", "interval")]
    return Address.query_of([("range", word), *wanted])
