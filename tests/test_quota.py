"""Plans: how far an account is, what is refused, whom it is told; and that nobody gets more."""

import threading
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.core import mail

from tests.people import fresh, new_account, new_property, new_user
from tests.test_store import pageview, send


@pytest.fixture
def make_plan(acme: Any) -> Any:
    """A plan for acme alone."""

    def make(events: int, overrun: int = 0, **fields: Any) -> Any:
        from accounts.models import Plan

        acme.plan = Plan.objects.create(
            name=fresh("plan"), events_per_month=events, overrun_percent=overrun, **fields
        )
        acme.save()
        return acme.plan

    return make


def keep(now: datetime | None = None) -> None:
    from tracking.quota import keep

    keep(now or datetime.now(UTC))


def ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def ledger_of(place: Any) -> Any:
    from tracking.ledger import reconcile

    return reconcile(place, datetime.now(UTC))


def test_four_clients_send_quota_and_ten(acme: Any, shop: Any, make_plan: Any) -> None:
    """Exactly the quota is taken, exactly ten are refused, and the ledger says the same."""
    make_plan(50, overrun=20)  # 60 are taken
    keep()
    answers: list[Any] = []

    def client() -> None:
        from django.db import connections

        for size in (1, 4, 1, 4, 1, 4, 2):  # 17 or 18 each
            answers.append(send(shop, *(pageview() for _ in range(size))))
        connections.close_all()

    threads = [threading.Thread(target=client) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answers.append(send(shop, pageview(), pageview()))
    assert sum(answer.accepted for answer in answers) == 60
    refused = [refusal for answer in answers for refusal in answer.rejected]
    assert {refusal["reason"] for refusal in refused} == {"quota"}
    assert len(refused) == 10
    balance = ledger_of(shop)
    assert (balance.accepted, balance.refused) == (60, {"quota": 10})
    assert balance.adds_up


def test_a_tick_in_between_changes_nothing(acme: Any, shop: Any, make_plan: Any) -> None:
    make_plan(10)
    taken = 0
    for _ in range(6):
        keep()
        taken += send(shop, pageview(), pageview(), pageview()).accepted
    assert taken == 10


def test_an_hour_that_begins_goes_on_counting(acme: Any, shop: Any, make_plan: Any) -> None:
    """The next tick may be late: the number holds over the hours after it."""
    make_plan(3)
    noon = datetime(2026, 3, 10, 12, 30, tzinfo=UTC)
    keep(noon)
    at = [noon, noon + timedelta(hours=1), noon + timedelta(hours=2), noon + timedelta(hours=3)]
    assert [send(shop, pageview(), now=ms(moment)).accepted for moment in at] == [1, 1, 1, 0]


def test_a_new_month_opens_by_itself(acme: Any, shop: Any, make_plan: Any) -> None:
    make_plan(1)
    end = datetime(2026, 4, 30, 23, 59, tzinfo=UTC)
    send(shop, pageview(), now=ms(end))
    keep(end)
    assert send(shop, pageview(), now=ms(end)).rejected[0]["reason"] == "quota"
    assert send(shop, pageview(), now=ms(end + timedelta(minutes=1))).accepted == 1
    keep(end + timedelta(minutes=2))
    assert (
        send(shop, pageview(), now=ms(end + timedelta(minutes=3))).rejected[0]["reason"] == "quota"
    )


def test_nobody_is_refused_when_no_tick_has_looked_for_a_day(
    acme: Any, shop: Any, make_plan: Any
) -> None:
    make_plan(1)
    noon = datetime(2026, 3, 10, 12, 30, tzinfo=UTC)
    keep(noon)
    at = [noon, noon + timedelta(hours=2), noon + timedelta(hours=26)]
    assert [send(shop, pageview(), now=ms(moment)).accepted for moment in at] == [1, 0, 1]


def test_a_larger_plan_opens_and_none_opens_for_all(acme: Any, shop: Any, make_plan: Any) -> None:
    make_plan(1)
    keep()
    assert send(shop, pageview(), pageview()).accepted == 1
    make_plan(3)
    keep()
    assert send(shop, *(pageview() for _ in range(5))).accepted == 2
    make_plan(0)
    keep()
    assert send(shop, *(pageview() for _ in range(5))).accepted == 5


def test_what_is_refused_leaves_its_id_free_and_duplicates_stay_duplicates(
    acme: Any, shop: Any, make_plan: Any
) -> None:
    make_plan(1)
    keep()
    first, second = pageview(), pageview()
    send(shop, first, second)
    again = send(shop, first, second)
    assert (again.accepted, again.duplicate, len(again.rejected)) == (0, 1, 1)
    make_plan(2)
    keep()
    assert send(shop, second).accepted == 1


def test_bots_count_and_pings_do_not(acme: Any, shop: Any, make_plan: Any) -> None:
    make_plan(2)
    keep()
    ping = {"name": "ping", "visitor": pageview()["visitor"]}
    bot = send(shop, pageview(), agent="Googlebot/2.1 (+http://www.google.com/bot.html)")
    assert bot.accepted == 1
    send(shop, ping, ping)
    assert send(shop, pageview()).accepted == 1
    refused = send(shop, ping, pageview())
    assert [refusal["index"] for refusal in refused.rejected] == [1]


def test_several_properties_share_what_is_left(
    acme: Any, shop: Any, blog: Any, make_plan: Any
) -> None:
    make_plan(10)
    send(shop, *(pageview() for _ in range(4)))
    keep()
    assert send(blog, *(pageview() for _ in range(8))).accepted == 6
    keep()
    assert send(shop, pageview()).accepted == 0


def test_another_account_is_not_touched(acme: Any, shop: Any, make_plan: Any) -> None:
    elsewhere = new_property(new_account(new_user("dora")))
    make_plan(0 + 1)
    keep()
    send(shop, pageview())
    assert send(elsewhere, pageview(), pageview()).accepted == 2


# -- levels and mails ------------------------------------------------------------------------------


def told(acme: Any) -> list[str]:
    """Subjects of the mails that went to acme's owner, after the tick has had its turn."""
    from tracking.quota import send_notices

    mail.outbox.clear()
    send_notices(datetime.now(UTC))
    owner = acme.memberships.get().user.email
    return [letter.subject for letter in mail.outbox if letter.to == [owner]]


def test_owners_are_told_at_80_and_100_per_cent_once(acme: Any, shop: Any, make_plan: Any) -> None:
    make_plan(10)
    send(shop, *(pageview() for _ in range(7)))
    keep()
    assert told(acme) == []
    send(shop, pageview())
    keep()
    assert told(acme) == ["Acme: 80 % of this month's events are used"]
    keep()
    assert told(acme) == []
    send(shop, *(pageview() for _ in range(5)))
    keep()
    keep()
    assert told(acme) == ["Acme: 100 % of this month's events are used"]
    assert told(acme) == []


def test_the_mail_says_how_much_and_what_to_do(acme: Any, shop: Any, make_plan: Any) -> None:
    plan = make_plan(2, overrun=50)
    send(shop, pageview(), pageview())
    keep()
    told(acme)
    text = mail.outbox[-1].body
    assert f"has used 2 of the 2 events that its plan ({plan.name}) has for" in text
    assert "still accepted up to 3; later ones are refused" in text
    assert f"/a/{acme.slug}/usage/" in text or 'tab "Usage"' in text


def test_who_uses_all_at_once_reads_the_truth_in_both_mails(
    acme: Any, shop: Any, make_plan: Any
) -> None:
    make_plan(2, overrun=50)
    send(shop, pageview(), pageview(), pageview())
    keep()
    assert len(told(acme)) == 2
    assert all("Events are refused now" in letter.body for letter in mail.outbox)


def test_a_mail_that_fails_is_sent_later_and_once(
    acme: Any, shop: Any, make_plan: Any, monkeypatch: Any
) -> None:
    from tracking import quota
    from tracking.models import UsageNotice

    make_plan(5)
    send(shop, *(pageview() for _ in range(4)))
    keep()

    def refuse(*args: Any) -> None:
        raise ConnectionRefusedError("no mail server")

    with monkeypatch.context() as broken:
        broken.setattr(quota.EmailMessage, "send", refuse)
        assert told(acme) == []
    assert told(acme) == []  # not again at once
    rows = UsageNotice.objects.using("worker").filter(account_id=acme.pk)
    rows.update(tried=datetime.now(UTC) - timedelta(hours=1))
    assert len(told(acme)) == 1
    assert told(acme) == []


def test_a_tick_that_dies_while_it_sends_leaves_the_mail_to_the_next(
    acme: Any, shop: Any, make_plan: Any, monkeypatch: Any
) -> None:
    from tracking import quota

    make_plan(5)
    send(shop, *(pageview() for _ in range(4)))
    keep()

    def die(*args: Any) -> None:
        raise SystemExit

    with monkeypatch.context() as dying:
        dying.setattr(quota, "_mail", die)
        with pytest.raises(SystemExit):
            quota.send_notices(datetime.now(UTC))
    assert len(told(acme)) == 1


def test_the_notice_of_a_deleted_account_goes_with_it() -> None:
    from tracking.models import UsageNotice
    from tracking.quota import send_notices

    now = datetime.now(UTC)
    notices = UsageNotice.objects.using("worker")
    gone = notices.create(account_id=2**40, month=now.date().replace(day=1), percent=80, used=8,
                          made=now)  # fmt: skip
    send_notices(now)
    assert not notices.filter(pk=gone.pk).exists()


def test_the_level_of_an_account_follows(acme: Any, shop: Any, make_plan: Any) -> None:
    from accounts.plans import CLOSED, FULL, WARN

    make_plan(10, overrun=10)
    levels = []
    for number in (7, 1, 2, 1):
        send(shop, *(pageview() for _ in range(number)))
        keep()
        acme.refresh_from_db()
        levels.append(acme.quota_level_at(datetime.now(UTC)))
    assert levels == [0, WARN, FULL, CLOSED]
    assert acme.quota_level_at(datetime.now(UTC) + timedelta(days=32)) == 0
    make_plan(0)
    keep()
    acme.refresh_from_db()
    assert acme.quota_level_at(datetime.now(UTC)) == 0


def test_an_account_without_a_plan_has_the_default_one(acme: Any) -> None:
    from accounts.models import Plan
    from accounts.plans import Limits, limits_in, limits_of

    default = Plan(name="Free", events_per_month=1000, overrun_percent=20, max_members=3)
    assert limits_in(acme.plan or default) == Limits("Free", 1000, 1200, None, 3)
    assert limits_of(acme) == Limits()


def test_only_one_plan_is_the_default_one() -> None:
    from django.core.exceptions import ValidationError

    from accounts.models import Plan

    constraint = next(c for c in Plan._meta.constraints if c.name == "one_default_plan")
    assert constraint.violation_error_message.startswith("Another plan is the default one")
    with pytest.raises(ValidationError):
        Plan(name=fresh("plan"), overrun_percent=2_000).full_clean()


@pytest.mark.parametrize(
    ("month", "after"),
    [(date(2026, 11, 1), date(2026, 12, 1)), (date(2026, 12, 1), date(2027, 1, 1))],
)
def test_the_month_after(month: date, after: date) -> None:
    from accounts.plans import next_month

    assert next_month(month) == after
