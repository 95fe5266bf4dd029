"""Isolation in depth: what a tenant sees when the code above Postgres makes a mistake.

A row of two accounts lies in every tenant table. Views of this file forget their filter, take
another account's property for their own, or forget the tenant; they stand behind the real DOOR, on
the real pool. None of them shows a row of the other account.
"""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.db import connection, connections
from psycopg import sql

from tests.people import new_key, new_property, new_user, signed_in_as, with_key

DOCS = Path(__file__).parent.parent / "docs" / "isolation.md"
MADE_UP = {
    "bigint": 1,
    "integer": 1,
    "smallint": 1,
    "numeric": 1,
    "boolean": False,
    "text": "x",
    "character varying": "x",
    "timestamp with time zone": datetime(2026, 5, 18, 12, tzinfo=UTC),
    "date": datetime(2026, 5, 18, 12, tzinfo=UTC),
    "uuid": "6f1f9a80-6f3c-4d3c-9df1-0d6b3b0a2b11",
    "bytea": b"a\tb\tc",
    "jsonb": "{}",
    "ARRAY": "{}",
}
COLUMNS = """
SELECT column_name, data_type FROM information_schema.columns
WHERE table_schema = 'public' AND table_name = %s AND is_nullable = 'NO'
AND column_default IS NULL AND is_identity = 'NO'
"""


def fill(place: Any) -> None:
    """A made-up row of this property in every tenant table."""
    from accounts.rls import tenant_tables

    with connections["worker"].cursor() as cursor:
        cursor.execute("SELECT ensure_events_partition(%s::date)", [MADE_UP["date"]])
        for table in tenant_tables():
            cursor.execute(COLUMNS, [table])
            values = {name: MADE_UP[kind] for name, kind in cursor.fetchall()}
            values["account_id"] = place.account_id
            if "property_id" in values:
                values["property_id"] = place.pk
            cursor.execute(
                sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
                    sql.Identifier(table),
                    sql.SQL(", ").join(map(sql.Identifier, values)),
                    sql.SQL(", ").join([sql.Placeholder()] * len(values)),
                ),
                list(values.values()),
            )


def empty(place: Any) -> None:
    """Take them out again: what ticks of other tests would carry out must not be made up."""
    from django.apps import apps

    from accounts.rls import tenant_tables

    kept = {m._meta.db_table for m in apps.get_models() if getattr(m, "append_only", False)}
    with connections["worker"].cursor() as cursor:
        for table in set(tenant_tables()) - kept:
            statement = sql.SQL("DELETE FROM {} WHERE account_id = %s")
            cursor.execute(statement.format(sql.Identifier(table)), [place.account_id])


@pytest.fixture
def mine(shop: Any) -> Iterator[Any]:
    fill(shop)
    yield shop
    empty(shop)


@pytest.fixture
def theirs() -> Iterator[Any]:
    place = new_property()
    fill(place)
    yield place
    empty(place)


def everything() -> dict[str, set[int]]:
    """Accounts of which a forgetful query finds rows, by table."""
    from accounts.rls import tenant_tables

    found = {}
    with connection.cursor() as cursor:
        for table in tenant_tables():
            asked = sql.SQL("SELECT DISTINCT account_id FROM {}").format(sql.Identifier(table))
            cursor.execute(asked)
            found[table] = {account for (account,) in cursor.fetchall()}
    return found


def of_tables(account_ids: set[int]) -> dict[str, set[int]]:
    from accounts.rls import tenant_tables

    return dict.fromkeys(tenant_tables(), account_ids)


# -- views that forget -----------------------------------------------------------------------------


