"""The administration: how the installation is at a glance, ticks, and tables over all accounts."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis

from tests.people import PASSWORD, fresh, new_account, new_user, signed_in_as
from tests.test_quota import keep, make_plan  # noqa: F401
from tests.test_store import pageview, send

PAGES = ("/admin/", "/admin/usage/", "/admin/refusals/", "/admin/ticks/", "/admin/audit/")


@pytest.fixture
def boss() -> Any:
    from accounts.models import User

    return User.objects.create_superuser(f"{fresh('boss')}@example.com", PASSWORD)


def now() -> datetime:
    return datetime.now(UTC)


def tick(name: str) -> Any:
    from tracking import ticks

    return next(one for one in ticks.known(now()) if one.name == name)


# -- ticks -----------------------------------------------------------------------------------------


def test_a_turn_of_a_tick_is_told() -> None:
    from aktivat.celery import app
    from tracking import tasks

    app.loader.import_default_modules()
    before = time.time()
    tasks.end_support.apply()
    found = tick("end support")
    assert found.began.timestamp() >= before - 1
    assert found.ended is not None
    assert found.lasted_ms is not None
    assert found.every == 60
    assert found.is_well


def test_a_tick_that_fails_says_why_until_it_succeeds(monkeypatch: Any) -> None:
    from aktivat.celery import app
    from tracking import tasks

    app.loader.import_default_modules()

    def fail(*args: Any) -> None:
        raise RuntimeError("disk \udc80 full")

    with monkeypatch.context() as broken:
        broken.setattr(tasks.quota, "send_notices", fail)
        tasks.send_usage_mails.apply()
    failed = tick("send usage mails")
    assert failed.is_failing
    assert failed.error == "RuntimeError: disk ? full"
    tasks.send_usage_mails.apply()
    well = tick("send usage mails")
    assert not well.is_failing
    assert well.failures == failed.failures


def test_a_tick_that_does_not_come_is_missing() -> None:
    from tracking import ticks

    name = f"tracking.tasks.{fresh('t').replace('-', '_')}"
    ticks.began(name, 10, time.time() - 59)
    shown = name.rpartition(".")[2].replace("_", " ")
    assert tick(shown).is_well
    ticks.began(name, 10, time.time() - 61)
    assert tick(shown).is_late


def test_telling_harms_no_tick(monkeypatch: Any) -> None:
    from tracking import ticks

    def away(alias: str) -> Any:
        raise redis.exceptions.ConnectionError

    monkeypatch.setattr(ticks, "get_redis_connection", away)
    ticks.began("a", 1, 0)
    ticks.failed("a", "b", 0)
    ticks.ended("a", 0)


# -- at a glance -----------------------------------------------------------------------------------


def test_the_first_page_shows_what_needs_a_look(
    boss: Any,
    acme: Any,
    shop: Any,
    make_plan: Any,  # noqa: F811
) -> None:
    make_plan(1)
    keep()
    send(shop, pageview(), pageview(), pageview(screen="broken"))
    keep()
    page = signed_in_as(boss).get("/admin/")
    text = page.content.decode()
    assert f"<strong>{acme.slug}</strong> refuses events" in text
    assert "quota" in text
    assert boss.email in text  # without a second factor
    assert "to store" in text


def test_accounts_over_their_plan_are_found_in_the_list(
    boss: Any,
    acme: Any,
    shop: Any,
    make_plan: Any,  # noqa: F811
) -> None:
    make_plan(1)
    send(shop, pageview())
    keep()
    client = signed_in_as(boss)
    listed = {
        level: acme.slug
        in client.get("/admin/accounts/account/", {"quota": level, "q": acme.slug})
        .content.decode()
        .partition("result_list")[2]
        for level in ("80", "200", "x")
    }
    assert listed == {"80": False, "200": True, "x": True}


def test_the_first_page_opens_while_valkey_is_away(boss: Any, monkeypatch: Any) -> None:
    from tracking import operation

    def away(*args: Any) -> Any:
        raise redis.exceptions.ConnectionError

    monkeypatch.setattr(operation.lag, "measure", away)
    monkeypatch.setattr(operation.ticks, "known", away)
    page = signed_in_as(boss).get("/admin/")
    assert page.status_code == 200
    assert page.content.decode().count("Cannot be asked.") == 2


def test_the_pages_ask_a_fixed_number_of_questions(
    boss: Any,
    shop: Any,
    django_assert_max_num_queries: Any,
) -> None:
    from django.db import connections

    client = signed_in_as(boss)
    for path in PAGES:
        client.get(path)  # what is asked once only
        counts = []
        for _ in range(2):
            with (
                django_assert_max_num_queries(40, connection=connections["worker"]) as worker,
                django_assert_max_num_queries(40) as web,
            ):
                assert client.get(path).status_code == 200, path
            counts.append(len(worker) + len(web))
            for _ in range(3):
                send(_new_place(), pageview(screen="broken"))
        assert counts[0] == counts[1], path


def _new_place() -> Any:
    from tests.people import new_property

    return new_property(new_account(new_user("more")))


def test_usage_of_all_accounts_fullest_first(
    boss: Any,
    acme: Any,
    shop: Any,
    make_plan: Any,  # noqa: F811
) -> None:
    from tracking.operation import usage_across_accounts

    make_plan(4)
    send(shop, *(pageview() for _ in range(3)))
    keep()
    (row,) = usage_across_accounts(now(), acme.slug)
    assert (row.events, row.percent, row.properties) == (3, 75, 1)
    text = signed_in_as(boss).get("/admin/usage/", {"q": acme.slug}).content.decode()
    assert "75 % of 4" in text
    assert (
        "No account is called" in signed_in_as(boss).get("/admin/usage/?q=%00zzz").content.decode()
    )


def test_refusals_of_all_accounts_by_reason(shop: Any) -> None:
    from tracking.models import Ledger
    from tracking.operation import refusals_across_accounts

    reason = fresh("r")
    for days, number in [(0, 1), (3, 10), (20, 100), (40, 1000)]:
        Ledger.objects.using("worker").create(
            account_id=shop.account_id,
            property_id=shop.pk,
            hour=now() - timedelta(days=days),
            refused={reason: number},
        )
    row = next(row for row in refusals_across_accounts(now()) if row["reason"] == reason)
    assert row["numbers"] == [1, 11, 111]
    assert row["most"] == [("Shop", 111)]


def test_the_audit_log_of_all_accounts_is_searched_and_paged(
    boss: Any, acme: Any, alice: Any, monkeypatch: Any
) -> None:
    from accounts import audit
    from tracking import operation

    monkeypatch.setattr(operation, "PAGE", 2)
    for number in range(3):
        audit.record(acme, "account.changed", actor=alice, target=f"no {number}")
    client = signed_in_as(boss)
    asked = {"account": acme.slug, "actor": alice.email[:8], "action": "account.changed"}
    page = client.get("/admin/audit/", asked)
    assert [entry.target for entry in page.context["entries"]] == ["no 2", "no 1"]
    older = client.get("/admin/audit/", asked | {"before": page.context["next"]})
    assert [entry.target for entry in older.context["entries"]] == ["no 0"]
    nothing = client.get("/admin/audit/", {"account": fresh("none"), "before": "yesterday"})
    assert "No entry fits" in nothing.content.decode()


@pytest.mark.parametrize("path", PAGES[1:])
def test_staff_without_the_right_sees_none_of_it(path: str, alice: Any) -> None:
    alice.is_staff = True
    alice.save()
    assert signed_in_as(alice).get(path).status_code == 403
    assert "How it is now" not in signed_in_as(alice).get("/admin/").content.decode()


# -- the line on the pages of an account -----------------------------------------------------------


def test_a_line_tells_who_may_view_the_usage_and_at_the_end_everybody(
    acme: Any,
    shop: Any,
    alice: Any,
    vera: Any,
    make_plan: Any,  # noqa: F811
) -> None:
    def line(user: Any) -> bool:
        return 'class="quota' in signed_in_as(user).get(f"/p/{shop.key}/").content.decode()

    make_plan(10, overrun=0)
    keep()
    assert (line(alice), line(vera)) == (False, False)
    send(shop, *(pageview() for _ in range(8)))
    keep()
    assert (line(alice), line(vera)) == (True, False)
    send(shop, pageview(), pageview())
    keep()
    assert (line(alice), line(vera)) == (True, True)
    assert "events are refused" in signed_in_as(vera).get(f"/p/{shop.key}/").content.decode()
