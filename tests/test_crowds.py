"""Counting in columns against counting one by one."""

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from tracking import crowds
from tracking.looks import Look, pack

LETTERS = {"": "", "new": "\0\1n", "returning": "\0\1r", "loyal": "\0\1l"}
STATES = ("hidden", "visible", "engaged")


def some(dice: Random, looks: int, pages: int) -> dict[Look, int]:
    """Look -> visitors; few values, so that many have equally many."""
    found: Counter[Look] = Counter()
    for _ in range(looks):
        page = dice.choice(("", "/ä", f"/{dice.randrange(pages)}"))
        texts = (page, dice.choice(("", "letter")), "", dice.choice(("DE", "SE")), "desktop")
        found[Look(dice.randrange(3), *texts, dice.choice(tuple(LETTERS)))] += dice.randrange(
            1, 300
        )
    return dict(found)


def crowd_of(counts: dict[Look, int]) -> crowds.Crowd:
    return crowds.of({as_kept(look): b"%d" % count for look, count in counts.items()})


def as_kept(look: Look) -> bytes:
    return pack(STATES[look.rank], *look[1:6]) + LETTERS[look.visit].encode()


def plainly(counts: dict[Look, int], dimension: str, most: int) -> list[Any]:
    """(value, states, new, known) of the most visited, counted one by one."""
    rows: dict[str, list[Any]] = {}
    for look, count in counts.items():
        row = rows.setdefault(getattr(look, dimension), [[0, 0, 0], 0, 0])
        row[0][look.rank] += count
        row[1] += count * (look.visit == "new")
        row[2] += count * (look.visit != "")
    ranked = sorted(rows.items(), key=lambda item: (-sum(item[1][0]), item[0]))
    return [(value, *row) for value, row in ranked if value][:most]


@pytest.mark.parametrize(("looks", "pages"), [(0, 1), (1, 1), (40, 3), (3_000, 1_000)])
def test_columns_count_what_one_by_one_counts(looks: int, pages: int) -> None:
    """Small crowds, too, beside a table that knows far more than they show."""
    counts = some(Random(looks), looks, pages)
    crowd = crowd_of(counts)
    of = Counter[Any]()
    for look, count in counts.items():
        of.update({look.rank: count, look.visit: count})
    assert crowd.states == [of[rank] for rank in range(3)]
    assert crowd.visits == {visit: of[visit] for visit in LETTERS if visit}
    for dimension in crowds.DIMENSIONS:
        for most in (1, 7, 5_000):
            found = crowd.ranked(dimension, most, with_visits=True)
            assert [tuple(row) for row in found] == plainly(counts, dimension, most)


def test_a_filter_of_columns_is_that_of_each_look() -> None:
    from reports.filters import parse
    from reports.realtime import Asked

    counts = some(Random(1), 2_000, 50)
    crowd = crowd_of(counts)
    for asked in [
        ["is", "page", ["/7", "/ä", "/never"]],
        ["is_not", "source", ["letter"]],
        ["contains", "page", ["3"]],
        ["matches", "page", ["/1*"]],
        ["is", "visit", ["new", "loyal"]],
        ["not", ["or", ["is", "page", [""]], ["is", "country", ["DE"]]]],
        ["and", ["is_not", "visit", ["new"]], ["contains", "page", ["2", "4"]]],
    ]:
        question = Asked(parse(asked))
        fitting = {look: count for look, count in counts.items() if question.fits(look)}
        assert 0 < len(fitting) < len(counts)
        chosen = question.chosen(crowd)
        assert chosen.ranked("page", 100) == crowd_of(fitting).ranked("page", 100)
        assert sum(chosen.states) == sum(fitting.values())


def test_crowds_of_two_tables_are_one_when_put_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table is bounded: a full one is left to what was counted by it."""
    monkeypatch.setattr(crowds, "REMEMBERED", 100)
    dice = Random(2)
    several = [some(dice, 200, 20) for _ in range(3)]
    every = [crowd_of(counts) for counts in several]
    assert len({id(crowd.table) for crowd in every}) == 3
    total: Counter[Look] = Counter()
    for counts in several:
        total.update(counts)
    found = crowds.together(every)
    assert found.ranked("page", 50) == crowd_of(dict(total)).ranked("page", 50)
    assert sum(crowds.together([]).states) == 0


def test_a_look_is_taken_apart_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a count of a hundred thousand visitors would cost half a second each second."""
    taken: list[bytes] = []
    real: Callable[[bytes], Any] = crowds.looks.parts

    def parts(look: bytes) -> Any:
        taken.append(look)
        return real(look)

    monkeypatch.setattr(crowds.looks, "parts", parts)
    counts = some(Random(3), 300, 300)
    counts = {look._replace(source="once"): count for look, count in counts.items()}
    for _ in range(3):
        crowd_of(counts)
    assert len(taken) == len({look._replace(rank=0) for look in counts}) < len(counts)
