"""Deleting a property, an account, one's login: nothing is left, and nothing of others goes."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.apps import apps
from django.db import connections
from psycopg import sql

from tests.people import fresh, new_account, new_property, new_user, signed_in_as
from tests.test_erasing import collect, payload
from tests.test_rollups import drain, roll_up


def now() -> datetime:
    return datetime.now(UTC)


def rows(column: str, number: int) -> set[str]:
    """Tables of the pipeline with a row of that property or account."""
    found = set()
    with connections["worker"].cursor() as cursor:
        for model in apps.get_models():
            table = model._meta.db_table
            if not getattr(model, "row_level_security", False):
                continue
            if column not in {field.column for field in model._meta.concrete_fields}:
                continue
            asked = sql.SQL("SELECT EXISTS (SELECT FROM {} WHERE {} = %s)")
            names = sql.Identifier(table), sql.Identifier(column)
            cursor.execute(asked.format(*names), [number])
            if cursor.fetchone()[0]:
                found.add(table)
    return found


def keys_of(place: Any) -> set[str]:
    """Keys of both Valkeys with the property's hash tag."""
    import redis
    from django.conf import settings

    from tracking import keys

    tag = keys.prefix(place.account_id, place.pk)
    return {
        key.decode()
        for url in (settings.EVENTS_URL, settings.BROKER_URL)
        for key in redis.Redis.from_url(url).scan_iter(f"*{tag}*", count=1_000)
    }


def filled(account: Any, **fields: Any) -> Any:
    """A property with events in every stage."""
    from tracking import concurrency, rounds

    place = new_property(account, **fields)
    pages = [f"https://shop.example/{n % 2}" for n in range(600)]  # bits in containers
    collect(place, *[payload(str(uuid.uuid4()), url=page) for page in pages])
    drain(place)
    roll_up(place, now())
    collect(place, payload(str(uuid.uuid4()), user=fresh("user"), name="loginUser"))
    collect(place, {"name": "ping", "visitor": str(uuid.uuid4()), "tab": str(uuid.uuid4())})
    rounds.take_across_accounts(round(now().timestamp() * 1000))
    concurrency.keep_across_accounts(now() + timedelta(minutes=2))
    return place


def remove() -> None:
    from privacy.deleting import remove_due

    remove_due(now(), budget=120)


@pytest.mark.parametrize("privacy", ["cookies", "cookieless"])
def test_of_a_deleted_property_nothing_is_left(
    alice: Any, acme: Any, shop: Any, privacy: str
) -> None:
    from tracking.collecting import Answer
    from tracking.store import Unavailable

    place = filled(acme, timezone="Asia/Kolkata", privacy=privacy)
    other = new_property(acme)
    collect(other, payload(str(uuid.uuid4())))
    client, path = signed_in_as(alice), f"/p/{place.key}/settings/privacy/delete/"
    refused = client.post(path, {"typed": "Another"})
    assert "That is not the name." in refused.content.decode()
    assert client.post(path, {"typed": place.name}).status_code == 302
    for page in (f"/p/{place.key}/", f"/api/v1/properties/{place.key}"):
        assert client.get(page).status_code == 404
    with pytest.raises(Unavailable):
        late: Answer = collect(place, payload(str(uuid.uuid4())))  # as an old collector would
        raise AssertionError(late)
    remove()
    assert rows("property_id", place.pk) <= {"ledger", "audit_entries"}
    assert {key.rpartition(":")[2] for key in keys_of(place)} <= {"m"}
    assert keys_of(other)
    from accounts.models import AuditEntry
    from accounts.tenancy import tenant

    with tenant(acme.pk):
        entry = AuditEntry.objects.get(action="property.deleted", target=place.key)
    assert entry.actor_name == alice.email


def test_of_a_deleted_account_only_the_audit_log_is_left(charlie: Any) -> None:
    from accounts.models import Account, Membership

    owner = new_user("owner")
    account = new_account(owner)
    places = [filled(account), new_property(account)]
    client, path = signed_in_as(owner), f"/a/{account.slug}/delete/"
    page = client.get(path).content.decode()
    assert all(place.key in page for place in places)
    assert client.post(path, {"typed": account.name}).status_code == 302
    assert client.get(f"/a/{account.slug}/").status_code == 404
    remove()
    assert rows("account_id", account.pk) == {"audit_entries"}
    assert not Account.objects.filter(pk=account.pk).exists()
    assert not Membership.objects.filter(account_id=account.pk).exists()
    assert Account.objects.filter(memberships__user=charlie).exists()


def test_only_an_owner_deletes_an_account(acme: Any) -> None:
    from properties.joining import join

    admin = new_user("admin")
    join(acme, admin, "admin")
    client = signed_in_as(admin)
    for answer in (
        client.get(f"/a/{acme.slug}/delete/"),
        client.post(f"/a/{acme.slug}/delete/", {"typed": acme.name}),
    ):
        assert answer.status_code == 403


