"""The instruments about the drain: what they send, and that they notice what is wrong."""

from collections import Counter
from itertools import pairwise

import pytest

from tests.instruments.draining import NotOnce, check
from tests.instruments.outage import WAYS, Outage, faults
from tests.instruments.traffic import LONGEST, SHORTEST, Traffic, steps

BALANCE = {"stored": 100, "adds_up": True, "differences": {}}
GOOD = [Outage(way, 30, 9_000, 2_000_000, 5.9) for way in WAYS]


def test_traffic_comes_in_order_at_its_rate_and_the_same_each_time():
    traffic = Traffic(events=5_000, rate=50, properties=3)
    found = list(steps(traffic))
    assert found == list(steps(traffic))
    assert found != list(steps(traffic, day=1))
    assert all(before.second <= after.second for before, after in pairwise(found))
    assert {step.property for step in found} == {0, 1, 2}
    assert 45 < len(found) / (found[-1].second - found[0].second) < 55


def test_visits_of_new_visitors_are_whole():
    events = list(steps(Traffic(events=30_000, rate=10, all_new=True)))
    ended = {step.visitor for step in events if step.is_last}
    began = 2_000  # of the first, a part lies before the day
    lengths = Counter(step.visitor for step in events if step.visitor in ended)
    whole = {length for visitor, length in lengths.items() if visitor > began}
    assert whole == set(range(SHORTEST, LONGEST + 1))
    tomorrow = {step.visitor for step in steps(Traffic(events=1_000, rate=10, all_new=True), day=1)}
    assert tomorrow.isdisjoint(step.visitor for step in events)


@pytest.mark.parametrize(("stored", "found"), [(9, 10), (10, 9), (11, 11), (9, 9)])
def test_a_drain_that_loses_or_doubles_is_noticed(stored, found):
    check({"events": 10}, {"stored": 10, "found": 10})
    with pytest.raises(NotOnce):
        check({"events": 10}, {"stored": stored, "found": found})


def test_a_good_outage_has_no_faults():
    assert faults(GOOD, {}, 100, BALANCE) == []


@pytest.mark.parametrize(
    ("outages", "refused", "acknowledged", "balance"),
    [
        ([Outage("frozen", 30, 9_000, 1, 6.1)], {}, 100, BALANCE),
        ([Outage("frozen", 30, 9_000, 1, None)], {}, 100, BALANCE),
        ([Outage("frozen", 30, 0, 1, 0.1)], {}, 100, BALANCE),
        (GOOD, {"503": 1}, 100, BALANCE),
        (GOOD, {}, 101, BALANCE),
        (GOOD, {}, 99, BALANCE),
        (GOOD, {}, 100, BALANCE | {"adds_up": False, "differences": {"ledger": 1}}),
    ],
)
def test_every_fault_of_an_outage_is_noticed(outages, refused, acknowledged, balance):
    assert len(faults(outages, refused, acknowledged, balance)) == 1
