"""Erasure: who is erased is nowhere any more, does not come back, and the ledger still closes."""

import json
import os
import random
import signal
import subprocess
import sys
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections
from psycopg import sql

from tests.people import fresh, new_property
from tests.streams import NOON, make_event, minutes, send, send_conflict, visitor_of
from tests.test_drain import poison, swap
from tests.test_rollups import drain, everything, roll_up, total, who
from tests.test_sessions import sessions_of

ROOT = Path(__file__).parent.parent


def now() -> datetime:
    return datetime.now(UTC)


def erase(place: Any, **named: Any) -> Any:
    from privacy import erasing
    from privacy.subjects import subject_of
    from tracking.working import transaction_of_worker

    with transaction_of_worker() as cursor:
        subject = subject_of(cursor, place, **named)
    erasure = erasing.ask(place, subject, "alice", now())
    erasing.carry_out(erasure, now())
    erasure.refresh_from_db(using="worker")
    return erasure


def tables_with(*needles: str) -> set[str]:
    """Tables of Postgres in which a row holds one of the texts, whatever the column."""
    # bytea is shown in hexadecimal digits
    shown = [f"%{text}%" for needle in needles for text in (needle, needle.encode().hex())]
    found = set()
    with connections["worker"].cursor() as cursor:
        cursor.execute(
            "SELECT oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'p')"
            " AND NOT relispartition AND relnamespace = 'public'::regnamespace"
        )
        for (table,) in cursor.fetchall():
            asked = sql.SQL("SELECT EXISTS (SELECT FROM {} t WHERE t::text ILIKE ANY (%s::text[]))")
            cursor.execute(asked.format(sql.SQL(table)), [shown])
            if cursor.fetchone()[0]:
                found.add(table)
    return found


READ: dict[bytes, Any] = {
    b"string": lambda client, key: client.get(key),
    b"hash": lambda client, key: client.hgetall(key),
    b"set": lambda client, key: client.smembers(key),
    b"zset": lambda client, key: client.zrange(key, 0, -1),
    b"list": lambda client, key: client.lrange(key, 0, -1),
    b"stream": lambda client, key: client.xrange(key),
}


def keys_with(*needles: bytes) -> set[str]:
    """Keys of both Valkeys whose name or value holds one of the texts."""
    import redis
    from django.conf import settings

    found = set()
    for url in (settings.EVENTS_URL, settings.BROKER_URL):
        client = redis.Redis.from_url(url)
        for key in client.scan_iter(count=1_000):
            kind = client.type(key)
            text = key + b"".join(_flat(READ[kind](client, key))) if kind in READ else key
            if any(needle in text for needle in needles):
                found.add(f"{key!r}")
    return found


def _flat(value: Any) -> list[bytes]:
    if isinstance(value, bytes):
        return [value]
    if isinstance(value, dict):
        return [part for pair in value.items() for one in pair for part in _flat(one)]
    if isinstance(value, list | tuple | set):
        return [part for one in value for part in _flat(one)]
    return []


def reconciled(place: Any) -> Any:
    from tracking.ledger import reconcile

    return reconcile(place, now())


def payload(visitor: str, **fields: Any) -> dict[str, Any]:
    own = {"name": "pageview", "visitor": visitor, "url": "https://shop.example/a"}
    own |= {"event_id": str(uuid.uuid4()), "tab": str(uuid.uuid4())}
    return own | fields


def collect(place: Any, *payloads: dict[str, Any]) -> Any:
    from tracking.collecting import collect

    return collect(place, list(payloads))


def raw_bytes(visitor: str) -> list[bytes]:
    """What of an id could be found in Valkey: as text, whole, and as the map keeps it."""
    whole = uuid.UUID(visitor).bytes
    return [visitor.encode(), whole, whole[:15], whole[:14]]


# -- nothing is left -------------------------------------------------------------------------------


