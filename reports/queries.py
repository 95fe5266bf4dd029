"""Where a shown number comes from: every page, export and API answer asks here.

Enters: a Question (which metrics, split by what, over which range) about one property, inside
the tenant that THE DOOR opened. Leaves: an Answer. Two routes lead there and must always agree:
reports/rolled.py reads rollups and bitmaps, reports/raw.py counts events and sessions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from properties.models import Property
from properties.periods import Range

Bots = Literal["exclude", "include", "only"]
MOST_ROWS = 10_000
MOST_POINTS = 2_000


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked. Names are those of reports/metrics.py; `time:<kind>` is a dimension, too.

    `filters` is None or a nested list: ["is", "country", ["DE"]], ["and", a, b], ["not", a].
    `order_by` holds (metric or dimension, "asc" | "desc"); empty: by time, else by the first
    metric, most first. `limit` does not cut a plain time series.
    """

    metrics: tuple[str, ...]
    range: Range
    dimensions: tuple[str, ...] = ()
    filters: list[Any] | None = None
    compare: Range | None = None
    order_by: tuple[tuple[str, str], ...] = ()
    limit: int = 100
    bots: Bots = "exclude"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Numbers: counts as int, rates 0-1 and means of ms as float; None where there is nothing.

    rows: flat, {"page": "/", "pageviews": 572}; a time dimension holds the period's label
    ({"time:day": "2015-05-17", ...}), and a plain series has a row for every period.
    totals: {metric: number} over the whole range, computed and never summed from rows.
    compared: None or {"from", "to", "totals": {...}, "rows": [...]}; rows of a plain series
    only, aligned with `rows` by index.
    meta: {"timezone", "from", "to" (ISO instants, half-open), "complete_until", "exact",
    "definitions": {metric: text}, "route": "rolled" | "raw"}; with a time dimension also
    "interval" (its kind), "starts" (ISO instant of each row of a plain series) and "open_from"
    (label of the first period that is not complete yet, None if all are).
    """

    rows: list[dict[str, Any]]
    totals: dict[str, int | float | None]
    compared: dict[str, Any] | None = None
    meta: dict[str, Any] = field(default_factory=dict)


def ask(place: Property, question: Question, now: datetime) -> Answer:
    """The answer to a question about a property; call it inside `tenancy.tenant(account)`."""
    raise NotImplementedError


def parse_question(place: Property, body: Mapping[str, Any], now: datetime) -> Question:
    """The question in a JSON body or in a page's parameters; raises properties.api.Invalid."""
    raise NotImplementedError
