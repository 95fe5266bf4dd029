"""Calls shared by the requests that arrive together; warm, an event costs no SQL."""

import asyncio
import uuid
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.people import new_property


def pageview() -> dict[str, Any]:
    ids = {"event_id": str(uuid.uuid4()), "visitor": str(uuid.uuid4())}
    return {"name": "pageview", "url": "https://shop.example/p"} | ids


def script_runs() -> int:
    from tracking.store import events_client

    stats = events_client().info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("evalsha", "eval"))


def in_a_loop(work: Coroutine[Any, Any, Any]) -> Any:
    """In a thread of its own: Playwright may be running a loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def submit_many(place: Any, count: int) -> list[str]:
    from tracking.collecting import Origin, hear, now_ms
    from tracking.directory import Record
    from tracking.gather import Gatherer

    record = Record.of(place)

    async def one(gatherer: Gatherer) -> str:
        hearing = hear([pageview()], record, Origin(visitor_salt=b"s"), now_ms())
        return await gatherer.submit(record, hearing.refusals, hearing.items, now_ms())

    async def together() -> list[str]:
        gatherer = Gatherer()
        await one(gatherer)  # warms script and property
        before = script_runs()
        verdicts = await asyncio.gather(*(one(gatherer) for _ in range(count)))
        assert script_runs() - before < count / 10, "the requests did not share their calls"
        return verdicts

    return in_a_loop(together())


def test_requests_that_arrive_together_share_a_call() -> None:
    assert submit_many(new_property(), 300) == ["a"] * 300


@pytest.fixture(params=["plain", "cluster"])
def events(request: pytest.FixtureRequest, settings: Any) -> Iterator[str]:
    """Where events go: one server, or a real cluster of three."""
    from tracking import store

    if request.param == "cluster":
        settings.EVENTS_URL = request.getfixturevalue("cluster_url")
        store.events_client.cache_clear()
    yield request.param
    if request.param == "cluster":
        store.events_client.cache_clear()


@pytest.mark.usefixtures("events")
def test_several_properties_share_a_round_trip_and_keep_apart() -> None:
    from tests.test_store import ledger
    from tracking.collecting import Origin, hear, now_ms
    from tracking.directory import Record
    from tracking.gather import Gatherer

    places = [new_property() for _ in range(5)]

    async def together() -> list[str]:
        gatherer = Gatherer()
        waiting = []
        for number, place in enumerate(places):
            record = Record.of(place)
            payloads = [pageview() for _ in range(number + 1)] + [{"name": ""}]
            hearing = hear(payloads, record, Origin(visitor_salt=b"s"), now_ms())
            waiting.append(gatherer.submit(record, hearing.refusals, hearing.items, now_ms()))
        return await asyncio.gather(*waiting)

    verdicts = in_a_loop(together())
    assert [len(verdict) for verdict in verdicts] == [1, 2, 3, 4, 5]
    assert [ledger(place) for place in places] == [
        {"accepted": number + 1, "r.missing": 1} for number in range(5)
    ]


@pytest.mark.usefixtures("events")
def test_a_call_whose_connection_was_taken_before_it_was_sent_is_made_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As redis-py does while it learns the nodes of a cluster anew."""
    from tests.test_store import ledger
    from tracking.collecting import Origin, hear, now_ms
    from tracking.directory import Record
    from tracking.gather import Gatherer

    place, evaluate, taken = new_property(), Gatherer._evaluate, [1]

    def without_a_connection(target: object, call: object) -> object:
        async def send() -> object:
            if taken:
                taken.pop()
                raise AttributeError("'NoneType' object has no attribute 'writelines'")
            return await evaluate(target, call)

        return send()

    async def one() -> str:
        record = Record.of(place)
        hearing = hear([pageview()], record, Origin(visitor_salt=b"s"), now_ms())
        return await Gatherer().submit(record, hearing.refusals, hearing.items, now_ms())

    monkeypatch.setattr(Gatherer, "_evaluate", staticmethod(without_a_connection))
    assert len(in_a_loop(one())) == 1
    assert ledger(place) == {"accepted": 1}


def test_a_sender_that_hangs_up_leaves_no_other_waiting() -> None:
    """Two requests share the first call of a cold property; the first one's sender goes away."""
    from tracking.collecting import Origin, hear, now_ms
    from tracking.directory import Record
    from tracking.gather import Gatherer

    record = Record.of(new_property())

    async def together() -> str:
        gatherer = Gatherer()
        now = now_ms()

        async def one() -> str:
            hearing = hear([pageview()], record, Origin(visitor_salt=b"s"), now)
            return await gatherer.submit(record, hearing.refusals, hearing.items, now)

        first, second = asyncio.create_task(one()), asyncio.create_task(one())
        await asyncio.sleep(0)  # both are waiting, the call is about to go out
        first.cancel()
        return await asyncio.wait_for(second, 20)

    assert in_a_loop(together()) == "a"


