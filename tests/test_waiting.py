"""Whose turn it is, and who is turned away: without clock or network."""

from collections import Counter
from typing import Any

import pytest

NOW = 1_790_000_000_000


def record(number: int, version: int = 1) -> Any:
    from types import SimpleNamespace

    return SimpleNamespace(prefix=f"{{1:{number}}}", version=version, visitor_limit=10)


class Sender:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Exception | None]] = []

    def __call__(self, verdicts: str, error: Exception | None) -> None:
        self.heard.append((verdicts, error))


def ticket(of: Any, items: int = 1, now: int = NOW) -> Any:
    from tracking.waiting import Ticket

    item = (b"o", False, None, None, 1, b"i" * 16, b"v" * 16, b"", b"row")
    return Ticket(of, Counter(), [item] * items, now, Sender())


def told(made: Any) -> Any:
    return made.tell.heard


def test_requests_of_a_property_share_a_call_in_their_order() -> None:
    from tracking.waiting import Waiting

    waiting, shop = Waiting(), record(1)
    tickets = [ticket(shop, items) for items in (1, 3, 2)]
    for each in tickets:
        waiting.add([each])
    (call,) = waiting.next_calls()
    assert call.tickets == tickets
    assert (waiting.items, waiting.bytes, waiting.next_calls()) == (0, 0, [])
    call.settle("adacaa")
    assert [told(each) for each in tickets] == [[("a", None)], [("dac", None)], [("aa", None)]]


def test_verdicts_that_do_not_fit_are_told_to_nobody() -> None:
    from tracking.waiting import Waiting

    waiting, each = Waiting(), ticket(record(1), 2)
    waiting.add([each])
    (call,) = waiting.next_calls()
    with pytest.raises(ValueError, match="fit"):
        call.settle("a")
    assert told(each) == []


def test_an_answer_that_fails_costs_no_other_its_own() -> None:
    from tracking.waiting import Waiting

    waiting, shop = Waiting(), record(1)
    bad, good = ticket(shop), ticket(shop)

    def broken(verdicts: str, error: Exception | None) -> None:
        raise RuntimeError

    bad.tell = broken
    waiting.add([bad])
    waiting.add([good])
    (call,) = waiting.next_calls()
    call.settle("ad")
    assert told(good) == [("d", None)]


@pytest.mark.parametrize("second", [(2, NOW), (1, NOW + 3_600_000)], ids=["version", "hour"])
def test_versions_and_hours_do_not_share_a_call(second: tuple[int, int]) -> None:
    from tracking.waiting import Waiting

    waiting = Waiting()
    version, now = second
    waiting.add([ticket(record(1))])
    waiting.add([ticket(record(1, version), now=now)])
    assert [len(call.tickets) for call in waiting.next_calls()] == [1]
    assert [len(call.tickets) for call in waiting.next_calls()] == [1]


def test_a_round_trip_is_bounded_and_properties_take_turns() -> None:
    from tracking.items import CALL_ITEMS
    from tracking.waiting import Waiting

    waiting = Waiting()
    for _ in range(3 * CALL_ITEMS):
        waiting.add([ticket(record(1))])
    for _ in range(5):
        waiting.add([ticket(record(2))])
    calls = {call.prefix: len(call.tickets) for call in waiting.next_calls()}
    assert calls == {"{1:1}": CALL_ITEMS - 5, "{1:2}": 5}


def test_a_large_batch_gets_its_turn_however_many_small_requests_come() -> None:
    from tracking.items import CALL_ITEMS
    from tracking.waiting import Waiting

    waiting, large = Waiting(), ticket(record(2), CALL_ITEMS)
    waiting.add([ticket(record(1))])
    waiting.add([large])
    for _ in range(3):
        waiting.add([ticket(record(1))])
        if any(large in call.tickets for call in waiting.next_calls()):
            return
    pytest.fail("it waits for ever")