@pytest.fixture
def forgetful(settings: Any) -> None:
    """The URLconf with views whose authors were not careful."""
    from django.http import HttpRequest, JsonResponse
    from django.urls import path
    from rest_framework.response import Response

    from accounts.tenancy import tenant
    from properties.access import DoorView, door
    from properties.streaming import csv_download

    def as_json(found: dict[str, set[int]]) -> dict[str, list[int]]:
        return {table: sorted(accounts) for table, accounts in found.items()}

    @door("audience")
    def page(request: HttpRequest, place: Any) -> JsonResponse:
        return JsonResponse(as_json(everything()))

    @door("audience")
    def file(request: HttpRequest, place: Any) -> Any:
        def blocks() -> Iterator[Any]:
            for _ in range(2):
                with tenant(place.account_id):
                    rows = list(everything().items())
                yield [(table, *accounts) for table, accounts in rows]

        return csv_download("all.csv", blocks())

    @door("audience")
    def careless_file(request: HttpRequest, place: Any) -> Any:
        def blocks() -> Iterator[Any]:  # made when the view's transaction is over
            yield [(table, *accounts) for table, accounts in everything().items()]

        return csv_download("all.csv", blocks())

    class Api(DoorView):
        module = "audience"

        def get(self, request: Any, key: str) -> Response:
            return Response(as_json(everything()))

    urlconf = ModuleType("forgetful_urls")
    urlconf.urlpatterns = [  # type: ignore[attr-defined]
        path("page/<str:key>/", page),
        path("file/<str:key>/", file),
        path("careless/<str:key>/", careless_file),
        path("api/<str:key>", Api.as_view()),
    ]
    settings.ROOT_URLCONF = urlconf


def test_the_rows_of_both_lie_in_every_tenant_table(mine: Any, theirs: Any) -> None:
    """Or nothing below would prove anything."""
    from accounts.rls import tenant_tables

    assert len(tenant_tables()) > 15
    with connections["worker"].cursor() as cursor:
        for table in tenant_tables():
            cursor.execute(
                sql.SQL(
                    "SELECT count(DISTINCT account_id) FROM {} WHERE account_id IN (%s, %s)"
                ).format(sql.Identifier(table)),
                [mine.account_id, theirs.account_id],
            )
            assert cursor.fetchone() == (2,), table


def test_a_view_that_forgets_its_filter_shows_one_account(
    mine: Any, theirs: Any, alice: Any, forgetful: None
) -> None:
    expected = {table: [mine.account_id] for table in of_tables(set())}
    assert signed_in_as(alice).get(f"/page/{mine.key}/").json() == expected
    _, secret = new_key(mine.account, "audience:view")
    assert with_key(secret).get(f"/api/{mine.key}").json() == expected


def test_a_streamed_file_that_forgets_its_filter_shows_one_account(
    mine: Any, theirs: Any, alice: Any, forgetful: None
) -> None:
    answer = signed_in_as(alice).get(f"/file/{mine.key}/")
    lines = b"".join(answer.streaming_content).decode().split()
    assert sorted(lines) == sorted(2 * [f"{table},{mine.account_id}" for table in of_tables(set())])


def test_a_stream_that_forgets_the_tenant_shows_nothing(
    mine: Any, theirs: Any, alice: Any, forgetful: None
) -> None:
    answer = signed_in_as(alice).get(f"/careless/{mine.key}/")
    lines = b"".join(answer.streaming_content).decode().split()
    assert sorted(lines) == sorted(of_tables(set()))


def test_an_export_that_mixes_up_properties_is_empty(mine: Any, theirs: Any) -> None:
    import json

    from privacy import exporting
    from privacy.subjects import Subject
    from properties.models import Property

    mixed_up = Property(pk=theirs.pk, account_id=mine.account_id, key=theirs.key)
    mixed_up.first_key = theirs.first_key
    for kind, target in (("visitor", MADE_UP["uuid"]), ("user", "x")):
        subject = Subject(kind, target)
        found, empty = (
            json.loads(b"".join(exporting.as_json(place, subject, datetime.now(UTC))))
            for place in (theirs, mixed_up)
        )
        assert found["visitors"] or found["person"]
        assert not any(empty[part] for part in ("visitors", "person", "events", "sessions"))
        assert len(list(exporting.as_csv(mixed_up, subject))) == 1  # the heading


def test_a_report_that_mixes_up_properties_counts_nothing(mine: Any, theirs: Any) -> None:
    from accounts.tenancy import tenant
    from tracking.models import Event, Session

    with tenant(mine.account_id):
        for model in (Event, Session):
            assert model.objects.filter(property_id=mine.pk).exists()
            assert not model.objects.filter(property_id=theirs.pk).exists()


# -- the pool --------------------------------------------------------------------------------------


