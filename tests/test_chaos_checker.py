"""The parts of `make chaos` that decide: a checker that cannot fail proves nothing."""

from collections import deque
from datetime import UTC, datetime

import pytest

from tests.instruments.chaos import journal
from tests.instruments.chaos.checker import (
    Verdict,
    count_by_day,
    differences,
    judge,
    session_starts,
)
from tests.instruments.chaos.clients import DAY_MS, Maker
from tests.instruments.chaos.journal import Sent, Writer
from tests.instruments.chaos.power_cut import order_of
from tests.instruments.chaos.product import Place

A, B, C, D = (bytes([n]) * 16 for n in range(4))
MINUTE = 60_000
NOON = 1_772_625_600_000  # 2026-03-04 12:00 UTC


def verdict_of(attempted, acknowledged, stored):
    return judge(set(attempted), set(acknowledged), stored)


def test_all_is_well():
    verdict = verdict_of([A, B, C], [A, B], {A: 1, B: 1})
    assert verdict == Verdict(3, 2, lost=0, recovered=0, unexpected=0, doubled=0)
    assert verdict.holds


@pytest.mark.parametrize(
    ("acknowledged", "stored", "wrong"),
    [
        ([A, B], {A: 1}, {"lost": 1}),
        ([A], {A: 3}, {"doubled": 2}),
        ([A], {A: 1, D: 1}, {"unexpected": 1}),
        ([], {D: 2}, {"unexpected": 1, "doubled": 1}),
    ],
)
def test_what_is_wrong_is_counted(acknowledged, stored, wrong):
    verdict = verdict_of([A, B, C], acknowledged, stored)
    names = ("lost", "doubled", "unexpected")
    assert {name: getattr(verdict, name) for name in names if getattr(verdict, name)} == wrong
    assert not verdict.holds


def test_stored_without_an_answer_is_allowed():
    verdict = verdict_of([A, B], [A], {A: 1, B: 1})
    assert (verdict.recovered, verdict.holds) == (1, True)


def test_words_of_the_ledger_are_enough_to_fail():
    verdict = verdict_of([A], [A], {A: 1})
    verdict.faults.append("the ledger does not close")
    assert not verdict.holds


def test_sessions_are_cut_by_more_than_half_an_hour():
    events = [Sent(0, 7, NOON + minutes * MINUTE, True) for minutes in (0, 30, 61, 10)]
    assert sorted(session_starts(events)) == [NOON, NOON + 61 * MINUTE]


def test_numbers_are_compared_by_day():
    def day_of(ms):
        return datetime.fromtimestamp(ms / 1000, UTC).date().isoformat()

    events = [Sent(0, 1, NOON, True), Sent(0, 1, NOON + 1, False), Sent(0, 2, NOON, True)]
    expected = count_by_day(events, day_of)
    right = {"events": 3, "pageviews": 2, "visitors": 2, "sessions": 2}
    assert expected == {"2026-03-04": right}
    place = Place("AK-X", "UTC", 1, "{1:1}:s")
    assert differences(place, "the report", expected, expected) == []
    told = {"2026-03-04": right | {"visitors": 1}}
    assert differences(place, "the report", told, expected) == [
        "UTC 2026-03-04: the report has 1 visitors, 2 are right"
    ]
    assert len(differences(place, "the report", {}, expected)) == 4


def test_the_journal_is_read_as_it_was_written(tmp_path):
    writer = Writer(tmp_path / "one.journal")
    sent = Sent(2, 19_999, NOON, True)
    writer.attempt(A, sent)
    writer.attempt(B, sent)
    writer.acknowledge(A)
    writer.refuse(B)
    writer.close()
    with (tmp_path / "one.journal").open("ab") as file:
        file.write(b"a half")
    found = journal.read(tmp_path)
    assert found.attempted == {A: sent, B: sent}
    assert (found.acknowledged, found.refused) == ({A}, {B})


ALWAYS = [
    '100 12:00:00.1 write(9, "*3..XADD"..., 60) = 60',
    "100 12:00:00.2 fdatasync(9) = 0",
    '100 12:00:00.3 write(12, "*3..ok"..., 30) = 30',
]


def test_an_answer_after_the_sync_is_right():
    order = order_of(ALWAYS, {9}, {12})
    assert (order.answers, order.synced, order.holds) == (1, 1, True)


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([ALWAYS[0], ALWAYS[2], ALWAYS[1]], id="too early"),
        pytest.param([ALWAYS[0], ALWAYS[2]], id="never synced"),
        pytest.param(
            [ALWAYS[0], "100 12:00:00.2 fdatasync(9) = -1 EIO (Input/output error)", ALWAYS[2]],
            id="not synced",
        ),
        pytest.param([ALWAYS[2]], id="nothing written"),
    ],
)
def test_any_other_order_is_found_out(lines):
    assert not order_of(lines, {9}, {12}).holds


def test_the_load_holds_what_it_promises():
    """Repeated, late and overtaken events are there, and every payload has one id."""
    maker = Maker("seed", places=3, largest=50, recent=deque(maxlen=2_000))
    requests = [maker.next() for _ in range(600)]
    sent = [event for events in requests for event in events]
    payloads = {event.id: event.payload for event in sent}
    assert all(event.payload == payloads[event.id] for event in sent)
    assert all(len({(event.place, event.by_pixel) for event in events}) == 1 for events in requests)
    again = len(sent) - len(payloads)
    assert 0.05 < again / len(sent) < 0.15
    now = max(event.sent.time for event in sent)
    late = sum(event.sent.time < now - DAY_MS for event in sent)
    assert 0.02 < late / len(sent) < 0.09
    assert any(len(events) == 1 and events[0].by_pixel for events in requests)
