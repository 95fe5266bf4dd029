"""The audit log: entries are added in the tenant, sealed in a chain, and never changed."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from typing import Any

import pytest
from django.db import connections
from django.db.utils import ProgrammingError

from tests.people import new_key


def entries(account: Any, *actions: str) -> list[Any]:
    """The account's log, oldest first; of these actions only, if any are named."""
    from accounts.models import AuditEntry
    from accounts.tenancy import tenant

    with tenant(account.pk):
        found = AuditEntry.objects.filter(account_id=account.pk).order_by("number")
        return list(found.filter(action__in=actions) if actions else found)


def verify(*args: str) -> tuple[int, dict[str, Any]]:
    """(exit code, answer) of `manage.py verify_audit ... --json`."""
    from django.core.management import call_command

    out, code = StringIO(), 0
    try:
        call_command("verify_audit", *args, "--json", stdout=out)
    except SystemExit as end:
        code = int(str(end.code))
    return code, json.loads(out.getvalue())


# -- what an entry holds ---------------------------------------------------------------------------


def test_an_entry_says_who_what_when_from_where_old_and_new(
    acme: Any, shop: Any, alice: Any, rf: Any
) -> None:
    from django.utils import timezone

    from accounts.audit import record

    request = rf.get("/", headers={"user-agent": "Mozilla/5.0 " + "x" * 1000})
    request.META["REMOTE_ADDR"] = "203.0.113.7"
    request.user = alice
    before = timezone.now()
    record(
        acme,
        "property.changed",
        request=request,
        property=shop,
        target="Shop",
        old={"name": "Store"},
        new={"name": "Shop"},
    )
    entry = entries(acme)[-1]
    assert (entry.action, entry.actor_kind, entry.actor_id, entry.actor_name) == (
        "property.changed",
        "user",
        alice.pk,
        alice.email,
    )
    assert (entry.address, len(entry.user_agent), entry.target) == ("203.0.113.7", 400, "Shop")
    assert (entry.property_id, entry.property_name) == (shop.pk, "Shop")
    assert (entry.old, entry.new) == ({"name": "Store"}, {"name": "Shop"})
    assert entry.at >= before
    assert len(entry.hash) == 32


def test_a_key_is_named_by_its_prefix_and_the_system_by_nobody(acme: Any) -> None:
    from accounts.audit import record

    key, secret = new_key(acme, "audience:view")
    record(acme, "api_key.used", actor=key)
    record(acme, "api_key.revoked", target=str(key))
    used, revoked = entries(acme)[-2:]
    assert (used.actor_kind, used.actor_id, used.actor_name) == ("api key", key.pk, str(key))
    assert (revoked.actor_kind, revoked.actor_id, revoked.actor_name) == ("system", None, "")
    assert secret not in str(vars(used))


def test_an_impersonator_stands_beside_the_one_who_is_played(
    acme: Any, alice: Any, vera: Any, rf: Any
) -> None:
    from accounts.audit import record

    request = rf.get("/")
    request.user, request.impersonator = alice, vera
    record(acme, "session.opened", request=request)
    entry = entries(acme)[-1]
    assert (entry.actor_name, entry.impersonator_name) == (alice.email, vera.email)
    assert entry.impersonator_id == vera.pk


def test_an_unknown_action_is_refused(acme: Any) -> None:
    from accounts.audit import UnknownAction, record

    with pytest.raises(UnknownAction, match=r"docs/audit\.md"):
        record(acme, "property.painted")


def test_what_postgres_cannot_hold_is_written_so_that_it_can(acme: Any, rf: Any) -> None:
    from decimal import Decimal

    from accounts.audit import record

    new = {"a\x00b": "\ud800", "n": float("nan"), "d": Decimal("1.50"), "l": ["x" * 9000] * 500}
    record(acme, "goal.changed", request=rf.get("/", headers={"user-agent": "\x00"}), new=new)
    stored = entries(acme)[-1].new
    assert stored["a\ufffdb"] == "?"
    assert (stored["n"], stored["d"]) == ("nan", "1.50")
    assert (len(stored["l"]), len(stored["l"][0])) == (200, 2000)


def test_changes_are_the_fields_that_differ() -> None:
    from accounts.audit import changes

    assert changes({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4}) == (
        {"b": 2, "c": None},
        {"b": 3, "c": 4},
    )


def test_an_undone_change_leaves_no_entry(acme: Any) -> None:
    from django.db import transaction

    from accounts.audit import record

    before = len(entries(acme))
    with pytest.raises(RuntimeError), transaction.atomic():
        record(acme, "goal.created")
        raise RuntimeError
    assert len(entries(acme)) == before


# -- append-only -----------------------------------------------------------------------------------


@pytest.mark.parametrize("user", ["default", "worker", "owner"])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entries SET target = 'x'",
        "DELETE FROM audit_entries",
        "TRUNCATE audit_entries",
        "TRUNCATE audit_entries CASCADE",
    ],
)
def test_nobody_changes_the_log(acme: Any, user: str, statement: str) -> None:
    from accounts.audit import record

    record(acme, "goal.created")
    refused = pytest.raises(ProgrammingError, match=r"append-only|permission denied")
    with refused, connections[user].cursor() as cursor:
        cursor.execute(statement)
    assert entries(acme)[-1].target == ""


