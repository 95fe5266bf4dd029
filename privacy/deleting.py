"""Deleting a property, an account or one's own login: what it is, and everything below it.

Enters: a request whose person has typed the name. Leaves at once: no row of the property, so that
THE DOOR finds nothing and collectors refuse its key; and a Removal, in the same transaction. The
worker then takes what the pipeline keeps: tables, and keys of Valkey, each by its name. Safe to
repeat and to be killed anywhere. What stays is the entry in the audit log, and until the account
itself goes the ledger's counts by hour, by which the month's usage is known.
"""

import time
from collections.abc import Iterator
from copy import copy
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.apps import apps
from django.core.cache import cache
from django.db import connections, transaction
from django.utils import timezone
from django_redis import get_redis_connection
from psycopg import sql

from accounts import audit
from accounts.models import Account, Membership, User
from properties import leaving
from properties.access import Actor
from properties.granting import OWNER
from properties.models import Property
from tracking import keys, ledger, rounds, store
from tracking.models import Removal
from tracking.sampling import REFUSED, SEEN
from tracking.store import events_client
from tracking.visitor_map import BUCKETS
from tracking.working import JOBS, WORKER, clock_of, lock, transaction_of_worker

ROWS = 20_000  # of a statement
KEYS = 1_000  # of a command
BUDGET = 5.0  # seconds of a tick
FORGOTTEN = 3_600  # seconds after which every collector has asked for the property again
MOST_BITS = 16  # of buckets that are deleted one by one; the rest end by themselves in two days
KEPT = ("audit_entries", "ledger", "removals")  # tables that outlive a property

log = structlog.get_logger(__name__)


# -- what the page does ----------------------------------------------------------------------------


def delete_property(request: Any, place: Property) -> None:
    """Inside the tenant of THE DOOR."""
    before = copy(place)  # a deleted one has no number any more
    _remove(place)
    audit.record(
        before.account_id,
        "property.deleted",
        request=request,
        property=before,
        target=before.key,
        old=audit.snapshot(before, Property.SETTINGS),
    )


def _remove(place: Property) -> None:
    removal = Removal.objects.create(
        account_id=place.account_id,
        property_id=place.pk,
        key=place.key,
        timezone=place.timezone,
        version=place.version + 1,
        created=timezone.now(),
    )
    place.delete()
    transaction.on_commit(lambda: _tell(removal))


def delete_account(request: Any, account: Account) -> None:
    """With all its properties, members, keys and links. Inside the tenant of THE DOOR."""
    number = account.pk
    for place in Property.objects.of(account):
        _remove(place)
    Removal.objects.create(account_id=number, property_id=0, created=timezone.now())
    account.delete()
    audit.record(
        number, "account.deleted", request=request, target=account.slug, old={"name": account.name}
    )


def _tell(removal: Removal) -> None:
    """A version that no collector knows: each asks for the property again, and finds nothing."""
    try:
        store.publish_version(removal.account_id, removal.property_id, removal.version)
    except store.Unavailable as error:  # the worker does it first thing
        log.warning("deletion not published", property=removal.key, error=str(error))


class LastOwner(Exception):
    """Accounts that would be nobody's."""

    def __init__(self, accounts: list[Account]) -> None:
        self.accounts = accounts


def owned_alone(user: User) -> list[Account]:
    """Accounts of which she is the only owner, by name."""
    owned = Membership.objects.filter(user=user, role=OWNER).select_related("account")
    others = Membership.objects.filter(role=OWNER, user__is_active=True).exclude(user=user)
    kept = set(others.values_list("account_id", flat=True))
    accounts = [one.account for one in owned if one.account_id not in kept]
    return sorted(accounts, key=lambda account: account.name)