def test_an_erased_visitor_is_nowhere() -> None:
    place = new_property()
    gone, other = str(uuid.uuid4()), str(uuid.uuid4())
    user, tab = fresh("user"), str(uuid.uuid4())
    for _ in range(3):
        collect(place, payload(gone, user=user), payload(other), payload(gone, name="signup"))
    drain(place)
    roll_up(place, now())
    collect(place, payload(gone, tab=tab))  # still in the stream
    collect(place, {"name": "ping", "visitor": gone, "tab": tab, "state": "visible"})
    assert keys_with(*raw_bytes(gone)) and tables_with(gone)
    erasure = erase(place, visitor=gone)
    assert erasure.counts["events"] == 7
    assert (erasure.state, erasure.target, erasure.traces) == ("d", "", {})
    assert tables_with(gone, user) == set()
    assert keys_with(*raw_bytes(gone), user.encode()) == set()
    assert keys_with(*raw_bytes(other)) and tables_with(other)


def test_the_rest_is_counted_as_if_the_visitor_had_never_been() -> None:
    """Young hours, which Valkey had counted, are counted from raw events afterwards."""
    with_it, without = (new_property(timezone="Asia/Kolkata") for _ in range(2))
    gone = str(uuid.uuid4())
    dice = random.Random(3)
    others = [str(uuid.uuid4()) for _ in range(5)]
    for n in range(60):
        moment = round(now().timestamp() * 1000) - dice.randrange(6 * 3_600_000)
        sent = payload(others[n % 5], time=moment, url=f"https://shop.example/{n % 7}")
        for place in (with_it, without):
            collect(place, sent)
        collect(with_it, payload(gone, time=moment - 1000))
    for place in (with_it, without):
        drain(place)
        roll_up(place, now())
    erase(with_it, visitor=gone)
    erase(without, visitor=gone)  # nobody there: no harm
    numbers, people = zip(everything(with_it), everything(without), strict=True)
    assert numbers[0] == numbers[1]
    assert [row[:4] for row in people[0]] == [row[:4] for row in people[1]]
    assert [row["pageviews"] for row in sessions_of(with_it)] == [
        row["pageviews"] for row in sessions_of(without)
    ]


def test_the_ledger_closes_after_an_erasure() -> None:
    place = new_property()
    gone = str(uuid.uuid4())
    collect(place, *[payload(gone) for _ in range(4)], payload(str(uuid.uuid4())))
    erase(place, visitor=gone)
    balance = reconciled(place)
    assert (balance.accepted, balance.stored, balance.erased, balance.raw_events) == (5, 1, 4, 1)
    assert balance.adds_up


def test_a_quarantined_payload_and_a_conflict_go_too() -> None:
    from tests.test_reconcile import count_in_valkey
    from tracking.models import Conflict, Quarantined

    place = new_property()
    first = make_event(NOON, 5)
    send(place, first)
    poison(place, swap("props", b"{"))
    send_conflict(place, make_event(NOON, 5, event_id=first.event_id, fingerprint=1))
    count_in_valkey(place, accepted=2)
    drain(place)
    kept = Quarantined.objects.using("worker").get(property_id=place.pk)
    poisoned = bytes(kept.payload).split(b"\t")[6].decode()
    counts = erase(place, visitor=poisoned).counts
    assert counts.get("quarantined") == 1
    erase(place, visitor=str(visitor_of(5)))
    for model in (Quarantined, Conflict):
        assert not model.objects.using("worker").filter(property_id=place.pk).exists()
    balance = reconciled(place)
    assert (balance.quarantined, balance.erased, balance.stored) == (0, 2, 0)
    assert balance.adds_up


def test_the_number_is_never_given_out_again() -> None:
    from tracking import keys
    from tracking.models import Visitor
    from tracking.store import events_client

    place = new_property()
    last = str(uuid.uuid4())
    collect(place, payload(str(uuid.uuid4())), payload(last))
    prefix = keys.prefix(place.account_id, place.pk)
    loyal = keys.loyal(prefix, 0)
    for number in (1, 2):
        events_client().setbit(loyal, number, 1)
    erase(place, visitor=last)
    assert [events_client().getbit(loyal, number) for number in (1, 2)] == [1, 0]
    # Valkey loses its memory: the next number is above all that Postgres knows.
    events_client().delete(keys.meta(prefix))
    newcomer = str(uuid.uuid4())
    collect(place, payload(newcomer))
    drain(place)
    numbers = Visitor.objects.using("worker").filter(property_id=place.pk)
    assert numbers.get(visitor=newcomer).number == 3
    assert not numbers.filter(visitor=last).exists()


