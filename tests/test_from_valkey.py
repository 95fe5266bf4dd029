"""Young hours come from Valkey's counters and bits: to the byte what raw events would give."""

import random
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from pyroaring import BitMap

from tests.streams import make_event, make_place, send, waiting
from tests.test_rollups import (
    dirty,
    drain,
    everything,
    mark_every_hour,
    numbers_of,
    roll_up,
    rolled,
    who,
)


def now():
    return datetime.now(UTC)


def payloads(count, visitors, seed=1, hours=5.0):
    dice = random.Random(seed)
    moment = round(now().timestamp() * 1000)
    return [
        {
            "name": dice.choice(["pageview", "pageview", "signup", "engagement"]),
            "event_id": str(uuid.UUID(int=dice.getrandbits(128), version=4)),
            "visitor": str(uuid.UUID(int=dice.randrange(visitors) + 1, version=4)),
            "url": f"https://shop.example/{dice.randrange(40)}",
            "time": moment - dice.randrange(round(hours * 3_600_000)),
        }
        for _ in range(count)
    ]


def collect(place, events):
    from tracking.collecting import collect

    answer = collect(place, events)
    assert answer.accepted == len(events), answer.rejected[:3]


def open_place(**fields):
    return make_place(hostnames=["*"], **fields)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "America/St_Johns"])
def test_both_sources_give_the_same_rows(zone):
    place = open_place(timezone=zone)
    collect(place, payloads(1800, 900))
    drain(place)
    roll_up(place, now())
    assert {origin for _, origin in rolled(place).values()} == {"valkey"}
    from_valkey = everything(place)
    mark_every_hour(place)
    roll_up(place, now())
    assert {origin for _, origin in rolled(place).values()} == {"raw"}
    assert everything(place) == from_valkey
    assert max(len(people) for people in who(place).values()) > 512


def test_numbers_beyond_one_container():
    from tracking import keys
    from tracking.store import events_client

    place = open_place()
    collect(place, payloads(1, 1, seed=2))
    meta = keys.meta(keys.prefix(place.account_id, place.pk))
    events_client().hset(meta, "n", 65_536 * 3 - 700)
    collect(place, payloads(2000, 1400, seed=3, hours=0.1))
    drain(place)
    roll_up(place, now())
    from_valkey = everything(place)
    assert {origin for _, origin in rolled(place).values()} == {"valkey"}
    mark_every_hour(place)
    roll_up(place, now())
    assert everything(place) == from_valkey
    numbers = set().union(*who(place, "h").values())
    assert min(numbers) == 1
    assert max(numbers) > 65_536 * 3


def test_hours_past_the_horizon_are_raw():
    place = open_place()
    collect(place, payloads(200, 20, hours=60))
    drain(place)
    moment = now()
    roll_up(place, moment)
    for hour, (_, origin) in rolled(place).items():
        assert origin == ("valkey" if hour >= moment - timedelta(hours=23, minutes=50) else "raw")
    young_and_old = everything(place)
    mark_every_hour(place)
    roll_up(place, moment)
    assert everything(place) == young_and_old


def test_hours_before_valkeys_memory_begins_are_raw():
    from tracking import keys
    from tracking.store import events_client

    place = open_place()
    collect(place, payloads(50, 5))
    drain(place)
    meta = keys.meta(keys.prefix(place.account_id, place.pk))
    hour = now().replace(minute=0, second=0, microsecond=0)
    events_client().hset(meta, "since", round(hour.timestamp() * 1000) + 1)
    roll_up(place, now())
    assert {origin for _, origin in rolled(place).values()} == {"raw"}


def test_without_valkeys_memory_everything_is_raw():
    from tracking import keys
    from tracking.store import events_client

    place = open_place()
    collect(place, payloads(50, 5))
    drain(place)
    for key in events_client().scan_iter(f"{keys.prefix(place.account_id, place.pk)}:*"):
        events_client().delete(key)
    roll_up(place, now())
    assert {origin for _, origin in rolled(place).values()} == {"raw"}
    assert sum(row[5] for row in numbers_of(place, grain="d", dimension="", measure="events")) == 50


