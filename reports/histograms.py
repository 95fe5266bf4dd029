"""How the numbers of an event property are spread: bins, least, most, mean and median.

Enters: a property of events and the rest of a question (filters, range, comparison, bots). Leaves:
a Histogram over every matching event, exact whichever route reports/queries.py takes: it counts
the events of each different value, and what is told here is computed from these. A number is a
JSON number, or text that is written like one ("12.50": the pixel and attributes of a page know
only text); what has none is counted as such. Called by reports/api.py and the page of an event.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Context, Decimal, localcontext
from itertools import accumulate
from typing import Any

from rest_framework import status
from rest_framework.exceptions import APIException

from properties import periods
from properties.api import Invalid
from properties.models import Property
from reports import queries
from reports.metrics import PROPS
from reports.questions import Question

FEWEST_BINS, MOST_BINS = 2, 100  # numbers above and below 0 never share a bin
DEFAULT_BINS = 20
MOST_DIFFERENT = 200_000  # different values of a range: 100 bytes each while they are counted
LARGEST = 2**63  # what intake takes as a number
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]{1,3})?", re.IGNORECASE)
_LONGEST = 400
_STEPS = (Decimal(1), Decimal(2), Decimal(5), Decimal(10))
# Of a text of _LONGEST characters with an exponent of three digits: so no edge is ever rounded.
_EXACT = Context(prec=1_500)

DEFINITION = (
    "Events by the number that the property has in them: each bin holds the numbers from its first "
    "to just below its last. A number is a JSON number or text that is written like one. Exact."
)

FIELDS = ("property", "filters", "range", "compare", "align", "bots", "bins")

Counts = Mapping[Decimal, int]  # number -> events


class TooMany(APIException):
    status_code = status.HTTP_422_UNPROCESSABLE_ENTITY
    default_code = "too_many_values"
    default_detail = (
        f"The property has over {MOST_DIFFERENT:,} different values in this range, so each is "
        "hardly more than a name. Choose a shorter range or add a filter."
    )


@dataclass(frozen=True)
class Bin:
    """The numbers in `[start, end)` and how many events have one of them."""

    start: Decimal
    end: Decimal
    events: int


@dataclass(frozen=True)
class Spread:
    """`numbers`: events with a number; `missing`: those without one. The rest is None if there is
    no number at all. `median`: half are not above and half not below; between two, their mean."""

    numbers: int
    missing: int
    least: Decimal | None = None
    most: Decimal | None = None
    mean: Decimal | None = None
    median: Decimal | None = None


@dataclass(frozen=True)
class Histogram:
    """`meta` as in an Answer; `before`: the same of the range compared with, in the same bins."""

    spread: Spread
    bins: list[Bin]
    meta: dict[str, Any]
    before: Histogram | None = None


def parse_asked(place: Property, body: Any, now: datetime) -> tuple[Question, int]:
    """The question in a JSON body, and how many bins it wants at most; raises Invalid."""
    if not isinstance(body, Mapping):
        raise Invalid("shape", 'Send one JSON object, such as {"property": "props:price"}.')
    if unknown := [name for name in body if name not in FIELDS]:
        message = f"There is no such field. Known: {', '.join(FIELDS)}."
        raise Invalid("unknown_field", message, str(unknown[0])[:60])
    name = body.get("property")
    if not isinstance(name, str) or not name.startswith(PROPS):
        message = f'Name a property of events, such as "{PROPS}price".'
        raise Invalid("required" if name is None else "unknown_dimension", message, "property")
    most = body.get("bins", DEFAULT_BINS)
    if isinstance(most, bool) or not isinstance(most, int) or not _fits(most):
        message = f"Write a whole number from {FEWEST_BINS} to {MOST_BINS}."
        raise Invalid("invalid_limit", message, "bins")
    rest = {field: value for field, value in body.items() if field not in ("property", "bins")}
    asked = {"metrics": ["events"], "dimensions": [name], **rest}
    return queries.parse_question(place, asked, now), most


def _fits(most: int) -> bool:
    return FEWEST_BINS <= most <= MOST_BINS


def ask(place: Property, question: Question, now: datetime, most: int = DEFAULT_BINS) -> Histogram:
    """The histogram of the question's one dimension. Raises TooMany and what queries.ask does."""
    counted = _ask(place, replace(question, compare=None), now)
    before = _ask_before(place, question, now)
    found = edges([*counted.counts, *(before.counts if before else ())], most)
    told = _shown(before, found) if before else None
    return replace(_shown(counted, found), before=told)