def test_a_visitor_can_be_named_by_its_virtual_id() -> None:
    place = new_property()
    collect(place, payload(str(uuid.uuid4())), payload(str(uuid.uuid4())))
    drain(place)
    assert erase(place, number=2).counts["events"] == 1
    from privacy.subjects import NoSuchSubject

    with pytest.raises(NoSuchSubject, match="virtual id"):
        erase(place, number=77)


# -- and nothing comes back ------------------------------------------------------------------------


def test_later_events_and_pings_are_refused() -> None:
    place = new_property()
    gone, user = str(uuid.uuid4()), fresh("user")
    collect(place, payload(gone, user=user))
    erase(place, visitor=gone)
    sent = [payload(gone), payload(gone.upper()), {"name": "ping", "visitor": gone}]
    answer = collect(place, *sent, payload(str(uuid.uuid4()), user=user))
    assert [refusal["reason"] for refusal in answer.rejected] == ["erased"] * 3
    assert answer.accepted == 1  # only the visitor was erased, not the person
    erase(place, user=user)
    answer = collect(place, payload(str(uuid.uuid4()), user=user))
    assert [(r["reason"], r["field"]) for r in answer.rejected] == [("erased", "user")]
    assert reconciled(place).refused == {"erased": 4}


def test_a_collector_that_has_not_heard_of_it_is_refused_by_valkey(web_server: Any) -> None:
    from tests.test_consent import VISITOR, sent

    place = new_property()
    assert sent(web_server, place) == [(202, [])] * 2
    erase(place, visitor=VISITOR)
    assert sent(web_server, place) == [(422, ["erased"])] * 2
    assert collect(place, payload(str(uuid.uuid4()))).accepted == 1


def test_an_entry_from_before_is_erased_when_it_is_drained() -> None:
    """A Valkey that was restored from a copy brings entries of who was erased since."""
    from privacy.erasing import erase_due
    from tracking.models import Erasure

    place = new_property()
    collect(place, payload(str(visitor_of(1))))
    erasure = erase(place, visitor=str(visitor_of(1)))
    send(place, make_event(now(), 1))
    drain(place)
    erasure.refresh_from_db(using="worker")
    assert erasure.state == Erasure.State.WAITING
    assert tables_with(str(visitor_of(1))) >= {"visitors"}
    erase_due(now(), budget=60)
    erasure.refresh_from_db(using="worker")
    assert (erasure.state, erasure.counts["events"]) == ("d", 2)
    from tracking.models import Visitor

    uuids = Visitor.objects.using("worker").filter(property_id=place.pk)
    assert not uuids.filter(visitor=visitor_of(1)).exists()


# -- persons ---------------------------------------------------------------------------------------


def test_a_person_is_erased_with_all_her_visitors() -> None:
    place = new_property()
    phone, laptop, other = (str(uuid.uuid4()) for _ in range(3))
    user = fresh("user")
    collect(place, payload(phone), payload(phone, user=user), payload(laptop, user=user))
    collect(place, payload(other, user=fresh("user")))
    erasure = erase(place, user=user)
    assert (erasure.counts["events"], erasure.counts["visitors"]) == (3, 2)
    assert tables_with(phone, laptop, user) == set()
    assert tables_with(other)
    assert [r["reason"] for r in collect(place, payload(phone)).rejected] == ["erased"]
    assert reconciled(place).adds_up


