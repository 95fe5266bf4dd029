"""Who is here now: the numbers against a plain count, and how many readers share one."""

import uuid
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.instruments.live.truth import NUMBERS, STATES, Plainly
from tests.people import new_property

# -- against a plain count -------------------------------------------------------------------------


PAGES = ("/a", "/b")
STEPS = st.tuples(
    st.integers(0, 40_000),  # ms that pass
    st.lists(
        st.tuples(
            st.integers(0, 3),
            st.integers(0, 2),
            st.sampled_from((*STATES, "gone", "viewed")),
            st.sampled_from((1_000, 15_000, 90_000)),
            st.sampled_from(PAGES),
        ),
        max_size=5,
    ),
    st.booleans(),  # whether somebody looks in between
)


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, min_size=1, max_size=12))
def test_every_number_at_every_moment_is_that_of_a_plain_count(steps: list[Any]) -> None:
    """Visitors that come, idle, open tabs, hide them, change the page, view one, go or are lost;
    several of them in one call."""
    from tracking import keys, store
    from tracking.collecting import collect, now_ms
    from tracking.live import snapshot

    place, plain, now = new_property(), Plainly(), now_ms()
    ids = [[str(uuid.uuid4()) for _ in range(4)] for _ in range(2)]
    for passed, pings, is_watched in steps:
        now += passed
        beats = []
        for who, tab, state, next_ms, page in pings:
            shown = {"visitor": ids[0][who], "tab": ids[1][tab], "url": f"https://a.example{page}"}
            if state == "viewed":
                plain.view(now, who, tab, page)
                beats.append(shown | {"name": "pageview"})
            else:
                plain.ping(now, who, tab, state, next_ms, page)
                beats.append(shown | {"name": "ping", "state": state, "next_ms": next_ms})
        collect(place, beats, now=now)
        if is_watched:
            found = snapshot(place, now)
            assert {name: found[name] for name in NUMBERS} == plain.numbers(now)
            by_page = {row["page"]: row for row in found["pages"]}
            for page in PAGES:
                numbers = by_page.get(page, dict.fromkeys(NUMBERS, 0))
                assert {name: numbers[name] for name in NUMBERS} == plain.numbers(now, page)
    later = now + 200_000
    assert snapshot(place, later)["open"] == 0
    prefix = keys.prefix(place.account_id, place.pk)
    names = (keys.online(prefix), keys.online_visitors(prefix), keys.online_looks(prefix))
    assert store.events_client().exists(*names) == 0, "nothing is left of those who left"


def test_a_page_view_keeps_nobody_engaged_for_longer_than_the_ping_said(place: Any) -> None:
    """Engaged is who interacted in the last 5 seconds; a view keeps the page open and visible."""
    from tracking.collecting import collect, now_ms
    from tracking.live import snapshot

    now, shown = now_ms(), {"visitor": str(uuid.uuid4()), "tab": str(uuid.uuid4())}
    shown |= {"url": "https://a.example/"}
    collect(place, [shown | {"name": "ping", "state": "engaged", "next_ms": 5_000}], now=now)
    collect(place, [shown | {"name": "pageview"}], now=now + 4_000)
    ends = now + 2 * 5_000 + 2_000

    def numbers(at: int) -> tuple[int, ...]:
        found = snapshot(place, at)
        return tuple(found[name] for name in NUMBERS)

    assert numbers(ends - 1) == (1, 1, 1)
    assert numbers(ends) == (1, 1, 0)
    collect(place, [shown | {"name": "pageview"}], now=ends + 1)
    assert numbers(ends + 1) == (1, 1, 0), "a view is no ping that says engaged"
    assert numbers(ends + 32_000) == (1, 1, 0)
    assert numbers(ends + 32_001) == (0, 0, 0)


def test_a_visitor_shows_at_most_so_many_tabs(place: Any) -> None:
    """Or one sender could make the entry of a visitor as long as she likes."""
    from tracking import keys, store
    from tracking.collecting import collect, now_ms
    from tracking.live import snapshot

    now, visitor = now_ms(), str(uuid.uuid4())
    for number in range(40):
        beat = {"name": "ping", "state": "hidden", "next_ms": 60_000, "visitor": visitor}
        collect(
            place,
            [beat | {"tab": str(uuid.uuid4()), "url": f"https://a.example/{number}"}],
            now=now,
        )
    prefix = keys.prefix(place.account_id, place.pk)
    assert snapshot(place, now)["open"] == 1
    assert store.events_client().zcard(keys.online(prefix)) == 32