@dataclass(frozen=True)
class _Counted:
    """`counts`: the events of each number; `spread` says how many have none."""

    counts: Counts
    spread: Spread
    meta: dict[str, Any]


def _shown(counted: _Counted, starts: Sequence[Decimal]) -> Histogram:
    return Histogram(counted.spread, fill(counted.counts, starts), counted.meta)


def _ask(place: Property, question: Question, now: datetime) -> _Counted:
    [name], [metric] = question.dimensions, question.metrics
    answer = queries.ask(place, replace(question, limit=MOST_DIFFERENT + 1), now)
    if len(answer.rows) > MOST_DIFFERENT:
        raise TooMany
    found: dict[Decimal, int] = {}
    for row in answer.rows:
        number = parse(row[name])
        if number is not None:
            found[number] = found.get(number, 0) + row[metric]
    every = int(answer.totals[metric] or 0)
    return _Counted(found, spread(found, every - sum(found.values())), answer.meta)


def _ask_before(place: Property, question: Question, now: datetime) -> _Counted | None:
    """The range compared with: nothing where not all of it may be seen, or is still kept."""
    compared = question.compare
    if compared is None or periods.clamp(compared, place.window) != compared:
        return None
    counted = _ask(place, replace(question, range=compared, compare=None), now)
    return None if "raw_from" in counted.meta else counted


def parse(text: str) -> Decimal | None:
    """The number that a text is, if it is one."""
    if len(text) > _LONGEST or not _NUMBER.fullmatch(text):
        return None
    number = Decimal(text)
    return number if abs(number) < LARGEST else None


def spread(counts: Counts, missing: int) -> Spread:
    """What can be said of numbers in one line."""
    if not counts:
        return Spread(0, missing)
    ordered = sorted(counts)
    ranks = list(accumulate(counts[number] for number in ordered))
    many = ranks[-1]

    def at(rank: int) -> Decimal:
        """The number of that rank, from 1."""
        return ordered[bisect_right(ranks, rank - 1)]

    with localcontext(_EXACT):
        total = sum((number * events for number, events in counts.items()), Decimal())
        return Spread(
            numbers=many,
            missing=missing,
            least=ordered[0],
            most=ordered[-1],
            mean=total / many,
            median=(at((many + 1) // 2) + at(many // 2 + 1)) / 2,
        )


def edges(numbers: Sequence[Decimal], most: int) -> list[Decimal]:
    """Where at most `most` bins of equal, round width begin, and the end of the last one; none
    without numbers. Whole numbers get bins of whole width."""
    if not numbers:
        return []
    least, greatest = min(numbers), max(numbers)
    whole = all(number == number.to_integral_value() for number in numbers)
    with localcontext(_EXACT):
        width = _first_width(greatest - least, most, whole)
        while (found := _bins(least, greatest, width)) > most:
            width = _next_width(width)
        first = (least / width).to_integral_value("ROUND_FLOOR")
        return [(first + place) * width for place in range(found + 1)]


def _bins(least: Decimal, greatest: Decimal, width: Decimal) -> int:
    first, last = (
        (number / width).to_integral_value("ROUND_FLOOR") for number in (least, greatest)
    )
    return int(last - first) + 1


def _first_width(reach: Decimal, most: int, whole: bool) -> Decimal:
    """A power of ten that is certainly not too wide."""
    if not reach:
        return Decimal(1)
    width = Decimal(10) ** ((reach / most).adjusted())
    return max(width, Decimal(1)) if whole else width


def _next_width(width: Decimal) -> Decimal:
    power = Decimal(10) ** width.adjusted()
    return next(power * step for step in _STEPS if power * step > width)


def fill(counts: Counts, starts: Sequence[Decimal]) -> list[Bin]:
    """The bins between these edges."""
    found = [0] * max(len(starts) - 1, 0)
    for number, events in counts.items():
        found[bisect_right(starts, number) - 1] += events
    return [
        Bin(start, end, events)
        for start, end, events in zip(starts, starts[1:], found, strict=False)
    ]