def full(of: Any) -> tuple[Any, list[Any]]:
    from tracking.waiting import MOST_ITEMS, Waiting

    waiting = Waiting()
    tickets = [ticket(of) for _ in range(MOST_ITEMS)]
    for each in tickets:
        waiting.add([each])
    return waiting, tickets


def test_who_has_the_most_waiting_is_turned_away() -> None:
    from tracking.store import Busy

    big = record(1)
    waiting, tickets = full(big)
    assert not waiting.has_room_for(big.prefix)
    with pytest.raises(Busy):
        waiting.add([ticket(big)])
    assert not any(told(each) for each in tickets), "who waits already keeps its place"


def test_a_small_property_finds_room_in_another_ones_flood() -> None:
    from tracking.store import Busy
    from tracking.waiting import MOST_ITEMS

    big, small = record(1), record(2)
    waiting, tickets = full(big)
    assert waiting.has_room_for(small.prefix)
    mine = [ticket(small) for _ in range(3)]
    for each in mine:
        waiting.add([each])
    assert waiting.items == MOST_ITEMS
    turned_away = [each for each in tickets if told(each)]
    assert turned_away == tickets[-3:], "the newest ones of the longest line"
    assert all(isinstance(told(each)[0][1], Busy) for each in turned_away)
    first = {call.prefix: call.tickets for call in waiting.next_calls()}
    assert first[small.prefix] == mine
    assert not any(told(each) for each in mine)


def test_a_request_in_several_parts_is_taken_whole_or_not_at_all() -> None:
    from tracking.store import Busy

    big = record(1)
    waiting, _ = full(big)
    waiting.next_calls()
    items, size = waiting.items, waiting.bytes
    parts = [ticket(big, 256), ticket(big, 200)]
    with pytest.raises(Busy):
        waiting.add(parts)
    assert (waiting.items, waiting.bytes) == (items, size)


def test_two_floods_share_what_there_is() -> None:
    from tracking.store import Busy

    one, other = record(1), record(2)
    waiting, _ = full(one)
    taken = 0
    for _ in range(10_000):
        try:
            waiting.add([ticket(other)])
            taken += 1
        except Busy:
            break
    assert taken * 2 == pytest.approx(waiting.items, abs=2)


def test_when_the_server_is_lost_nobody_goes_on_waiting() -> None:
    from tracking.store import Unavailable
    from tracking.waiting import Waiting

    waiting = Waiting()
    tickets = [ticket(record(number)) for number in (1, 1, 2)]
    for each in tickets:
        waiting.add([each])
    waiting.turn_away("{1:1}", Unavailable())
    assert [len(told(each)) for each in tickets] == [1, 1, 0]
    waiting.turn_away(None, Unavailable())
    assert [len(told(each)) for each in tickets] == [1, 1, 1]
    assert (waiting.items, waiting.bytes, waiting.next_calls()) == (0, 0, [])


def test_an_unread_body_says_whose_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the queue is full, the property that floods is turned away before its JSON is read."""
    from tests.test_gather import in_a_loop
    from tracking import directory
    from tracking.gather import Gatherer

    big, small = record(1), record(2)
    known = {"AK-BIG": big, "AK-SMALL": small}

    def recall(name: str) -> Any:
        if name not in known:
            raise directory.Unknown
        return known[name]

    monkeypatch.setattr(directory, "recall", recall)

    async def ask() -> None:
        gatherer = Gatherer()
        assert not gatherer.turns_away(b'{"property":"AK-BIG"}')
        gatherer.waiting, _ = full(big)
        assert gatherer.turns_away(b'{"property":"AK-BIG"}')
        assert not gatherer.turns_away(b'{"name": "x", "property" : "AK-SMALL"}')
        assert gatherer.turns_away(b'{"property":"AK-UNKNOWN"}')
        assert gatherer.turns_away(b"\x1f\x8b")

    in_a_loop(ask())
