"""Retention: what is too old goes, what was counted from it stays, and the books still close."""

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections

from tests.people import new_property
from tests.streams import make_event, make_place, minutes, send, send_conflict
from tests.test_drain import poison, swap
from tests.test_reconcile import count_in_valkey
from tests.test_rollups import drain, everything, roll_up
from tests.test_sessions import sessions_of

DAY = timedelta(days=1)


def now() -> datetime:
    return datetime.now(UTC)


def expire(place: Any, later: datetime) -> Any:
    from privacy.expiring import expire

    return expire(place, later)


def rows(table: str, place: Any, where: str = "true") -> int:
    with connections["worker"].cursor() as cursor:
        cursor.execute(
            f"SELECT count(*) FROM {table} WHERE property_id = %s AND {where}", [place.pk]
        )
        return cursor.fetchone()[0]


def aged(account: Any = None, **fields: Any) -> Any:
    """A property with two days of events, of three visitors, all counted and packed. At its
    retention of 32 days one of them is too old."""
    from reports import packing

    place = new_property(account, timezone="America/New_York", retention_days=32, **fields)
    start = now() - 33 * DAY
    events = [make_event(start + minutes(2.5 * n), n % 3 + 1) for n in range(2 * 576)]
    drain(place, *events)
    hours: dict[datetime, int] = {}
    for event in events:
        hour = datetime.fromtimestamp(event.received_at // 3_600_000 * 3600, UTC)
        hours[hour] = hours.get(hour, 0) + 1
    from tracking.models import Ledger

    for hour, count in hours.items():  # what the collector had counted in Valkey
        Ledger.objects.using("worker").filter(property_id=place.pk, hour=hour).update(
            accepted=count
        )
    roll_up(place, now())
    packing.pack_all(now(), place)
    return place


def test_what_is_too_old_goes_and_the_numbers_stay() -> None:
    from tracking.ledger import reconcile

    place = aged()
    before = everything(place)
    assert rows("columns", place) > 0
    later = now()
    edge = later - 32 * DAY
    old = rows("events", place, f"time < '{edge.isoformat()}'")
    assert 0 < old < rows("events", place)
    found = expire(place, later)
    assert found.events == old
    for table, column in (("events", "time"), ("sessions", "ended_at"), ("event_ids", "time")):
        assert rows(table, place, f"{column} < '{edge.isoformat()}'") == 0
        assert rows(table, place) > 0
    assert rows("columns", place, f"starts_at < '{(edge - DAY).isoformat()}'") == 0
    assert everything(place) == before
    balance = reconcile(place, later)
    assert (balance.expired, balance.raw_events) == (old, balance.stored)
    assert balance.adds_up
    roll_up(place, later)
    assert everything(place) == before
    assert expire(place, later).is_nothing


def test_those_days_are_not_rebuilt_and_have_no_minutes(client: Any) -> None:
    from reports.rebuilding import RawEventsGone, rebuild
    from tests.people import new_key, with_key

    place = aged()
    later = now()
    expire(place, later)
    gone = (now() - 33 * DAY + timedelta(hours=6)).date()
    with pytest.raises(RawEventsGone, match="are kept since"):
        rebuild(place, gone, gone, later)
    _, secret = new_key(place.account, "events:view")
    path = f"/api/stats/track/{place.account.slug}/pageview/{gone:%Y/%-m/%-d}"
    assert with_key(secret).get(path).status_code == 200
    refused = with_key(secret).get(f"{path}/5")
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "expired")


def test_after_everything_expired_only_what_was_counted_is_left() -> None:
    from tracking.ledger import reconcile

    place = aged()
    before = everything(place)
    later = now() + 500 * DAY
    assert expire(place, later).visitors == 2  # the highest number stays
    for table in ("events", "event_ids", "sessions", "columns", "packed_days"):
        assert rows(table, place) == 0, table
    assert everything(place) == before
    balance = reconcile(place, later)
    assert (balance.stored, balance.expired, balance.raw_events) == (0, 2 * 576, 0)
    assert balance.adds_up


def test_an_imported_history_is_kept_from_its_import_on() -> None:
    place = make_place(retention_days=30)
    old = datetime(2015, 5, 17, 12, tzinfo=UTC)
    drain(place, *[make_event(old + minutes(n), received_at=now()) for n in range(5)])
    roll_up(place, now())
    assert expire(place, now() + 29 * DAY).is_nothing
    assert len(sessions_of(place)) == 1
    assert expire(place, now() + 31 * DAY).events == 5
    assert sessions_of(place) == []


def test_what_was_never_counted_is_counted_before_it_goes() -> None:
    from tests.test_rollups import total

    place = make_place(retention_days=30)
    drain(place, make_event(now() - 40 * DAY), make_event(now() - 40 * DAY + minutes(1), 2))
    assert expire(place, now()).events == 2
    assert sum(total(place, "events").values()) == 2


