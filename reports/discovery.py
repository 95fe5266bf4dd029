"""What can be asked about a property: its dimensions, the properties of its events, their values.

Enters: a property and a range, inside the tenant that THE DOOR opened. Leaves: names and values,
most frequent first, for whoever builds a question or a filter. Called by reports/api.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from django.db import connection

from properties.models import Property
from properties.periods import Range
from reports import metrics, queries
from reports.patience import patience
from reports.questions import MOST_ROWS, Question

MOST_EVENTS = 20_000  # newest events of the range in which properties are looked for
MOST_PROPS = 200
MOST_VALUES = 100

PROPS = """
SELECT k.key, array_agg(DISTINCT jsonb_typeof(k.value)), count(*)
FROM (
    SELECT props FROM events
    WHERE property_id = %(property)s AND time >= %(start)s AND time < %(end)s
        AND NOT bot AND jsonb_typeof(props) = 'object'
        AND (%(event)s::text IS NULL OR name = %(event)s)
    ORDER BY time DESC LIMIT %(most)s
) AS e CROSS JOIN LATERAL jsonb_each(e.props) AS k
WHERE k.key <> ''
GROUP BY k.key ORDER BY count(*) DESC, k.key LIMIT %(names)s
"""


@dataclass(frozen=True)
class Prop:
    """A property of events: `kind` is string, number, boolean, array, object, null or mixed;
    `events` is how many of the newest have it."""

    name: str
    kind: str
    events: int


def props(place: Property, within: Range, event: str | None = None) -> list[Prop]:
    """The properties of the newest events in the range, or of those with a name. Raises TooSlow."""
    wanted: dict[str, Any] = {"property": place.pk, "most": MOST_EVENTS, "names": MOST_PROPS}
    wanted["event"] = event
    wanted |= {"start": within.span.start, "end": within.span.end}
    with patience(), connection.cursor() as cursor:
        cursor.execute(PROPS, wanted)
        rows = cursor.fetchall()
    return [
        Prop(f"{metrics.PROPS}{name}", kinds[0] if len(kinds) == 1 else "mixed", number)
        for name, kinds, number in rows
    ]


def values(
    place: Property, dimension: str, within: Range, search: str = "", limit: int = MOST_VALUES
) -> list[tuple[str, int]]:
    """Values of a dimension that contain the text, upper and lower case alike, and how many
    events (or sessions, if it binds to them) have each; most frequent first.

    Beyond the MOST_ROWS most frequent ones, only what is spelt in the same case is found. Raises
    TooSlow.
    """
    found = metrics.find_dimension(dimension)
    assert found is not None
    question = Question(
        metrics=("events" if found.scope == "event" else "sessions",),
        range=within,
        dimensions=(dimension,),
        limit=MOST_ROWS if search else limit,
    )
    rows = _counted(place, question)
    if search:
        is_cut, folded = len(rows) == MOST_ROWS, search.casefold()
        rows = [row for row in rows if folded in row[0].casefold()]
        if is_cut and len(rows) < limit:
            exact = replace(question, filters=["contains", dimension, [search]], limit=limit)
            known = {value for value, _ in rows}
            rows += [row for row in _counted(place, exact) if row[0] not in known]
    return rows[:limit]


def _counted(place: Property, question: Question) -> list[tuple[str, int]]:
    counted, _ = queries.count(place, question, question.range)
    [metric] = question.metrics
    return [
        (str(key[0]), numbers.get(metric) or 0)
        for key, numbers in queries.best(question, counted.groups)
    ]