def test_on_a_shared_device_only_her_events_go() -> None:
    place = new_property()
    shared, hers, his = str(uuid.uuid4()), fresh("user"), fresh("user")
    moment = round(now().timestamp() * 1000) - 3_000_000
    for n, user in enumerate((hers, his, hers)):
        collect(place, payload(shared, user=user, time=moment + n * 60_000))
    drain(place)
    roll_up(place, now())
    erasure = erase(place, user=hers)
    assert erasure.counts["events"] == 2
    assert tables_with(hers) == set()
    assert tables_with(shared, his) >= {"events", "visitors"}
    assert [row["pageviews"] for row in sessions_of(place)] == [1]
    assert sum(total(place, "events").values()) == 1
    assert collect(place, payload(shared, user=his)).accepted == 1
    assert reconciled(place).adds_up


def test_what_was_told_of_a_person_goes_and_no_import_brings_her_back() -> None:
    from tests.people import new_key, with_key
    from tests.test_exporting import content, export

    place = new_property()
    user, plan = fresh("user"), fresh("plan")
    client = with_key(new_key(place.account, "people:manage")[1])
    path = f"/api/v1/properties/{place.key}/users"
    body = {"users": [{"id": user, "traits": {"plan": plan}}]}
    assert client.post(path, body, content_type="application/json").json()["accepted"] == 1
    collect(place, payload(str(uuid.uuid4()), name="loginUser", user=user))
    drain(place)
    told = json.loads(content(export(place, client, user=user)))["person"]
    assert told["traits"] == {"plan": plan}
    assert erase(place, user=user).counts["persons"] == 1
    assert tables_with(user, plan) == set()
    [refused] = client.post(path, body, content_type="application/json").json()["rejected"]
    assert (refused["reason"], refused["field"]) == ("erased", "id")


# -- old days, columns, and dying ------------------------------------------------------------------


