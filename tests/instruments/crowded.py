"""What it costs to ask who is in a segment, of a million visitors: bitmaps only, made in a minute.

In: how many visitors, and days. Out: for each kind of segment milliseconds on the clock and of CPU,
and how many statements it took. The property has no events, only what rollups would keep of them by
day: a tenth of the visitors each day, each with a country, device, browser, system and channel for
good, and with a source, pages and events that differ by day. Run as

    python -m tests.instruments.crowded [--visitors 1000000] [--days 30] [--questions 40]

Filters that must hold together on one session are not in it: they are counted from columns, which
tests/instruments/questions.py measures.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from tests.instruments import generated, questions
from tests.instruments.questions import Measured

FIRST_DAY = datetime(2025, 1, 1, tzinfo=UTC)
FOR_GOOD = {"country": 28, "device": 4, "browser": 12, "os": 7, "channel": 12}  # name -> values
BY_DAY = {"source": 40, "campaign": 40, "event": 20, "page": 1_000}
COLUMNS = ("account_id", "property_id", "grain", "starts_at", "dimension", "value", "bits")
Filter = list[Any]


def value(dimension: str, number: int) -> str:
    return f"{dimension}-{number}"


def made(visitors: int, days: int, say: Any = print) -> Any:
    """The property with these bitmaps, made at the first time."""
    from django.db import connections

    from properties.models import Property
    from tests.people import new_account, new_property, new_user

    name = f"crowd of {visitors} in {days} days"
    found = Property.objects.across_accounts().using("worker").filter(name=name).first()
    if found is not None:
        return found
    say(f"Making the bitmaps of {visitors:,} visitors over {days} days ...")
    place = new_property(new_account(new_user("owner")), name="unfinished", timezone="UTC")
    dice = np.random.default_rng(visitors)
    own = {name: _skewed(dice, many, visitors) for name, many in FOR_GOOD.items()}
    with connections["worker"].cursor() as cursor:
        for day in range(days):
            _copy(cursor, place, FIRST_DAY + timedelta(days=day), _day(dice, own, visitors))
    place.name, place.first_event_at = name, FIRST_DAY
    place.save()
    return place


def _skewed(dice: np.random.Generator, values: int, many: int) -> np.ndarray:
    """Some values are frequent, most are rare."""
    return (values * dice.random(many) ** 3).astype(np.int64)


def _day(
    dice: np.random.Generator, own: dict[str, np.ndarray], visitors: int
) -> Iterator[tuple[str, str, np.ndarray]]:
    """(dimension, value, who) of a day."""
    people = np.sort(dice.choice(visitors, visitors // 10, replace=False))
    yield "", "", people + 1
    for name in FOR_GOOD:
        yield from _split(name, own[name][people], people)
    for name, many in BY_DAY.items():
        yield from _split(name, _skewed(dice, many, len(people)), people)


def _split(
    name: str, values: np.ndarray, people: np.ndarray
) -> Iterator[tuple[str, str, np.ndarray]]:
    for number in np.unique(values).tolist():
        yield name, value(name, number), people[values == number] + 1


def _copy(cursor: Any, place: Any, day: datetime, rows: Iterator[Any]) -> None:
    from pyroaring import BitMap

    def lines() -> Iterator[tuple[Any, ...]]:
        for dimension, text, who in rows:
            bits = BitMap(who.astype(np.uint32))
            bits.run_optimize()
            yield place.account_id, place.pk, "d", day, dimension, text, bits.serialize()

    marks = ", ".join(["%s"] * len(COLUMNS))
    cursor.executemany(f"INSERT INTO bitmaps ({', '.join(COLUMNS)}) VALUES ({marks})", lines())


# -- segments ----------------------------------------------------------------------------------


def _leaf(dice: random.Random, operator: str, *names: str) -> Filter:
    name = dice.choice(names)
    many = {**FOR_GOOD, **BY_DAY}[name]
    return [operator, name, [value(name, int(many * dice.random() ** 3))]]


def one_value(dice: random.Random) -> Filter:
    return _leaf(dice, "is", *FOR_GOOD, *BY_DAY)


def any_of_three(dice: random.Random) -> Filter:
    return ["or", *(one_value(dice) for _ in range(3))]


def of_visitors(dice: random.Random) -> Filter:
    """From a country at some time, with a signup and without an order at others, say."""
    return [
        "and",
        ["visitor", one_value(dice)],
        _leaf(dice, "has_done", "event", "page"),
        ["not", _leaf(dice, "has_done", "event")],
    ]


def all_but_one(dice: random.Random) -> Filter:
    return _leaf(dice, "is_not", *FOR_GOOD)


KINDS: tuple[Callable[[random.Random], Filter], ...] = (
    one_value, any_of_three, of_visitors, all_but_one,
)  # fmt: skip


def measure(place: Any, visitors: int, days: int, kind: Any, many: int, seed: int = 1) -> Measured:
    """Count who is in segments of a kind, over all of the days."""
    dice = random.Random(seed)
    last = FIRST_DAY + timedelta(days=days - 1)
    within = {"from": f"{FIRST_DAY:%Y-%m-%d}", "to": f"{last:%Y-%m-%d}"}
    bodies = (
        {"metrics": ["visitors"], "filters": kind(dice), "range": within} for _ in range(many)
    )
    crowd = generated.History(10 * visitors, days)
    return questions.measure(kind.__name__.replace("_", " "), place, crowd, bodies)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--visitors", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--questions", type=int, default=40)
    parser.add_argument("--home", type=Path, help="where it is kept")
    asked = parser.parse_args()
    with generated.servers(asked.home):
        place = made(asked.visitors, asked.days)
        rows = [questions.HEAD, questions.row(questions.yardstick())]
        for kind in KINDS:
            found = measure(place, asked.visitors, asked.days, kind, asked.questions)
            rows.append(questions.row(found))
    print(questions.table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
