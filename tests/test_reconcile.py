"""The ledger: received = accepted + duplicate + refused, and every accepted event is somewhere."""

import json
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from django.core.management import call_command

from tests.streams import NOON, make_event, make_place, minutes, send, send_conflict, waiting


def now():
    return datetime.now(UTC)


def count_in_valkey(place, at=None, **counts):
    """Valkey's side of the ledger, as the Lua call would leave it."""
    from tracking import keys
    from tracking.store import events_client

    hour = int((at or now()).timestamp()) // 3600 * 3600
    key = keys.ledger(keys.prefix(place.account_id, place.pk), hour)
    for name, number in counts.items():
        events_client().hincrby(key, name.replace("__", "."), number)
    return key


def reconciled(place):
    from tracking.ledger import reconcile

    return reconcile(place, now())


def test_everything_adds_up():
    place = make_place()
    first = make_event(now() - minutes(1))
    for event in (first, make_event(now(), 2), make_event(now(), 3, bot=True)):
        send(place, event)
    send_conflict(place, make_event(now(), event_id=first.event_id, fingerprint=1))
    count_in_valkey(place, accepted=3, duplicate=1, ping=7, bot=1, r__hostname=4, r__future=1)
    balance = reconciled(place)
    assert (balance.received, balance.accepted, balance.duplicate) == (9, 3, 1)
    assert balance.refused == {"future": 1, "hostname": 4}
    assert (balance.pings, balance.bots) == (7, 1)
    assert (balance.stored, balance.in_flight, balance.raw_events) == (3, 0, 3)
    assert balance.rolled_up is None  # the rollup is not up to date
    assert balance.differences == {"ledger": 0, "raw": 0}
    assert balance.adds_up


def test_rollups_are_compared_when_they_are_up_to_date():
    from reports.rollups import roll_up_property

    place = make_place()
    for visitor in (1, 2):
        send(place, make_event(NOON, visitor, bot=visitor == 2))
    count_in_valkey(place, accepted=2, bot=1)
    reconciled(place)
    roll_up_property(place, now())
    assert reconciled(place).differences == {"ledger": 0, "raw": 0, "rollup": 0}
    from reports.models import Rollup

    rows = Rollup.objects.using("worker").filter(property_id=place.pk, measure="events")
    rows.filter(dimension="").update(number=5)
    assert reconciled(place).differences == {"ledger": 0, "raw": 0, "rollup": 4}


def test_a_late_duplicate_moves_from_accepted_to_duplicate():
    place = make_place()
    event_id = uuid4()
    send(place, make_event(NOON, event_id=event_id))
    send(place, make_event(NOON, event_id=event_id, received_at=NOON + timedelta(days=2)))
    count_in_valkey(place, accepted=2, duplicate=3)
    balance = reconciled(place)
    assert (balance.received, balance.accepted, balance.duplicate) == (5, 1, 4)
    assert (balance.stored, balance.late_duplicate, balance.difference) == (1, 1, 0)


def test_quarantined_events_are_accounted_for():
    from tests.test_drain import poison, swap

    place = make_place()
    poison(place, swap("props", b"{"))
    count_in_valkey(place, accepted=1)
    balance = reconciled(place)
    assert (balance.quarantined, balance.stored, balance.difference) == (1, 0, 0)


def test_events_in_the_stream_are_in_flight(monkeypatch):
    from tracking import ledger

    place = make_place()
    for n in range(3):
        send(place, make_event(NOON + minutes(n)))
    send_conflict(place, make_event(NOON))
    count_in_valkey(place, accepted=3)
    monkeypatch.setattr(ledger, "drain_property", lambda place: None)
    monkeypatch.setattr(ledger, "READ", 2)
    balance = reconciled(place)
    assert (balance.in_flight, balance.stored, balance.difference) == (3, 0, 0)


