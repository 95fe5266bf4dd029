"""Who is here now: the numbers against a plain count, and how many readers share one."""

import uuid
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.people import new_property

STATES = ("hidden", "visible", "engaged")


def info(state: str, page: str = "/", source: str = "Direct") -> bytes:
    shown = {"state": state, "country": "DE", "device": "", "page": page, "source": source}
    return orjson.dumps({name: value for name, value in shown.items() if value})


def plainly(entries: list[tuple[bytes, bytes]], expired: set[bytes]) -> dict[str, Any]:
    """The same numbers, counted one by one."""
    of_visitor: dict[bytes, list[dict[str, Any]]] = {}
    for member, shown in dict(entries).items():
        if member not in expired:
            of_visitor.setdefault(member[:16], []).append(orjson.loads(shown))
    best = [
        max(tabs, key=lambda tab: (STATES.index(tab["state"]), orjson.dumps(tab)))
        for tabs in of_visitor.values()
    ]

    def numbers(shown: list[dict[str, Any]]) -> dict[str, int]:
        ranks = [STATES.index(tab["state"]) for tab in shown]
        return {name: sum(r >= least for r in ranks) for least, name in enumerate(NUMBERS)}

    def rows(field: str) -> list[dict[str, Any]]:
        values = {tab[field] for tab in best if tab.get(field)}
        found = [{field: v, **numbers([t for t in best if t.get(field) == v])} for v in values]
        return sorted(found, key=lambda row: (-row["open"], row[field]))[:50]

    tables = {"pages": "page", "sources": "source", "countries": "country", "devices": "device"}
    return numbers(best) | {name: rows(field) for name, field in tables.items()}


NUMBERS = ("open", "active", "engaged")
MEMBERS = st.tuples(st.integers(0, 9), st.integers(0, 2)).map(
    lambda pair: bytes([pair[0]]) * 16 + bytes([pair[1]]) * 16
)
INFOS = st.builds(info, st.sampled_from(STATES), st.sampled_from(["", "/", "/a", "/b"]))


@given(st.lists(st.tuples(MEMBERS, INFOS), max_size=40), st.sets(MEMBERS, max_size=8))
def test_the_numbers_are_those_of_a_plain_count(entries, expired):
    """Several tabs a visitor, entries that have expired, entries read twice while the set grew."""
    from tracking.live import Tabs, summary

    members, infos = [one for one, _ in entries], [one for _, one in entries]
    assert summary(Tabs(members, infos, expired)) == plainly(entries, expired)


def test_rows_are_the_most_visited(monkeypatch):
    from tracking.live import MOST_ROWS, Tabs, summary

    members = [uuid.uuid4().bytes * 2 for _ in range(200)]
    infos = [info("visible", f"/{number // 2}") for number in range(199)] + [info("hidden", "/7")]
    rows = summary(Tabs(members, infos, set()))["pages"]
    assert len(rows) == MOST_ROWS
    assert rows[0] == {"page": "/7", "open": 3, "active": 2, "engaged": 0}


@pytest.fixture
def place() -> Any:
    return new_property()


def ping(place: Any, now: int, count: int = 1) -> None:
    from tracking.collecting import collect

    beat = {"name": "ping", "state": "visible", "next_ms": 60_000, "url": "https://a.example/"}
    beats = [{**beat, "visitor": str(uuid.uuid4()), "tab": str(uuid.uuid4())} for _ in range(count)]
    collect(place, beats, now=now)


def test_a_large_set_is_read_whole(place):
    """More members than a step, so that the server's table has grown under it."""
    from tracking.collecting import now_ms
    from tracking.live import CHUNK, snapshot

    now = now_ms()
    for _ in range(6):
        ping(place, now, CHUNK // 2)
    assert snapshot(place, now)["open"] == 3 * CHUNK
    assert snapshot(place, now + 121_999)["open"] == 3 * CHUNK
    assert snapshot(place, now + 122_000)["open"] == 0


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