def test_a_heartbeat_that_changes_nothing_moves_one_score(place: Any) -> None:
    """100,000 readers send one every few seconds: it must write nothing else about them."""
    from tracking import keys, store
    from tracking.collecting import collect, now_ms

    client, prefix = store.events_client(), keys.prefix(place.account_id, place.pk)
    beat = {"name": "ping", "state": "engaged", "next_ms": 5_000, "url": "https://a.example/"}
    beat |= {"visitor": str(uuid.uuid4()), "tab": str(uuid.uuid4())}
    now = now_ms() // 8 * 8 + 1
    collect(place, [beat], now=now)
    client.config_resetstat()
    collect(place, [beat], now=now + 8)
    calls = {
        name.removeprefix("cmdstat_"): stat["calls"]
        for name, stat in client.info("commandstats").items()
    }
    assert calls.get("zadd") == 1
    assert not {"hset|w", "hincrby", "hdel", "zrem", "expire"} & calls.keys()
    assert client.hvals(keys.online_looks(prefix)) == [b"1"]


def test_rows_are_the_most_visited() -> None:
    from tracking.crowds import of
    from tracking.live import MOST_ROWS, summary
    from tracking.looks import pack

    def look(state: str, page: str) -> bytes:
        return pack(state, page, "Direct", "", "DE", "desktop")

    counts = {look("visible", f"/{number}"): 2 for number in range(100)} | {look("hidden", "/7"): 1}
    rows = summary(of(counts))["pages"]
    assert len(rows) == MOST_ROWS
    assert rows[0] == {"page": "/7", "open": 3, "active": 2, "engaged": 0, "new": None}


@pytest.fixture
def place() -> Any:
    return new_property()


def ping(place: Any, now: int, count: int = 1, pages: int = 1) -> None:
    from tracking.collecting import collect

    beat = {"name": "ping", "state": "visible", "next_ms": 60_000}
    beats = [
        beat
        | {"visitor": str(uuid.uuid4()), "tab": str(uuid.uuid4())}
        | {"url": f"https://a.example/{number % pages}"}
        for number in range(count)
    ]
    collect(place, beats, now=now)


def test_a_large_set_is_read_whole(place):
    """More members than a step, so that the server's table has grown under it."""
    from tracking.collecting import now_ms
    from tracking.live import snapshot

    now = now_ms()
    for _ in range(6):
        ping(place, now, 1_000)
    assert snapshot(place, now)["open"] == 6_000
    assert snapshot(place, now + 121_999)["open"] == 6_000
    assert snapshot(place, now + 122_000)["open"] == 0


def test_many_looks_are_read_in_steps(place, monkeypatch):
    from tracking import live
    from tracking.collecting import now_ms

    monkeypatch.setattr(live, "AT_ONCE", 999)
    monkeypatch.setattr(live, "CHUNK", 100)
    now = now_ms()
    ping(place, now, 1_000, pages=1_000)
    found = live.snapshot(place, now)
    assert found["open"] == 1_000
    assert len(found["pages"]) == live.MOST_ROWS


def test_few_are_counted_anew_for_every_reader(place):
    from tracking.collecting import now_ms
    from tracking.live import shown

    now = now_ms()
    for count in (1, 2):
        ping(place, now)
        assert shown(place, now)["open"] == count


def test_many_are_counted_once_a_second(place, monkeypatch):
    from tracking import live
    from tracking.collecting import now_ms

    monkeypatch.setattr(live, "MANY", 1)
    now = now_ms()
    ping(place, now)
    assert live.shown(place, now)["open"] == 1
    ping(place, now)
    assert live.shown(place, now + live.FRESH - 1)["open"] == 1
    assert live.shown(place, now + live.FRESH)["open"] == 2


def test_while_one_counts_the_others_see_what_was_counted_last(place, monkeypatch):
    from tracking import live
    from tracking.collecting import now_ms

    monkeypatch.setattr(live, "MANY", 1)
    now = now_ms()
    ping(place, now)
    first = live.shown(place, now)
    ping(place, now)
    later = now + live.FRESH
    real, others = live.snapshot, []

    def slow(*given):
        others.append(live.shown(place, later))
        return real(*given)

    monkeypatch.setattr(live, "snapshot", slow)
    assert live.shown(place, later)["open"] == 2
    assert others == [first]


def test_a_cache_that_is_away_costs_time_and_no_number(place, monkeypatch):
    from django_redis.exceptions import ConnectionInterrupted

    from tracking import live
    from tracking.collecting import now_ms

    def away(*_: Any) -> None:
        raise ConnectionInterrupted(connection=None)

    monkeypatch.setattr(live, "MANY", 1)
    monkeypatch.setattr(live.cache, "get", away)
    now = now_ms()
    ping(place, now, 3)
    assert live.shown(place, now)["open"] == 3


def test_a_live_set_in_a_cluster_is_read_too(place, cluster_url, settings, monkeypatch):
    from tracking import live, store
    from tracking.collecting import now_ms

    settings.EVENTS_URL = cluster_url
    store.events_client.cache_clear()
    try:
        now = now_ms()
        ping(place, now, 3)
        assert live.snapshot(place, now)["open"] == 3
    finally:
        store.events_client().close()
        store.events_client.cache_clear()