def test_the_ledger_is_set_and_never_lowered():
    from tracking.ledger import copy_recent
    from tracking.models import Ledger
    from tracking.store import events_client

    place = make_place()
    key = count_in_valkey(place, accepted=5, r__hostname=2)
    copy_recent(now())
    copy_recent(now())
    events_client().delete(key)  # Valkey has lost its memory
    count_in_valkey(place, accepted=3, r__future=1)
    copy_recent(now())
    line = Ledger.objects.using("worker").get(property_id=place.pk)
    assert (line.accepted, line.refused) == (5, {"hostname": 2, "future": 1})


def test_the_command_says_what_does_not_add_up(capsys):
    place = make_place()
    send(place, make_event(NOON))
    count_in_valkey(place, accepted=1)
    call_command("reconcile", place.key)
    assert "Everything adds up." in capsys.readouterr().out
    count_in_valkey(place, accepted=1)  # accepted, and nowhere to be found
    with pytest.raises(SystemExit) as end:
        call_command("reconcile", place.key, "--json")
    assert end.value.code == 1
    found = json.loads(capsys.readouterr().out)
    assert found["adds_up"] is False
    assert found["properties"][0]["property"] == place.key
    assert found["properties"][0]["differences"]["ledger"] == 1


def test_an_unknown_property_is_an_error():
    from django.core.management.base import CommandError

    with pytest.raises(CommandError, match="AK-NOSUCHKY"):
        call_command("reconcile", "AK-NOSUCHKY")


def test_what_names_no_property_stands_in_the_ledger_of_the_instance():
    from tracking import keys
    from tracking.ledger import reconcile_nameless
    from tracking.store import events_client

    before = reconcile_nameless(now()).refused.get("unknown_property", 0)
    hour = int(now().timestamp()) // 3600 * 3600
    events_client().hincrby(keys.ledger(keys.INSTANCE, hour), "r.unknown_property", 2)
    after = reconcile_nameless(now())
    assert after.refused["unknown_property"] == before + 2
    assert after.adds_up


# -- lag -------------------------------------------------------------------------------------


def test_reports_are_complete_up_to_the_oldest_event_that_is_not_in_them():
    from reports.rollups import roll_up_property
    from tracking.drain import drain_property
    from tracking.lag import complete_until, measure

    place = make_place()
    moment = now().replace(microsecond=0)
    assert complete_until(place, moment + minutes(0.001), "worker") == moment
    later = moment + minutes(5)
    send(place, make_event(moment - minutes(9), received_at=moment))
    waited = complete_until(place, later, "worker")
    assert moment - minutes(1) <= waited < later
    assert measure()["stream_entries"] >= 1
    drain_property(place)
    assert complete_until(place, later, "worker") == moment
    assert measure()["rollup_seconds"] >= 0
    roll_up_property(place, later)
    assert complete_until(place, later, "worker") == later
    assert waiting(place) == 0


# -- sweeping --------------------------------------------------------------------------------


def test_the_live_set_loses_who_left(monkeypatch):
    from tracking import keys, store, sweeping
    from tracking.collecting import collect

    monkeypatch.setattr(store, "AT_ONCE", 2)
    place, moment = make_place(hostnames=["*"]), round(now().timestamp() * 1000)
    prefix, client = keys.prefix(place.account_id, place.pk), store.events_client()
    beat = {"name": "ping", "state": "visible", "url": "https://shop.example/"}
    here = str(uuid4())
    for count, next_ms, before in ((9, 1_000, 100_000), (1, 60_000, 0)):
        ids = [here if count == 1 else str(uuid4()) for _ in range(count)]
        beats = [{**beat, "next_ms": next_ms, "visitor": one, "tab": one} for one in ids]
        collect(place, beats, now=moment - before)
    assert sweeping.sweep(now()) >= 5, "an arrival sweeps but four"
    raw = UUID(here).bytes
    assert client.zrange(keys.online(prefix), 0, -1) == [raw * 2]
    assert client.hkeys(keys.online_visitors(prefix)) == [raw]
    assert client.hvals(keys.online_looks(prefix)) == [b"1"]
