"""What it costs to ask who is in a segment, of a million visitors: made in a few minutes.

In: how many visitors, and days. Out: for each kind of segment milliseconds on the clock and of CPU,
and how many statements it took. The property has no rows of events, only what rollups and packing
would keep of them by day: bitmaps and columns of a tenth of the visitors each day, each with a
country, device, browser, system and channel for good, with a source and campaign that differ by
day, and with one event to seven, each with a name and a page of its own; in no order, as visits
come. Run as

    python -m tests.instruments.crowded [--visitors 1000000] [--days 30] [--questions 40]

Filters that must hold together on one session or on one event are counted from the columns, all
others from bitmaps.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from tests.instruments import generated, questions
from tests.instruments.questions import Measured

FIRST_DAY = datetime(2025, 1, 1, tzinfo=UTC)
FOR_GOOD = {"country": 28, "device": 4, "browser": 12, "os": 7, "channel": 12}  # name -> values
BY_DAY = {"source": 40, "campaign": 40}
BY_EVENT = {"event": 20, "page": 1_000}
LONGEST = 7  # events of a visit; four of the usual one
COLUMNS = ("account_id", "property_id", "grain", "starts_at", "dimension", "value", "bits")
Filter = list[Any]


def value(dimension: str, number: int) -> str:
    return f"{dimension}-{number}"


def made(visitors: int, days: int, say: Any = print) -> Any:
    """The property with these bitmaps, made at the first time."""
    from django.db import connections

    from properties.models import Property
    from tests.people import new_account, new_property, new_user

    name = f"crowd of {visitors} in {days} days, with columns and postings of visits of any length"
    found = Property.objects.across_accounts().using("worker").filter(name=name).first()
    if found is not None:
        return found
    say(f"Making the bitmaps and columns of {visitors:,} visitors over {days} days ...")
    place = new_property(new_account(new_user("owner")), name="unfinished", timezone="UTC")
    dice = np.random.default_rng(visitors)
    own = {name: _skewed(dice, many, visitors) for name, many in FOR_GOOD.items()}
    with connections["worker"].cursor() as cursor:
        for day in range(days):
            start = FIRST_DAY + timedelta(days=day)
            drawn = _draw(dice, own, visitors)
            _copy(cursor, place, start, drawn.bitmaps())
            _pack(cursor, place, start, drawn)
    place.name, place.first_event_at = name, FIRST_DAY
    place.save()
    return place


def _skewed(dice: np.random.Generator, values: int, many: int) -> np.ndarray:
    """Some values are frequent, most are rare."""
    return (values * dice.random(many) ** 3).astype(np.int64)


@dataclass
class Drawn:
    """A day: who came, and with how many events; of each the numbers of her values, and of each of
    her events."""

    people: np.ndarray
    lengths: np.ndarray
    of_sessions: dict[str, np.ndarray]
    of_events: dict[str, np.ndarray]

    def bitmaps(self) -> Iterator[tuple[str, str, np.ndarray]]:
        """(dimension, value, who)."""
        yield "", "", self.people + 1
        for name, values in self.of_sessions.items():
            yield from _split(name, values, self.people)
        for name, values in self.of_events.items():
            yield from _split(name, values, np.repeat(self.people, self.lengths))

    def columns(self) -> Iterator[tuple[str, bytes]]:
        """As reports/packing.py would pack them; visits do not reach over midnight."""
        from properties.periods import Span
        from reports import blocks, packing, postings
        from reports.columns import make_texts

        many = len(self.people)
        block = blocks.Block(Span(FIRST_DAY, FIRST_DAY))
        block.data[blocks.VISITOR] = self.people + 1
        block.data[blocks.START] = np.arange(many) * 864_000
        block.data[blocks.CROSSES] = np.zeros(many, dtype=np.int64)
        block.data[blocks.LENGTHS] = self.lengths
        for kind, drawn in (("session", self.of_sessions), ("event", self.of_events)):
            for name, numbers in drawn.items():
                known, codes = np.unique(numbers, return_inverse=True)
                texts = make_texts([value(name, number) for number in known.tolist()], codes)
                block.data[f"{kind}:{name}"] = texts
        for name in BY_EVENT:
            block.data |= postings.postings_of(block, name)
        return packing.packed(block)


def _draw(dice: np.random.Generator, own: dict[str, np.ndarray], visitors: int) -> Drawn:
    people = dice.choice(visitors, visitors // 10, replace=False)
    many = len(people)
    lengths = dice.integers(1, LONGEST + 1, many)
    by_day = {name: _skewed(dice, values, many) for name, values in BY_DAY.items()}
    return Drawn(
        people,
        lengths,
        {name: numbers[people] for name, numbers in own.items()} | by_day,
        {name: _skewed(dice, values, int(lengths.sum())) for name, values in BY_EVENT.items()},
    )


def _split(
    name: str, values: np.ndarray, people: np.ndarray
) -> Iterator[tuple[str, str, np.ndarray]]:
    order = np.argsort(values, kind="stable")
    known, first = np.unique(values[order], return_index=True)
    for number, who in zip(known.tolist(), np.split(people[order], first[1:]), strict=True):
        yield name, value(name, number), who + 1


def _pack(cursor: Any, place: Any, day: datetime, drawn: Drawn) -> None:
    cursor.execute(
        "INSERT INTO packed_days"
        " (account_id, property_id, starts_at, ends_at, state, changed_at, props)"
        " VALUES (%s, %s, %s, %s, 'd', %s, true)",
        [place.account_id, place.pk, day, day + timedelta(days=1), day],
    )
    cursor.executemany(
        "INSERT INTO columns (account_id, property_id, starts_at, name, bits)"
        " VALUES (%s, %s, %s, %s, %s)",
        [(place.account_id, place.pk, day, *column) for column in drawn.columns()],
    )


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
    many = {**FOR_GOOD, **BY_DAY, **BY_EVENT}[name]
    return [operator, name, [value(name, int(many * dice.random() ** 3))]]


def one_value(dice: random.Random) -> Filter:
    return _leaf(dice, "is", *FOR_GOOD, *BY_DAY, *BY_EVENT)


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


def two_of_a_session(dice: random.Random) -> Filter:
    """From a source and with a device, in one and the same visit."""
    return ["and", _leaf(dice, "is", *BY_DAY), _leaf(dice, "is", *FOR_GOOD)]


def three_of_a_session(dice: random.Random) -> Filter:
    other = ["or", *(_leaf(dice, "is", *FOR_GOOD) for _ in range(2))]
    return ["and", _leaf(dice, "is", *BY_DAY), _leaf(dice, "is_not", *FOR_GOOD), other]


def page_in_a_session(dice: random.Random) -> Filter:
    """A page that was seen in a visit from that source."""
    return ["and", _leaf(dice, "is", *BY_EVENT), _leaf(dice, "is", *BY_DAY, *FOR_GOOD)]


def segment_and_filter(dice: random.Random) -> Filter:
    """As a report narrowed to a segment asks: its members, in the visits of a source."""
    return ["and", ["visitor", two_of_a_session(dice)], _leaf(dice, "is", *BY_DAY)]


Kinds = tuple[Callable[[random.Random], Filter], ...]
OF_VISITORS: Kinds = (one_value, any_of_three, of_visitors, all_but_one)
OF_SESSIONS: Kinds = (
    two_of_a_session,
    three_of_a_session,
    page_in_a_session,
    segment_and_filter,
)
KINDS = OF_VISITORS + OF_SESSIONS


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