@transaction.atomic
def delete_login(request: Any, user: User) -> None:
    """The user, and everything that hangs on her alone. Raises LastOwner."""
    alone = owned_alone(user)
    if alone:
        raise LastOwner(alone)
    # In one order, and the account before its log in each, as everybody does who removes members.
    belongs = user.memberships.select_related("account", "user").order_by("account_id")  # type: ignore[attr-defined]
    for membership in belongs:
        leaving.leave(Actor(user), membership, request=request)
        audit.record(membership.account, "login.deleted", request=request)
    user.delete()


# -- what the worker does --------------------------------------------------------------------------


def remove_due(now: datetime, budget: float = BUDGET) -> int:
    """One tick: what was deleted, oldest first, until time is up. How many are gone for good."""
    deadline = time.monotonic() + budget
    gone = 0
    for removal in Removal.objects.using(WORKER).order_by("pk"):
        if time.monotonic() > deadline:
            break
        try:
            gone += _carry_out(removal, now, deadline)
        except Exception as error:  # whatever it is, it keeps nothing of others
            log.error("removal failed", property=removal.key, error=f"{error}"[:500])
            connections[WORKER].close_if_unusable_or_obsolete()
    return gone


def _carry_out(removal: Removal, now: datetime, deadline: float) -> bool:
    """False when time was up before everything was gone."""
    if removal.property_id:
        store.publish_version(removal.account_id, removal.property_id, removal.version)
        _keep_the_ledger(removal, now)
        _clear_valkey(removal, now)
        _wait_for_workers(removal)
    for table in _tables(removal):
        while count := _delete_rows(table, removal):
            if time.monotonic() > deadline:
                return False
            if count < ROWS:
                break
    removal.delete(using=WORKER)
    return True


def _keep_the_ledger(removal: Removal, now: datetime) -> None:
    """What came since the last tick was used, too: deleting a property gives no events back."""
    if Account.objects.using(WORKER).filter(pk=removal.account_id).exists():
        hours = ledger.hours_until(now, ledger.KEPT)
        lines = ledger.read([(removal.account_id, removal.property_id)], hours)
        with transaction_of_worker() as cursor:
            ledger.write(cursor, lines)


def _wait_for_workers(removal: Removal) -> None:
    """What drain or rollup have begun before the deletion is committed when this returns, so that
    the deletes see it; who begins later finds no events."""
    place = Property(pk=removal.property_id, account_id=removal.account_id)
    for job in JOBS:
        with transaction_of_worker() as cursor:
            lock(cursor, job, place, wait=True)


def _tables(removal: Removal) -> list[str]:
    """Of the pipeline; those of an account when it is one that was deleted."""
    kept = KEPT if removal.property_id else ("audit_entries", "removals")
    return [
        model._meta.db_table
        for model in apps.get_models()
        if getattr(model, "row_level_security", False) and model._meta.db_table not in kept
    ]


def _delete_rows(table: str, removal: Removal) -> int:
    """At most about ROWS; of a partitioned table some more, for places repeat in its parts."""
    column = "property_id" if removal.property_id else "account_id"
    if column == "property_id" and not _has(table, column):
        return 0
    statement = sql.SQL(
        "DELETE FROM {table} WHERE {column} = %(number)s AND ctid = ANY(ARRAY("
        "SELECT ctid FROM {table} WHERE {column} = %(number)s LIMIT %(most)s))"
    ).format(table=sql.Identifier(table), column=sql.Identifier(column))
    with transaction_of_worker() as cursor:
        number = removal.property_id or removal.account_id
        cursor.execute(statement, {"number": number, "most": ROWS})
        return cursor.rowcount


def _has(table: str, column: str) -> bool:
    [model] = [model for model in apps.get_models() if model._meta.db_table == table]
    return any(field.column == column for field in model._meta.concrete_fields)


# -- keys of Valkey --------------------------------------------------------------------------------