def test_quarantine_and_conflicts_expire_too() -> None:
    from tracking.ledger import reconcile

    place = make_place(retention_days=30)
    first = make_event(now())
    send(place, first)
    poison(place, swap("props", b"{"))
    send_conflict(place, make_event(now(), event_id=first.event_id, fingerprint=1))
    count_in_valkey(place, accepted=2)
    drain(place)
    later = now() + 4000 * DAY  # the poisoned row says when it was received
    found = expire(place, later)
    assert (found.events, found.quarantined, found.conflicts) == (1, 1, 1)
    balance = reconcile(place, now())
    assert (balance.quarantined, balance.expired) == (0, 2)
    assert balance.adds_up


def test_a_dry_run_says_what_would_go_and_changes_nothing(capsys: Any) -> None:
    place = make_place(retention_days=30)
    drain(place, make_event(now() - 40 * DAY), make_event(now() - minutes(5), 2))
    roll_up(place, now())
    call_command("expire", place.key, dry_run=True, json=True)
    [line] = json.loads(capsys.readouterr().out)["properties"]
    assert (line["events"], line["sessions"]) == (1, 1)
    assert rows("events", place) == 2
    call_command("expire", place.key)
    assert f"{place.key}: 1 events, 1 sessions from before" in capsys.readouterr().out
    assert rows("events", place) == 1


def test_the_tick_finds_what_is_due_by_the_ledger() -> None:
    from privacy.expiring import expire_due

    place, other = make_place(retention_days=30), make_place(retention_days=400)
    for each in (place, other):
        drain(each, make_event(now() - 40 * DAY), make_event(now() - minutes(5), 2))
        roll_up(each, now())
    expire_due(now(), budget=60)
    assert (rows("events", place), rows("events", other)) == (1, 2)


def test_a_month_of_which_nothing_is_left_is_dropped() -> None:
    from privacy.expiring import drop_empty_months

    place = make_place(retention_days=30)
    drain(place, make_event(datetime(2001, 3, 5, tzinfo=UTC), received_at=now()))
    drain(place, make_event(datetime(2001, 4, 5, tzinfo=UTC), received_at=now()))
    roll_up(place, now())
    with connections["worker"].cursor() as cursor:
        cursor.execute(
            "DELETE FROM events WHERE property_id = %s AND time < '2001-04-01'", [place.pk]
        )
    dropped = drop_empty_months(now())
    assert date(2001, 3, 1) in dropped
    assert date(2001, 4, 1) not in dropped
    drain(place, make_event(datetime(2001, 3, 6, tzinfo=UTC), received_at=now()))
    assert rows("events", place) == 2


def test_the_web_may_not_drop_months() -> None:
    from django.db import connection
    from django.db.utils import ProgrammingError

    with pytest.raises(ProgrammingError), connection.cursor() as cursor:
        cursor.execute("SELECT drop_events_partition('2001-03-01')")


def test_who_asks_for_raw_events_that_are_gone_is_told(alice: Any, acme: Any) -> None:
    from properties.periods import zone
    from tests.people import signed_in_as

    place = aged(account=acme)
    later = now()
    expire(place, later)
    tz = zone(place.timezone)
    local = later.astimezone(tz).date()
    # Two days of 24 hours, which end on a third date where the clock was moved since.
    days = {"from": f"{local - 34 * DAY}", "to": f"{local - 30 * DAY}"}
    both = ["and", ["is", "page", ["/"]], ["is", "hostname", ["shop.example"]]]

    def ask(**more: Any) -> Any:
        body = {"metrics": ["events"], "range": days} | more
        return asked_of(place, body, later)

    counted = ask()
    assert (counted.totals["events"], counted.meta["exact"]) == (2 * 576, True)
    assert "raw_from" not in counted.meta
    left = ask(filters=both)
    assert left.totals["events"] < 2 * 576
    assert left.meta["exact"] is False
    since = datetime.fromisoformat(left.meta["raw_from"])
    assert later - 32 * DAY <= since <= later - 30 * DAY
    after = ask(filters=both, range={"from": f"{since.date()}", "to": f"{local}"}, compare=days)
    assert (after.meta["exact"], after.compared) == (True, None)
    assert ask(range="7d", compare=days).compared["totals"] == {"events": 2 * 576}
    query = f"?range={days['from']}..{days['to']}&filter=page:is:/&filter=country:is:DE"
    page = signed_in_as(alice).get(f"/p/{place.key}/{query}").content.decode()
    assert "older days are missing" in page


def asked_of(place: Any, body: dict[str, Any], at: datetime) -> Any:
    from accounts.tenancy import tenant
    from reports import queries

    with tenant(place.account_id):
        return queries.ask(place, queries.parse_question(place, body, at), at)