def test_the_last_owner_cannot_go_and_others_can(alice: Any, acme: Any, vera: Any) -> None:
    from accounts.models import User

    client = signed_in_as(alice)
    page = client.post("/user/delete/", {"typed": alice.email}).content.decode()
    assert "You are the only owner of these accounts" in page
    assert User.objects.filter(pk=alice.pk).exists()
    gone = signed_in_as(vera)
    assert "That is not the name" in gone.post("/user/delete/", {"typed": "x"}).content.decode()
    assert gone.post("/user/delete/", {"typed": vera.email}).status_code == 302
    assert not User.objects.filter(pk=vera.pk).exists()
    assert gone.get(f"/a/{acme.slug}/").status_code == 302
    assert acme.memberships.count() == 1


def test_a_worker_that_was_at_it_brings_nothing_of_a_deleted_property_back() -> None:
    """A drain that began before the deletion and commits after it."""
    import threading

    from tracking import drain as draining

    place = new_property()
    for _ in range(2):
        drain(place)
        collect(place, payload(str(uuid.uuid4())))
    place.refresh_from_db()
    at_commit, go_on = threading.Event(), threading.Event()
    real = draining.faults.point

    def point(name: str) -> None:
        if name == "before_commit" and threading.current_thread() is drainer:
            at_commit.set()
            go_on.wait(60)
        real(name)

    def run() -> None:
        try:
            draining.drain_property(place)
        finally:
            connections.close_all()

    drainer = threading.Thread(target=run)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(draining.faults, "point", point)
        drainer.start()
        assert at_commit.wait(60)
        delete(place)
        remover = threading.Thread(target=lambda: (remove(), connections.close_all()))
        remover.start()
        remover.join(3)  # it waits, or is through
        go_on.set()
        drainer.join()
        remover.join()
    assert rows("property_id", place.pk) <= {"ledger"}


def test_one_that_cannot_be_removed_keeps_nothing_of_others(monkeypatch: Any) -> None:
    """Whatever the fault: here one that no server reports, in the older of two."""
    from privacy import deleting

    places = [new_property(), new_property()]
    numbers = [place.pk for place in places]
    for place in places:
        collect(place, payload(str(uuid.uuid4())))
        drain(place)
        delete(place)
    real = deleting._clear_valkey

    def clear(removal: Any, at: datetime) -> None:
        if removal.property_id == numbers[0]:
            raise ValueError("Unknown time zone")
        real(removal, at)

    with monkeypatch.context() as patch:
        patch.setattr(deleting, "_clear_valkey", clear)
        remove()
    assert "removals" in rows("property_id", numbers[0])
    assert rows("property_id", numbers[1]) <= {"ledger"}
    remove()
    assert rows("property_id", numbers[0]) <= {"ledger"}


def test_what_a_deleted_property_took_stays_used(charlie: Any) -> None:
    from tracking.models import Ledger

    place = new_property(new_account(charlie))
    collect(place, *[payload(str(uuid.uuid4())) for _ in range(7)])
    delete(place)  # before any tick
    remove()
    rows = Ledger.objects.using("worker").filter(property_id=place.pk)
    assert [(row.account_id, row.accepted) for row in rows] == [(place.account_id, 7)]


@pytest.mark.parametrize("what", ["property", "account", "login"])
def test_the_log_is_told_last_so_that_nobody_waits_for_two(what: str, rf: Any) -> None:
    """The log of an account stays locked to the end: whoever tells it and then waits for a row
    would be waited for by those who have the row and tell the log."""
    from django.db.models.signals import pre_delete

    from accounts import audit
    from accounts.tenancy import tenant
    from privacy import deleting

    owner, other = new_user("owner"), new_user("owner")
    account = new_account(owner)
    from properties.joining import join

    join(account, other, "owner")
    place = new_property(account)
    request = rf.get("/")
    request.user = other
    order: list[str] = []
    real = audit.AuditEntry.objects.create

    def create(**fields: Any) -> Any:
        order.append("told")
        return real(**fields)

    def deleted(sender: Any, **kwargs: Any) -> None:
        if sender._meta.model_name in ("property", "account", "membership"):
            order.append("row")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audit.AuditEntry.objects, "create", create)
        pre_delete.connect(deleted)
        try:
            if what == "login":
                deleting.delete_login(request, other)
            else:
                with tenant(account.pk):
                    if what == "property":
                        deleting.delete_property(request, place)
                    else:
                        deleting.delete_account(request, account)
        finally:
            pre_delete.disconnect(deleted)
    assert "told" in order
    assert order.index("told") > max(at for at, step in enumerate(order) if step == "row")


def delete(place: Any) -> None:
    from accounts.tenancy import tenant
    from privacy import deleting

    with tenant(place.account_id):
        deleting._remove(type(place).objects.across_accounts().get(pk=place.pk))