def test_the_triggers_fire_for_a_superuser_who_replays_as_a_replica_too(acme: Any) -> None:
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "SELECT tgname, tgenabled::text FROM pg_trigger"
            " WHERE tgrelid = 'audit_entries'::regclass AND NOT tgisinternal"
        )
        assert dict(cursor.fetchall()) == {"audit_seal": "A", "audit_freeze": "A"}


def test_an_entry_of_another_tenant_can_neither_be_added_nor_seen(acme: Any, charlie: Any) -> None:
    from accounts.audit import record
    from accounts.models import AuditEntry
    from accounts.tenancy import tenant

    other = charlie.memberships.get().account
    record(acme, "goal.created")
    record(other, "goal.created")
    assert not AuditEntry.objects.exists()
    with tenant(acme.pk):
        assert set(AuditEntry.objects.values_list("account_id", flat=True)) == {acme.pk}
    with pytest.raises(ProgrammingError, match="row-level security"), tenant(acme.pk):
        AuditEntry.objects.create(account_id=other.pk, action="goal.created")


def test_the_log_outlives_its_account(alice: Any) -> None:
    from accounts.audit import record
    from tests.people import new_account

    account = new_account(alice)
    record(account, "goal.created")
    number = account.pk
    account.delete()
    account.pk = number
    assert entries(account)[-1].action == "goal.created"


# -- the chain -------------------------------------------------------------------------------------


@contextmanager
def switched_off_triggers() -> Iterator[Any]:
    """What only an owner of the database can do, and what the chain is for."""
    with connections["owner"].cursor() as cursor:
        cursor.execute("ALTER TABLE audit_entries DISABLE TRIGGER ALL")
        cursor.execute("ALTER TABLE audit_entries NO FORCE ROW LEVEL SECURITY")
        try:
            yield cursor
        finally:
            cursor.execute("ALTER TABLE audit_entries FORCE ROW LEVEL SECURITY")
            cursor.execute("ALTER TABLE audit_entries ENABLE ALWAYS TRIGGER audit_seal")
            cursor.execute("ALTER TABLE audit_entries ENABLE ALWAYS TRIGGER audit_freeze")


@pytest.fixture
def five(acme: Any) -> Any:
    from accounts.audit import record

    start = len(entries(acme))
    for name in "abcde":
        record(acme, "goal.created", target=name, new={"name": name, "minimum": 1.5})
    assert [entry.number for entry in entries(acme)] == list(range(1, start + 6))
    return acme


def test_an_untouched_log_is_whole(five: Any) -> None:
    code, answer = verify(five.slug)
    last = entries(five)[-1]
    assert code == 0
    assert answer["accounts"] == [
        {
            "account": five.slug,
            "entries": last.number,
            "head": f"{last.number}:{bytes(last.hash).hex()}",
            "broken": [],
        }
    ]


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        ("UPDATE audit_entries SET target = 'x' WHERE account_id = %s AND number = 3", [3]),
        ("UPDATE audit_entries SET new = '{}' WHERE account_id = %s AND number = 3", [3]),
        ("UPDATE audit_entries SET at = at + interval '1 us' WHERE account_id = %s", [1, 2, 3]),
        ("UPDATE audit_entries SET hash = '' WHERE account_id = %s AND number = 3", [3, 4]),
        ("DELETE FROM audit_entries WHERE account_id = %s AND number = 3", [4]),
        ("DELETE FROM audit_entries WHERE account_id = %s AND number = 1", [2]),
    ],
)
def test_a_tampered_row_is_reported(five: Any, change: str, broken: list[int]) -> None:
    with switched_off_triggers() as cursor:
        cursor.execute(change, [five.pk])
    code, answer = verify(five.slug)
    assert code == 1
    assert answer["accounts"][0]["broken"][: len(broken)] == broken


def test_a_kept_head_tells_that_the_end_is_missing(five: Any) -> None:
    _, answer = verify(five.slug)
    head = answer["accounts"][0]["head"]
    assert verify(five.slug, "--head", head)[0] == 0
    with switched_off_triggers() as cursor:
        last = entries(five)[-1].number
        cursor.execute(
            "DELETE FROM audit_entries WHERE account_id = %s AND number = %s", [five.pk, last]
        )
    assert verify(five.slug)[0] == 0
    code, answer = verify(five.slug, "--head", head)
    assert (code, answer["accounts"][0]["broken"]) == (1, [last])


def test_entries_at_the_same_time_make_one_chain(acme: Any) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from django.db import connection

    from accounts.audit import record

    def write(number: int) -> None:
        record(acme, "goal.created", target=str(number))
        connection.close()

    before = len(entries(acme))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(20)))
    assert len(entries(acme)) == before + 20
    assert verify(acme.slug)[0] == 0


def test_the_documentation_lists_every_action() -> None:
    import re
    from pathlib import Path

    from accounts.audit import ACTIONS

    text = (Path(__file__).parent.parent / "docs" / "audit.md").read_text()
    assert dict(re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \| (.+) \|$", text, re.M)) == ACTIONS