def test_a_counter_without_its_name_makes_the_hour_raw():
    from tracking import keys
    from tracking.store import events_client

    place = open_place()
    collect(place, payloads(50, 5, hours=0.1))
    drain(place)
    for key in events_client().scan_iter(f"{keys.prefix(place.account_id, place.pk)}:n:*:page"):
        events_client().delete(key)
    roll_up(place, now())
    assert {origin for _, origin in rolled(place).values()} == {"raw"}


def test_what_valkey_counted_wrongly_stays_raw():
    """A duplicate that Valkey had forgotten is in its counters: that hour is never read there."""
    place = open_place()
    events = payloads(20, 5, hours=0.01)
    collect(place, events)
    drain(place)
    from tracking.models import Event

    stored = Event.objects.using("worker").filter(property_id=place.pk).first()
    again = make_event(stored.time, event_id=stored.event_id, received_at=now())
    send(place, again, number=stored.visitor)
    drain(place)
    roll_up(place, now())
    hour = stored.time.replace(minute=0, second=0, microsecond=0)
    assert rolled(place)[hour] == ("d", "raw")
    collect(place, payloads(5, 5, seed=8, hours=0.001))
    drain(place)
    roll_up(place, now())
    assert rolled(place)[hour] == ("d", "raw")
    assert waiting(place) == 0
    assert not dirty(place).exists()


def test_other_values_come_from_valkey_and_are_ranked_when_the_day_closes(monkeypatch):
    from reports import rollups

    place = open_place()
    dice = random.Random(4)
    events = payloads(60, 10, hours=0.1)
    hour = now().replace(minute=0, second=0, microsecond=0)
    for event in events:
        event["url"] = f"https://shop.example/{dice.randrange(6)}"
        event["time"] = max(event["time"], round(hour.timestamp() * 1000))  # in one hour
    collect(place, events)
    # As the Lua call does once the day's dictionary is full: page 1 becomes nameless.
    from tracking import keys
    from tracking.store import events_client

    client, prefix = events_client(), keys.prefix(place.account_id, place.pk)
    for key in client.scan_iter(f"{prefix}:c:*"):
        for code in ("A", "V"):
            number = client.hget(key, f"{code}1")
            if number:
                client.hset(key, f"{code}0", number)
                client.hdel(key, f"{code}1")
    for key in client.scan_iter(f"{prefix}:b:h*:P1"):
        client.rename(key, key[:-1] + b"0")
    drain(place)
    roll_up(place, now())
    assert {origin for _, origin in rolled(place).values()} == {"~valke"}
    pages = {row[4] for row in numbers_of(place, grain="d", dimension="page")}
    assert "(other)" in pages
    roll_up(place, now() + timedelta(days=3))
    assert {origin for _, origin in rolled(place).values()} == {"raw"}
    pages = {row[4] for row in numbers_of(place, grain="d", dimension="page")}
    assert pages == {f"/{n}" for n in range(6)}
    assert rollups.LIMIT == keys.VALUES_PER_DAY


# -- reading bits ----------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 512, 513, 4_095, 4_096, 4_097, 40_000, 65_536])
def test_a_container_is_read_whatever_its_kind(count):
    from reports.writing import serialized
    from tracking.bits import read_bits
    from tracking.store import events_client

    members = random.Random(count).sample(range(65_536), count)
    key, client = f"{{test}}:{uuid.uuid4()}", events_client()
    bits = bytearray(8_192)
    for member in members:
        bits[member >> 3] |= 128 >> (member & 7)
    client.setbit(key, 2, 1)
    client.setbit(key, 5, 1)
    client.set(f"{key}:2", bytes(bits).rstrip(b"\0"))
    client.sadd(f"{key}:5", *[member - 32_768 for member in members[:500]])
    (found,) = read_bits(client, [key])
    expected = BitMap([2 * 65_536 + member for member in members])
    expected |= BitMap([5 * 65_536 + member for member in members[:500]])
    assert found == expected
    assert serialized(found) == serialized(expected)


def test_many_keys_are_read_together_and_missing_ones_are_empty():
    from tracking.bits import read_bits
    from tracking.store import events_client

    client, name = events_client(), f"{{test}}:{uuid.uuid4()}"
    for n in range(5):
        client.sadd(f"{name}:{n}", n, n + 100)
    found = read_bits(client, [f"{name}:{n}" for n in range(7)])
    assert found == [BitMap([n, n + 100]) for n in range(5)] + [BitMap(), BitMap()]
