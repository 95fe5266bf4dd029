"""The rule "unusual for this hour": by table, and on a history that was written down."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.people import new_property

STEADY = [100.0] * 8


@pytest.mark.parametrize(
    ("weeks", "hours", "count", "verdict"),
    [
        # steady: the root of 100 is 10, and so is a tenth; 35 to either side
        (STEADY, [], 135, "normal"),
        (STEADY, [], 136, "spike"),
        (STEADY, [], 65, "normal"),
        (STEADY, [], 64, "drop"),
        # one strange week moves nothing; where every week is another, little is strange
        ([100.0] * 7 + [5_000.0], [], 136, "spike"),
        ([40.0, 160.0, 60.0, 140.0, 80.0, 120.0, 100.0, 100.0], [], 200, "normal"),
        ([40.0, 160.0, 60.0, 140.0, 80.0, 120.0, 100.0, 100.0], [], 300, "spike"),
        # nobody, always: ten are noticed, fewer are not
        ([0.0] * 8, [], 10, "normal"),
        ([0.0] * 8, [], 11, "spike"),
        ([0.0] * 8, [], 0, "normal"),
        # tiny: a handful more or nobody at all is no news
        ([3.0] * 8, [], 0, "normal"),
        ([3.0] * 8, [], 13, "normal"),
        ([3.0] * 8, [], 14, "spike"),
        ([13.0] * 8, [], 0, "drop"),
        # large: a tenth of it, not the root, is the least spread
        ([10_000.0] * 8, [], 13_000, "normal"),
        ([10_000.0] * 8, [], 13_501, "spike"),
        ([10_000.0] * 8, [], 6_499, "drop"),
        # too few weeks: by the last hours, which forgive a morning that rises
        ([100.0] * 3, [100.0] * 6, 187, "normal"),
        ([100.0] * 3, [100.0] * 6, 188, "spike"),
        ([], [100.0] * 3, 12, "drop"),
        ([], [20.0, 40.0, 80.0], 130, "normal"),
        # too little of everything
        ([100.0] * 3, [100.0] * 2, 100_000, "unknown"),
        ([], [], 0, "unknown"),
    ],
)
def test_what_is_unusual(weeks: list[float], hours: list[float], count: int, verdict: str) -> None:
    from tracking.unusual import judge, usual

    assert judge(count, usual(weeks, hours)) == verdict


NUMBERS = st.lists(st.integers(0, 100_000).map(float), min_size=4, max_size=8)


@settings(max_examples=60, deadline=None)
@given(NUMBERS, st.integers(0, 200_000), st.integers(1, 1_000))
def test_more_is_never_less_unusual_and_the_middle_is_usual(
    history: list[float], count: int, more: int
) -> None:
    from tracking.unusual import judge, usual

    expected = usual(history, [])
    assert expected is not None
    order = ["drop", "normal", "spike"]
    few, many = (order.index(judge(n, expected)) for n in (count, count + more))
    assert few <= many
    assert judge(round(expected.median), expected) == "normal"
    assert expected.low <= expected.median <= expected.high


@pytest.mark.parametrize(
    ("zone", "now", "starts"),
    [
        ("UTC", "2026-03-11T12:40Z", ["2026-03-04T12:00Z", "2026-02-25T12:00Z"]),
        # Berlin, Monday 09:00: an hour later in UTC before the clocks were put forward
        ("Europe/Berlin", "2026-03-30T07:10Z", ["2026-03-23T08:00Z", "2026-03-16T08:00Z"]),
        # 02:00 of a Sunday, which 29 March did not have
        ("Europe/Berlin", "2026-04-05T00:30Z", ["2026-03-22T01:00Z"]),
        # and which 26 October 2025 had twice
        ("Europe/Berlin", "2025-11-02T01:30Z", ["2025-10-26T01:00Z", "2025-10-26T00:00Z"]),
        # hours that begin at a quarter, and a zone whose clocks jump by half an hour
        ("Asia/Kathmandu", "2026-03-11T12:40Z", ["2026-03-04T12:15Z"]),
        ("Australia/Lord_Howe", "2026-04-06T23:00Z", ["2026-03-30T22:00Z"]),
    ],
)
def test_the_same_hour_is_that_of_the_wall(zone: str, now: str, starts: list[str]) -> None:
    from properties import periods
    from tracking.unusual import same_hours

    found = same_hours(datetime.fromisoformat(now), periods.zone(zone))
    assert [hour.start for hour in found][: len(starts)] == [
        datetime.fromisoformat(start) for start in starts
    ]


def test_the_last_hours_lie_side_by_side() -> None:
    from properties.periods import zone
    from tracking.unusual import last_hours

    now = datetime(2026, 10, 25, 1, 30, tzinfo=UTC)  # the second 02:30
    hours = last_hours(now, zone("Europe/Berlin"))
    assert hours[0].end == datetime(2026, 10, 25, 1, tzinfo=UTC)
    assert all(later.start == earlier.end for later, earlier in pairwise(hours))
    assert {hour.length for hour in hours} == {timedelta(hours=1)}


def test_history_is_read_of_the_hours_in_which_somebody_looked() -> None:
    from tracking import unusual
    from tracking.models import Concurrency, SampledHour

    now = datetime(2026, 7, 15, 9, 20, tzinfo=UTC)
    place = new_property()
    place.first_event_at = now - timedelta(weeks=6)
    assert unusual.now(place, 500, now)["verdict"] == "unknown"
    unusual._usual.cache_clear()

    def hour(week: int, average: int, rounds: int) -> None:
        start = (now - timedelta(weeks=week)).replace(minute=0)
        SampledHour.objects.using("worker").create(hour=start, rounds=[rounds] * 60)
        if average:
            row: dict[str, Any] = {"account_id": place.account_id, "property_id": place.pk}
            row |= {"grain": "h", "starts_at": start, "pages": {}, "sources": {}}
            numbers = [average, 0, 0, average * rounds * 60, 0, 0]
            Concurrency.objects.using("worker").create(**row, numbers=numbers)

    for week, average, rounds in [
        (1, 100, 12),
        (2, 110, 12),
        (3, 90, 0),  # nobody looked
        (4, 100, 6),
        (5, 0, 12),  # nobody was there
        (7, 0, 12),  # before the first event
    ]:
        hour(week, average, rounds)
    found = unusual.now(place, 500, now)
    assert found["verdict"] == "spike"
    assert (found["median"], found["basis"], found["hours"]) == (100, "weeks", 4)
    assert found["text"] == "Unusually many for this hour: 65 to 135 are usual."
    usual = unusual.now(place, 100, now)
    assert (usual["verdict"], usual["text"]) == ("normal", "")