def test_no_connection_of_the_pool_carries_a_tenant_over(mine: Any, theirs: Any) -> None:
    """Twelve threads on at most eight connections, changing accounts, some of them failing."""
    from accounts.tenancy import SETTING, tenant

    served: dict[int, set[int]] = {mine.account_id: set(), theirs.account_id: set()}

    def work(number: int) -> None:
        account_id = (mine, theirs)[number % 2].account_id
        try:
            with tenant(account_id), connection.cursor() as cursor:
                assert everything() == of_tables({account_id})
                cursor.execute("SELECT pg_backend_pid()")
                served[account_id].add(cursor.fetchone()[0])
                if number % 5 == 0:
                    raise RuntimeError
        except RuntimeError:
            pass
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting(%s, true)", [SETTING])
            assert not cursor.fetchone()[0]
        assert everything() == of_tables(set())
        connection.close()  # back into the pool

    with ThreadPoolExecutor(12) as threads:
        list(threads.map(work, range(60)))
    assert served[mine.account_id] & served[theirs.account_id], "no connection served both"


# -- what stands outside, and why ------------------------------------------------------------------

WITH_A_TENANT = """
SELECT relname::text, relrowsecurity AND relforcerowsecurity FROM pg_class
JOIN pg_attribute ON attrelid = pg_class.oid AND attname IN ('account_id', 'property_id')
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')
AND NOT relispartition AND relname !~ '^socialaccount_'
GROUP BY 1, 2
"""


def documented(heading: str) -> set[str]:
    table = DOCS.read_text().split(heading, 1)[1].split("\n## ", 1)[0]
    return set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))


def test_the_documentation_lists_what_is_guarded_and_what_is_not() -> None:
    with connection.cursor() as cursor:
        cursor.execute(WITH_A_TENANT)
        guarded = dict(cursor.fetchall())
    assert {name for name, is_guarded in guarded.items() if is_guarded} == documented("## Guarded")
    assert {name for name, is_guarded in guarded.items() if not is_guarded} == documented(
        "## Not guarded"
    )


def test_the_documentation_says_what_the_web_may_write() -> None:
    text = DOCS.read_text().split("## Guarded", 1)[1].split("\n## ", 1)[0]
    says = dict(re.findall(r"^\| `(\w+)` \|.*\| ([^|]+) \|$", text, re.MULTILINE))
    asked = "SELECT has_table_privilege(current_user, %s::text, %s)"
    with connection.cursor() as cursor:
        for table, words in says.items():
            rights = []
            for right in ("INSERT", "UPDATE", "DELETE"):
                cursor.execute(asked, [table, right])
                rights.append(cursor.fetchone()[0])
            named = {
                (False, False, False): "-",
                (True, False, False): "adds rows",
                (True, True, False): "makes and changes rows",
                (True, True, True): "makes, changes and deletes rows",
            }
            assert words == named[tuple(rights)], table


def test_partitions_are_no_way_round(mine: Any) -> None:
    """The policy stands on the parent; the web's user has no right on the parts."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*), bool_or(has_table_privilege(current_user, inhrelid, 'SELECT'))"
            " FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid AND relkind IN ('r', 'p')"
        )
        parts, may_read = cursor.fetchone()
    assert parts > 1
    assert may_read is False


def test_the_tenant_is_looked_up_once_a_statement(mine: Any) -> None:
    """Not once a row, which costs a report of many rollups a quarter of its reading."""
    from accounts.rls import tenant_tables
    from accounts.tenancy import tenant

    with tenant(mine.account_id), connection.cursor() as cursor:
        for table in tenant_tables():
            explain = sql.SQL("EXPLAIN SELECT count(*) FROM {}").format(sql.Identifier(table))
            cursor.execute(explain)
            plan = "\n".join(line for (line,) in cursor.fetchall())
            assert "InitPlan" in plan, table
            filters = re.findall("(?:Filter|Cond): (.*)", plan)
            assert not any("current_setting" in each for each in filters), table


def test_a_person_of_two_accounts_sees_each_in_its_place(mine: Any, theirs: Any) -> None:
    """Her rights reach both; a page shows the one that its address names."""
    from properties.joining import join

    user = new_user("both")
    join(mine.account, user, "admin")
    join(theirs.account, user, "admin")
    client = signed_in_as(user)
    for place in (mine, theirs):
        answer = client.get(f"/api/v1/accounts/{place.account.slug}/audit")
        numbers = {entry["property"] for entry in answer.json()["results"]}
        other = theirs if place is mine else mine
        assert other.key not in str(answer.json())
        assert numbers <= {None, place.key}
