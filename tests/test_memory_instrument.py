"""What decides in `make memory`: time that passes, the weighing, the counterpart, the budget."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.instruments.memory import settings as wishes
from tests.people import new_property


@pytest.fixture
def valkey(tmp_path: Path, settings: Any) -> Iterator[Any]:
    """A Valkey of its own: time passes for all keys of a server."""
    from aktivat.servers import start_valkey
    from tracking import store

    server = start_valkey(tmp_path / "v", role="events", extra={"appendonly": "no"})
    settings.EVENTS_URL = server.url
    store.events_client.cache_clear()
    yield store.events_client()
    store.events_client.cache_clear()
    server.stop()


def crowd_of(known: int, **fields: Any) -> Any:
    from tests.instruments.memory.traffic import Crowd
    from tracking.directory import Record

    return Crowd(Record.of(new_property()), known, seed=7, **fields)


def quiet(text: str) -> None:
    pass


def test_time_passes_for_the_server_too(valkey: Any) -> None:
    from tests.instruments.memory.passing import AT_ONCE, pass_time

    for number in range(AT_ONCE + 5):
        valkey.set(f"short:{number}", "x", ex=3_600)
    valkey.set("long", "x", ex=7_300)
    valkey.set("endless", "x")
    pass_time(valkey, 3_600_000)
    assert set(valkey.keys()) == {b"long", b"endless"}
    assert 3_600 < valkey.ttl("long") <= 3_700
    assert valkey.ttl("endless") == -1


def test_everybody_comes_once_each_day_and_ids_differ() -> None:
    from tests.instruments.memory.traffic import DAY, by_minute

    crowd = crowd_of(0)
    active = crowd.newcomers(3_000)
    assert [who for minute in by_minute(active) for who in minute] == list(active)
    sent, came = [], []
    for _, visitors, items in crowd.minutes(20 * DAY, active):
        came += visitors
        sent += [item[5] for item in items]
    assert len(set(sent)) == len(sent) > 14_900
    assert list(dict.fromkeys(came)) == list(active)  # so that their numbers are known
    assert {uuid.UUID(bytes=one).version for one in sent} == {4}


@pytest.mark.parametrize("cookieless", [False, True])
def test_a_small_day_is_exact_and_every_key_has_a_family(valkey: Any, cookieless: bool) -> None:
    from tests.instruments.memory.families import used_memory, weigh
    from tests.instruments.memory.simulation import Simulation
    from tests.instruments.memory.traffic import DAY

    empty = used_memory(valkey)
    crowd = crowd_of(0, cookieless=cookieless)
    simulation = Simulation(valkey, crowd, quiet)
    simulation.full_day(20_000 * DAY, crowd.newcomers(300))
    simulation.go_online(100)
    weight = weigh(valkey, empty)
    assert "other" not in weight.keys
    assert weight.keys["visitor map, cookieless" if cookieless else "visitor map"] > 0
    assert 0 < weight.without_pages < weight.used
    assert weight.tables > 0
    assert "exactly who came" in simulation.check()


def test_a_lost_bit_and_a_forgotten_id_are_noticed(valkey: Any) -> None:
    from tests.instruments.memory.simulation import Simulation, Wrong
    from tests.instruments.memory.traffic import DAY

    crowd = crowd_of(0)
    simulation = Simulation(valkey, crowd, quiet)
    simulation.full_day(20_000 * DAY, crowd.newcomers(60))
    somebody = next(key for key in valkey.scan_iter(match="*:b:h*:a") if valkey.type(key) == b"set")
    lost = valkey.spop(somebody)
    with pytest.raises(Wrong, match="holds"):
        simulation.check()
    valkey.sadd(somebody, lost)
    valkey.delete(*valkey.scan_iter(match="*:d:*"))
    with pytest.raises(Wrong, match="Retries"):
        simulation.check()


def test_plain_keys_are_as_long_as_their_highest_number(valkey: Any) -> None:
    from tests.instruments.memory.plain import PlainKeys, load_sample, size
    from tests.instruments.memory.traffic import HOUR

    crowd, plain = crowd_of(3), PlainKeys()
    now = 500_000 * HOUR
    items = crowd.items(now, [0, 1, 2])
    name = items[0][2][3]
    items = [(*item[:2], (*item[2][:3], name), *item[3:]) for item in items]
    plain.see(now, [799, 80, 8], items)
    plain.see(now - 4 * HOUR, [1_599], items[:1])
    # The name: one minute (the other is over), two hours, day, month, year.
    assert sorted(plain.kept_of_events(now)) == [799, 799, 1_599, 1_599, 1_599, 1_599]
    assert size([799, 8, 0]) == 100 + 2 + 1
    formula, real = load_sample(valkey, plain.kept(now))
    assert formula <= real


def test_only_the_full_run_is_judged_and_it_can_fail(capsys: pytest.CaptureFixture[str]) -> None:
    from tests.instruments.memory.__main__ import judged

    full, small = wishes.read({}), wishes.read({"SCALE": "0.1"})
    assert full.is_full
    assert not small.is_full
    assert not wishes.read({"DAYS": "3"}).is_full
    assert judged("all", 10, 10, full)
    assert not judged("all", 11, 10, full)
    assert judged("all", 11, 10, small)
    assert "OVER" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["DAYS", "SCALE", "EVERY", "COOKIELESS_DAYS", "STORED"])
def test_what_is_no_number_is_refused(name: str) -> None:
    with pytest.raises(SystemExit, match=name):
        wishes.read({name: "many"})
    with pytest.raises(SystemExit, match="PARTS"):
        wishes.read({"PARTS": "cakes"})
