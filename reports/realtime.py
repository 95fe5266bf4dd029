"""Who is here now, as page, API and stream say it: one snapshot of one or several properties.

In: properties behind THE DOOR, the moment, and a filter of the reports. Out: the snapshot as JSON
(schema.py describes it): numbers and lists of the live set (tracking/live.py), what the last half
hour brought (lately.py), which pages gain, and the last minutes second by second
(tracking/recent.py). Filters are asked of what each visitor shows, those who show the same at
once, so that an answer costs the same however many are here.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any, Final

import orjson
from django.http import QueryDict

from properties.api import Invalid
from properties.goals import fits
from properties.models import Property
from reports import chips, filters, lately
from reports.filters import Branch, Leaf, Node
from tracking import keys, live, looks, recent, unusual
from tracking.looks import Look

# What is known of whoever is here: dimension -> what a look says of it.
DIMENSIONS: Final = {name: attrgetter(name) for name in (*live.LISTS.values(), "visit")}
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

    def fits(self) -> Callable[[Look], bool] | None:
        return None if self.filter is None else _fitting(self.filter)


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


def _fitting(node: Node) -> Callable[[Look], bool]:
    """The filter as a question to a look."""
    if isinstance(node, Branch):
        if node.joint not in ("and", "or", "not"):
            raise _unanswerable(node.joint)
        parts = [_fitting(part) for part in node.parts]
        if node.joint == "not":
            return lambda look: not parts[0](look)
        several = all if node.joint == "and" else any
        return lambda look: several(part(look) for part in parts)
    return _fitting_leaf(node)


def _fitting_leaf(leaf: Leaf) -> Callable[[Look], bool]:
    said, values = DIMENSIONS[leaf.dimension], leaf.values
    if leaf.operator == "is":
        return lambda look: said(look) in values
    if leaf.operator == "is_not":
        return lambda look: said(look) not in values
    if leaf.operator == "contains":
        return lambda look: any(value in said(look) for value in values)
    if leaf.operator == "matches":
        return lambda look: any(fits(said(look), value) for value in values)
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
    if asked.filter is None:
        answer["recent"] = recent.seconds(places, whose_of(places), int(now.timestamp()))
    return answer


def count(places: Iterable[Property], now: datetime) -> dict[int, Mapping[bytes, int]]:
    """Who shows what, by property. Raises store.Unavailable."""
    moment = round(now.timestamp() * 1000)
    return {place.pk: live.counts_of_a_second(place, moment) for place in places}


def one_list(
    places: Sequence[Property], asked: Asked, now: datetime, dimension: str, most: int
) -> dict[str, Any]:
    """The three numbers, and one list that may be longer than those of the snapshot."""
    found = live.summary(together(count(places, now).values()), asked.fits(), most)
    wanted = (live.OPEN, live.ACTIVE, live.ENGAGED, LISTS[dimension])
    return {"at": _text(now)} | {name: found[name] for name in wanted}


def together(counted: Iterable[Mapping[bytes, int]]) -> Mapping[bytes, int]:
    """Those of several properties; who is in two of them is two visitors."""
    every = list(counted)
    if len(every) == 1:
        return every[0]
    total: Counter[bytes] = Counter()
    for counts in every:
        total.update(counts)
    return total


def assemble(
    places: Sequence[Property],
    counted: Mapping[int, Mapping[bytes, int]],
    asked: Asked,
    now: datetime,
    is_account: bool = False,
) -> dict[str, Any]:
    """The snapshot of what was counted, with the present second only."""
    fitting = asked.fits()
    found = live.summary(together(counted[place.pk] for place in places), fitting)
    numbers = [found[name] for name in (live.OPEN, live.ACTIVE, live.ENGAGED)]
    second = int(now.timestamp())
    whose = whose_of(places)
    if fitting is None:
        recent.note(whose, second, numbers)
    known, read_by = lately.of(places, asked.filter, asked.sees_money, now)
    then = recent.pages_before(places, second) if fitting is None else None
    describe_pages(found["pages"], read_by, then)
    answer = {"at": _text(now), **found, "last_30m": known, "recent": [[second, *numbers]]}
    if asked.sees_past and fitting is None and len(places) == 1 and not is_account:
        answer["unusual"] = unusual.now(places[0], found[live.OPEN], now)
    if is_account:
        answer["properties"] = [_of_place(place, counted[place.pk], fitting) for place in places]
    return answer


def whose_of(places: Sequence[Property]) -> str:
    """What samples are kept under: a property's prefix, or a digest of several."""
    prefixes = [keys.prefix(place.account_id, place.pk) for place in places]
    if len(prefixes) == 1:
        return prefixes[0]
    return hashlib.sha256("".join(sorted(prefixes)).encode()).hexdigest()[:32]


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


def _of_place(
    place: Property, counts: Mapping[bytes, int], fitting: Callable[[Look], bool] | None
) -> dict[str, Any]:
    states = [0, 0, 0]
    for packed, number in counts.items():
        look = looks.read(packed)
        if fitting is None or fitting(look):
            states[look.rank] += number
    return {"property": place.key, "name": place.name} | live.by_activity(states)


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")
