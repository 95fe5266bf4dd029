"""Who is here now, as page, API and stream say it: one snapshot of one or several properties.

In: properties behind THE DOOR, the moment, and a filter of the reports. Out: the snapshot as JSON
(schema.py describes it): numbers and lists of the live set (tracking/live.py), what the last half
hour brought (lately.py), which pages gain, and the last minutes second by second
(tracking/recent.py). Filters are asked of what visitors show, of each value once
(tracking/crowds.py), so that an answer costs the same however many are here.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final

import numpy as np
import orjson
from django.http import QueryDict

from properties.api import Invalid
from properties.goals import fits
from properties.models import Property
from reports import chips, filters, lately
from reports.filters import Leaf, Node
from tracking import crowds, keys, live, recent, unusual
from tracking.crowds import Crowd
from tracking.looks import Look

DIMENSIONS: Final = crowds.DIMENSIONS  # what is known of whoever is here
LISTS: Final = {dimension: name for name, dimension in live.LISTS.items()}
MOST_ROWS = 1_000
CHANGE = 0.1  # of a page's visitors, from which on it gains or loses
FEW = 2  # a visitor more or less is nobody's trend


@dataclass(frozen=True)
class Asked:
    """What a reader asks about: `filter` None for everybody."""

    filter: Node | None = None
    sees_money: bool = False  # may view ecommerce in all of the properties
    sees_past: bool = True  # the weeks before, with which now is compared; a link has its days

    def check(self) -> None:
        """Raises Invalid for what cannot be asked of who is here now."""
        self.fits(Look(0))

    def fits(self, look: Look) -> bool:
        return self.filter is None or bool(_answer(self.filter, partial(_of_look, look)))

    def chosen(self, crowd: Crowd) -> Crowd:
        """Those of whom the filter is true."""
        if self.filter is None:
            return crowd
        return crowd.chosen(_answer(self.filter, partial(_of_crowd, crowd)))


# -- the question ----------------------------------------------------------------------------------


def read_filter(params: QueryDict) -> Node | None:
    """The filter of an address: `filters` as JSON, or `filter=page:is:/pricing` as on the report
    pages, as often as you like. Raises Invalid."""
    trees: list[Any] = []
    text = params.get("filters", "")
    if text:
        try:
            trees.append(orjson.loads(text))
        except orjson.JSONDecodeError as error:
            raise Invalid(
                "shape", 'Write the filter as JSON, like ["is", "page", ["/"]].', "filters"
            ) from error
    trees += _of_texts(params.getlist("filter"))
    if not trees:
        return None
    node = filters.parse(trees[0] if len(trees) == 1 else ["and", *trees])
    for leaf in filters.leaves(node):
        if leaf.dimension not in DIMENSIONS:
            known = ", ".join(DIMENSIONS)
            raise Invalid(
                "unknown_dimension",
                f"Who is here now is not known by {leaf.dimension[:40]!r}. Filter by {known}.",
                "filters",
            )
    return node


def _of_texts(texts: list[str]) -> list[Any]:
    try:
        return [item.asked for item in chips.read(texts)]
    except chips.FilterError as error:
        raise Invalid("invalid_filter", str(error), "filter") from error


def read_list(params: QueryDict) -> tuple[str, int]:
    """The one list that is asked for ("": all of them), and its length. Raises Invalid."""
    dimension, limit = params.get("dimension", ""), params.get("limit", "")
    if dimension and dimension not in LISTS:
        known = ", ".join(LISTS)
        raise Invalid("unknown_dimension", f"There is a list by {known}.", "dimension")
    if not limit:
        return dimension, live.MOST_ROWS
    if limit.isdecimal() and limit.isascii() and 1 <= int(limit[:9]) <= MOST_ROWS:
        return dimension, int(limit[:9])
    raise Invalid("invalid_limit", f"Write a whole number from 1 to {MOST_ROWS:,}.", "limit")


def _answer(node: Node, ask: Callable[[Leaf], Any]) -> Any:
    """Whether a filter is true of what `ask` is asked about: one answer, or one for each look."""
    if isinstance(node, Leaf):
        return ask(node)
    parts = [_answer(part, ask) for part in node.parts]
    if node.joint == "not":
        return np.logical_not(parts[0])
    if node.joint == "and":
        return np.logical_and.reduce(parts)
    if node.joint == "or":
        return np.logical_or.reduce(parts)
    raise _unanswerable(node.joint)


def _of_look(look: Look, leaf: Leaf) -> bool:
    return _question(leaf)(getattr(look, leaf.dimension))


def _of_crowd(crowd: Crowd, leaf: Leaf) -> Any:
    if leaf.operator == "is":
        return crowd.is_one_of(leaf.dimension, leaf.values)
    return crowd.fits(leaf.dimension, _question(leaf))


def _question(leaf: Leaf) -> Callable[[str], bool]:
    """What a leaf asks of a value."""
    values = leaf.values
    if leaf.operator == "is":
        return lambda text: text in values
    if leaf.operator == "is_not":
        return lambda text: text not in values
    if leaf.operator == "contains":
        return lambda text: any(value in text for value in values)
    if leaf.operator == "matches":
        return lambda text: any(fits(text, value) for value in values)
    raise _unanswerable(leaf.operator)


def _unanswerable(operator: str) -> Invalid:
    """What is about the past of a visitor, and not about what she shows."""
    words = f'Who is here now cannot be asked "{operator}".'
    return Invalid("unknown_operator", words, "filters")


# -- the answer ------------------------------------------------------------------------------------


def snapshot(
    places: Sequence[Property], asked: Asked, now: datetime, is_account: bool = False
) -> dict[str, Any]:
    """The whole of it, with ten minutes of seconds. Raises store.Unavailable."""
    answer = assemble(places, count(places, now), asked, now, is_account=is_account)
    before = seconds(places, asked, int(now.timestamp()))
    [present] = answer["recent"]
    answer["recent"] = [sample for sample in before if sample[0] < present[0]] + [present]
    return answer


def seconds(places: Sequence[Property], asked: Asked, until: int) -> list[list[int]]:
    """Ten minutes of seconds, as far as they are known (tracking/recent.py)."""
    node = asked.filter
    of = None
    if isinstance(node, Leaf) and node.operator == "is" and len(node.values) == 1:
        of = node.dimension, node.values[0]
    return recent.seconds(places, whose_of(places, node), until, node is None, of)


def count(places: Iterable[Property], now: datetime) -> dict[int, Crowd]:
    """Who shows what, by property. Raises store.Unavailable."""
    moment = round(now.timestamp() * 1000)
    return {place.pk: live.crowd_of_a_second(place, moment) for place in places}


def one_list(
    places: Sequence[Property], asked: Asked, now: datetime, dimension: str, most: int
) -> dict[str, Any]:
    """The three numbers, and one list that may be longer than those of the snapshot."""
    crowd = crowds.together(list(count(places, now).values()))
    found = live.summary(asked.chosen(crowd), most)
    wanted = (live.OPEN, live.ACTIVE, live.ENGAGED, LISTS[dimension])
    return {"at": _text(now)} | {name: found[name] for name in wanted}


def assemble(
    places: Sequence[Property],
    counted: Mapping[int, Crowd],
    asked: Asked,
    now: datetime,
    is_account: bool = False,
) -> dict[str, Any]:
    """The snapshot of what was counted, with the present second only."""
    chosen = {place.pk: asked.chosen(counted[place.pk]) for place in places}
    found = live.summary(crowds.together(list(chosen.values())))
    numbers = [found[name] for name in (live.OPEN, live.ACTIVE, live.ENGAGED)]
    second = int(now.timestamp())
    whose = whose_of(places)
    if asked.filter is None:
        recent.note(whose, second, numbers)
    known, read_by = lately.of(places, asked.filter, asked.sees_money, now)
    then = recent.pages_before(places, second) if asked.filter is None else None
    describe_pages(found["pages"], read_by, then)
    answer = {"at": _text(now), **found, "last_30m": known, "recent": [[second, *numbers]]}
    if asked.sees_past and asked.filter is None and len(places) == 1 and not is_account:
        answer["unusual"] = unusual.now(places[0], found[live.OPEN], now)
    if is_account:
        answer["properties"] = [_of_place(place, chosen[place.pk]) for place in places]
    return answer


def whose_of(places: Sequence[Property], node: Node | None = None) -> str:
    """What samples are kept under: a property's prefix, or a digest of several, or of a filter."""
    prefixes = [keys.prefix(place.account_id, place.pk) for place in places]
    if len(prefixes) == 1 and node is None:
        return prefixes[0]
    parts = [*sorted(prefixes), *([] if node is None else [repr(node)])]
    return hashlib.sha256("".join(parts).encode("utf-8", "replace")).hexdigest()[:32]


def describe_pages(
    rows: list[dict[str, Any]],
    read_by: Mapping[str, lately.Reading],
    then: Mapping[str, float] | None,
) -> None:
    for row in rows:
        reading = read_by.get(row["page"], lately.UNREAD)
        row["engaged_ms"], row["scroll"] = reading.engaged_ms, reading.scroll
        row["trend"] = "steady" if then is None else _trend(row["open"], then.get(row["page"], 0))


def _trend(now: int, then: float) -> str:
    change = now - then
    if abs(change) < max(FEW, CHANGE * then):
        return "steady"
    return "gaining" if change > 0 else "losing"


def _of_place(place: Property, crowd: Crowd) -> dict[str, Any]:
    return {"property": place.key, "name": place.name} | live.by_activity(crowd.states)


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")