def test_an_import_under_way_does_not_bring_her_back(acme: Any) -> None:
    """It has looked for tombstones before hers was put up, and writes after she was erased."""
    import threading

    from tests.people import new_key, with_key
    from tracking import people
    from tracking.models import Person

    place, user = new_property(acme), fresh("user")
    client = with_key(new_key(acme, "people:manage")[1])
    looked, go_on = threading.Event(), threading.Event()
    real = people.tell

    def tell(using: str, facts: Any) -> Any:
        looked.set()
        go_on.wait(60)
        return real(using, facts)

    def call(function: Any) -> threading.Thread:
        def run() -> None:
            try:
                function()
            finally:
                connections.close_all()

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    body = {"users": [{"id": user}]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(people, "tell", tell)
        path = f"/api/v1/properties/{place.key}/users"
        import_ = call(lambda: client.post(path, body, content_type="application/json"))
        assert looked.wait(60)
        erase_ = call(lambda: erase(place, user=user))
        erase_.join(3)  # it waits, or is through
        go_on.set()
        import_.join()
        erase_.join()
    assert not Person.objects.using("worker").filter(property_id=place.pk).exists()


def test_bits_of_days_without_raw_events_are_taken_out() -> None:
    place = new_property(retention_days=30)
    old = now() - timedelta(days=40)
    drain(place, make_event(old, 1), make_event(old, 2), make_event(now() - minutes(90), 1))
    roll_up(place, old + timedelta(hours=1))
    with connections["worker"].cursor() as cursor:
        for statement in (
            "DELETE FROM events WHERE property_id = %s AND time < now() - interval '30 days'",
            "DELETE FROM sessions WHERE property_id = %s AND ended_at < now() - interval '30 days'",
            "UPDATE ledger SET expired = stored WHERE property_id = %s"
            " AND hour < now() - interval '30 days'",
        ):
            cursor.execute(statement, [place.pk])
    before = sum(total(place, "events").values())
    assert [2] not in who(place).values()
    erase(place, visitor=str(visitor_of(1)))
    assert list(who(place).values()) == [[2]]
    assert sum(total(place, "events").values()) == before - 1  # sums of old days tell of nobody


def test_columns_of_packed_days_go_with_the_events() -> None:
    from reports import packing
    from reports.models import Column, PackedDay

    place = new_property()
    old = now().replace(hour=12) - timedelta(days=9)
    user = fresh("user")
    events = [make_event(old + timedelta(seconds=n), n % 3 + 1, user=user) for n in range(600)]
    drain(place, *events)
    roll_up(place, now())
    packing.pack_all(now(), place)
    columns = Column.objects.using("worker").filter(property_id=place.pk)
    assert columns.exists()
    erase(place, visitor=str(visitor_of(1)))
    assert not columns.exists()
    assert PackedDay.objects.using("worker").get(property_id=place.pk).state == "w"


@pytest.mark.parametrize("fault", ["before_commit", "rows_erased", "valkey_cleared"])
def test_an_erasure_that_died_is_done_by_the_next_tick(fault: str) -> None:
    from privacy.erasing import ask, erase_due
    from privacy.subjects import subject_of
    from tracking.working import transaction_of_worker

    place = new_property()
    gone = str(uuid.uuid4())
    collect(place, *[payload(gone) for _ in range(3)], payload(str(uuid.uuid4())))
    drain(place)
    with transaction_of_worker() as cursor:
        subject = subject_of(cursor, place, visitor=gone)
    erasure = ask(place, subject, "alice", now())
    script = (
        "import django; django.setup(); from django.utils import timezone;"
        "from privacy.erasing import carry_out; from tracking.models import Erasure;"
        f"carry_out(Erasure.objects.using('worker').get(pk={erasure.pk}), timezone.now())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"AKTIVAT_FAULT": f"{fault}:kill"},
        cwd=ROOT,
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL
    erase_due(now(), budget=60)
    erasure.refresh_from_db(using="worker")
    assert (erasure.state, erasure.counts["events"]) == ("d", 3)
    assert tables_with(gone) == set()
    assert keys_with(*raw_bytes(gone)) == set()
    assert reconciled(place).adds_up


def test_a_bit_that_was_alone_leaves_a_key_with_an_end() -> None:
    from tracking import keys
    from tracking.directory import Record
    from tracking.store import events_client

    place = new_property()
    gone, user = str(uuid.uuid4()), str(uuid.uuid4())
    collect(place, payload(gone))
    erase(place, visitor=gone)
    collect(place, payload(user))
    prefix = keys.prefix(place.account_id, place.pk)
    hour = Record.of(place).clock.stamps(round(now().timestamp() * 1000))[1]
    for key in (keys.bits(prefix, "h", hour, "a"), keys.counters(prefix, hour)):
        assert events_client().ttl(key) != -1


def test_the_command_answers_in_json(capsys: Any) -> None:
    place = new_property()
    gone = str(uuid.uuid4())
    collect(place, payload(gone))
    call_command("erase", place.key, visitor=gone, json=True)
    answer = json.loads(capsys.readouterr().out)
    assert answer["property"] == place.key
    assert answer["counts"]["events"] == 1
    call_command("erase", place.key, visitor=gone)
    assert "Erased: 1 events" in capsys.readouterr().out


def test_who_comes_back_with_a_copy_is_erased_again(capsys: Any, tmp_path: Path) -> None:
    from tracking.models import Erasure

    place = new_property()
    gone, user = str(uuid.uuid4()), fresh("user")
    collect(place, payload(str(uuid.uuid4())))
    erase(place, visitor=gone)
    erase(place, user=user)
    saved = tmp_path / "tombstones"
    call_command("reapply_erasures", save=str(saved))
    assert gone not in saved.read_text() and user not in saved.read_text()
    # The copy is from before: it knows them, and no tombstone.
    Erasure.objects.using("worker").filter(property_id=place.pk).delete()
    drain(place, make_event(now(), uuid.UUID(gone)), make_event(now(), 9, user=user))
    assert tables_with(gone) and tables_with(user)
    capsys.readouterr()
    call_command("reapply_erasures", str(saved), json=True)
    answer = json.loads(capsys.readouterr().out)
    assert answer["tombstones"] >= 2 and answer["erased"] >= 2
    assert tables_with(gone, user) == set()
    assert [r["reason"] for r in collect(place, payload(gone)).rejected] == ["erased"]