def _clear_valkey(removal: Removal, now: datetime) -> None:
    """Every key that the property can have, by name. `:m` with the version stays for an hour, so
    that a collector which still knows the property cannot bring it back."""
    prefix = keys.prefix(removal.account_id, removal.property_id)
    client = events_client()
    bits = client.hget(keys.meta(prefix), "d") or b"10"
    highest = int(client.hget(keys.meta(prefix), "n") or 0)
    client.unlink(*[keys.loyal(prefix, chunk) for chunk in range((highest >> 16) + 1)])
    for chunk in _chunks(_bits(prefix, removal, now)):
        client.unlink(*chunk)
    for chunk in _chunks(_names(prefix, removal, now, int(bits.split()[0]))):
        client.unlink(*chunk)
    client.expire(keys.meta(prefix), FORGOTTEN)
    cached = get_redis_connection("default")
    cached.delete(keys.samples(prefix, SEEN), keys.samples(prefix, REFUSED))
    cached.zrem(keys.WATCHED, str(removal.property_id))
    cached.delete(keys.seconds(prefix))
    cache.delete_many([f"online:{removal.property_id}", f"online:{removal.property_id}:turn"])


def _chunks(names: Iterator[str]) -> Iterator[list[str]]:
    chunk: list[str] = []
    for name in names:
        chunk.append(name)
        if len(chunk) == KEYS:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _quarters(now: datetime) -> range:
    """Starts of hours of the last days in any zone: they begin at quarters of hours."""
    last = int((now + timedelta(hours=2)).timestamp()) // 900 * 900
    return range(last - 4 * 86_400, last + 1, 900)


def _bits(prefix: str, removal: Removal, now: datetime) -> Iterator[str]:
    """Keys of bits, with their containers: what an hour has is said by its counters."""
    client = events_client()
    for hour in _quarters(now):
        whos = [
            code.decode() if code[:1] == b"E" else f"P{code[1:].decode()}"
            for code in client.hkeys(keys.counters(prefix, hour))
            if code[:1] in (b"E", b"A")
        ]
        if not whos:
            continue
        names = [keys.bits(prefix, keys.HOUR, hour, who) for who in ("a", *whos)]
        if hour > (now - timedelta(hours=5)).timestamp():
            names += [
                keys.bits(prefix, keys.MINUTE, minute, who)
                for minute in range(hour, hour + 3_661, 60)
                for who in ("a", *whos)
                if who[0] != "P"
            ]
        for name in names:
            yield name
            if client.type(name) == b"string":
                chunks = client.get(name) or b""
                for place, byte in enumerate(chunks):
                    for bit in range(8):
                        if byte & 128 >> bit:
                            yield keys.container(name, 8 * place + bit)


def _names(prefix: str, removal: Removal, now: datetime, bits: int) -> Iterator[str]:
    yield from (keys.stream(prefix), keys.online(prefix))
    yield from (keys.online_visitors(prefix), keys.online_looks(prefix))
    minute = int(now.timestamp()) // 60 * 60
    for back in range(-2, rounds.LIVE // 60 + 2):
        yield keys.samples_of_minute(prefix, minute - 60 * back)
    yield from (keys.loyal_made(prefix), keys.watch(prefix), keys.feed(prefix))
    hour = int(now.timestamp()) // 3_600 * 3_600
    yield from (keys.ledger(prefix, hour - 3_600 * back) for back in range(-1, 9 * 24))
    clock = clock_of(removal.timezone)
    days = {clock.stamps((hour - 3_600 * back) * 1000)[2] for back in range(-25, 5 * 24)}
    for day in days:
        yield from (keys.dictionary(prefix, day, name) for name in keys.DIMENSIONS)
    yield from (keys.counters(prefix, quarter) for quarter in _quarters(now))
    yield from (keys.visitors(prefix, f"{bucket:04x}") for bucket in range(BUCKETS))
    today = int(now.timestamp()) // 86_400
    for width in range(keys.LEAST_BITS, min(bits, MOST_BITS) + 1, 2):
        for bucket in range(2**width):
            yield keys.event_ids(prefix, width, bucket)
            for day in range(today - 3, today + 2):
                yield keys.visitors_of_day(prefix, day, width, bucket)