def test_an_event_stands_in_the_hour_in_which_it_was_received() -> None:
    """Two requests of one call, on both sides of a full hour."""
    from tracking import keys
    from tracking.collecting import Origin, hear
    from tracking.directory import Record
    from tracking.gather import Gatherer
    from tracking.store import events_client

    place = new_property()
    record = Record.of(place)
    full = 500_000 * 3_600_000  # ms; a full hour in 2027

    async def together() -> None:
        gatherer = Gatherer()
        waiting = []
        for now in (full - 1, full, full + 1):
            hearing = hear([pageview()], record, Origin(visitor_salt=b"s"), now)
            waiting.append(gatherer.submit(record, hearing.refusals, hearing.items, now))
        await asyncio.gather(*waiting)

    in_a_loop(together())
    prefix = keys.prefix(place.account_id, place.pk)
    counted = [
        events_client().hget(keys.ledger(prefix, start), "accepted")
        for start in (full // 1_000 - 3_600, full // 1_000)
    ]
    assert counted == [b"1", b"2"]


def test_warm_means_no_sql_and_one_round_trip(django_assert_num_queries: Any) -> None:
    from tracking.collecting import Origin, collect
    from tracking.store import events_client

    place = new_property()
    collect(place, [pageview()], Origin(visitor_salt=b"s"))
    before = events_client().info("stats")["total_commands_processed"], script_runs()
    with django_assert_num_queries(0):
        collect(place, [pageview()], Origin(visitor_salt=b"s"))
    assert script_runs() - before[1] == 1


def test_a_silent_database_costs_a_503_and_no_request_that_hangs(monkeypatch: Any) -> None:
    import threading

    from tracking import store

    monkeypatch.setattr(store, "PATIENCE", 0.05)
    answers = threading.Event()

    async def ask() -> None:
        with pytest.raises(store.Unavailable):
            await store.in_thread(answers.wait, 60)
        answers.set()  # or the loop waits for the thread

    in_a_loop(ask())


def test_when_valkey_does_not_answer_nobody_hears_yes(settings: Any, tmp_path: Any) -> None:
    """503, not a hang and not a 202; and it is well again by itself."""
    import os
    import signal

    from aktivat.servers import start_valkey
    from tracking import store
    from tracking.collecting import Origin, collect

    valkey = start_valkey(tmp_path / "events", role="events")
    settings.EVENTS_URL = valkey.url
    store.events_client.cache_clear()
    try:
        place, event = new_property(), pageview()
        origin = Origin(visitor_salt=b"s")
        collect(place, [pageview()], origin)
        os.kill(valkey.pid, signal.SIGSTOP)
        with pytest.raises(store.Unavailable):
            collect(place, [event], origin)
        os.kill(valkey.pid, signal.SIGCONT)
        again = collect(place, [event], origin)
        assert again.accepted + again.duplicate == 1
        store.events_client().config_set("maxmemory", 1)
        with pytest.raises(store.Unavailable):
            collect(place, [pageview()], origin)
        store.events_client().config_set("maxmemory", 10**9)
        assert collect(place, [pageview()], origin).accepted == 1
    finally:
        valkey.stop()
        store.events_client.cache_clear()


def test_a_silent_valkey_costs_everybody_one_time_out(settings: Any, tmp_path: Any) -> None:
    """Two thousand requests behind a stopped server: all hear 503, none waits its turn for it."""
    import os
    import signal

    from aktivat.servers import start_valkey
    from tracking import store
    from tracking.collecting import Origin, collect, hear, now_ms
    from tracking.directory import Record
    from tracking.gather import Gatherer

    valkey = start_valkey(tmp_path / "events", role="events")
    settings.EVENTS_URL = valkey.url
    store.events_client.cache_clear()
    try:
        place = new_property()
        record, origin = Record.of(place), Origin(visitor_salt=b"s")
        collect(place, [pageview()], origin)

        class Counted(Gatherer):
            asked = 0

            async def _ask(self, calls: Any) -> Any:
                self.asked += 1
                return await super()._ask(calls)

        async def together() -> tuple[int, list[Any]]:
            gatherer = Counted()

            async def one() -> Any:
                hearing = hear([pageview()], record, origin, now_ms())
                return await gatherer.submit(record, hearing.refusals, hearing.items, now_ms())

            await one()
            os.kill(valkey.pid, signal.SIGSTOP)
            before = gatherer.asked
            answers = await asyncio.gather(*(one() for _ in range(2_000)), return_exceptions=True)
            asked = gatherer.asked - before
            os.kill(valkey.pid, signal.SIGCONT)
            assert await one() == "a", "it is well again by itself"
            return asked, answers

        asked, answers = in_a_loop(together())
        assert {type(answer) for answer in answers} == {store.Unavailable}
        assert asked == 1, "eight calls' worth of requests, one time-out"
    finally:
        valkey.stop()
        store.events_client.cache_clear()
