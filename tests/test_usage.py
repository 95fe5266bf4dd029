"""Usage: the page, the CSV and the API show the ledger's numbers, of one's own account only."""

import csv
import re
import uuid
from datetime import UTC, date, datetime, timedelta
from io import StringIO
from typing import Any

import pytest

from tests.people import fresh, new_key, new_property, signed_in_as, with_key
from tests.test_pictures import SVG, drawn, titles_in
from tests.test_quota import ledger_of, make_plan  # noqa: F401
from tests.test_store import pageview, send


def asked(account: Any, **params: str) -> Any:
    _, secret = new_key(account, "usage:view")
    answer = with_key(secret).get(f"/api/v1/accounts/{account.slug}/usage", params)
    assert answer.status_code == 200, answer.content
    return answer.json()


def lines(account: Any, user: Any, **params: str) -> list[dict[str, str]]:
    answer = signed_in_as(user).get(f"/a/{account.slug}/usage.csv", params)
    return list(csv.DictReader(StringIO(answer.content.decode())))


def past(place: Any, moment: datetime, **columns: Any) -> None:
    """An hour of the ledger."""
    from tracking.models import Ledger

    Ledger.objects.using("worker").create(
        account_id=place.account_id, property_id=place.pk, hour=moment, **columns
    )


def busy(shop: Any, blog: Any) -> None:
    """Events of every kind, so that no column is like another."""
    first = pageview()
    send(shop, first, first, pageview(), pageview(), pageview(url="nowhere"))
    send(shop, pageview(), agent="Googlebot/2.1 (+http://www.google.com/bot.html)")
    send(shop, {"name": "ping", "visitor": first["visitor"]})
    send(blog, pageview(), pageview(screen="broken"), pageview(screen="broken"))


def test_page_csv_and_api_show_what_the_ledger_says(
    acme: Any, shop: Any, blog: Any, alice: Any
) -> None:
    busy(shop, blog)
    live = asked(acme)  # before anything was copied
    balances = {place.key: ledger_of(place) for place in (shop, blog)}
    answer = asked(acme)
    for name in ("totals", "properties", "days"):
        assert answer[name] == live[name]
    for row in answer["properties"]:
        balance = balances[row["property"]]
        numbers = (balance.accepted, balance.duplicate, balance.bots, balance.pings)
        assert (row["accepted"], row["duplicate"], row["bots"], row["pings"]) == numbers
        assert row["refused"] == balance.refused
    assert answer["totals"]["accepted"] == sum(one.accepted for one in balances.values()) == 5
    assert answer["totals"]["refused"] == {"invalid": 3}
    rows = lines(acme, alice)
    assert sum(int(row["accepted"]) for row in rows) == 5
    assert {row["property"] for row in rows} == set(balances)
    page = signed_in_as(alice).get(f"/a/{acme.slug}/usage/")
    assert page.context["total"].accepted == 5
    assert "send the field" in page.content.decode().lower()


def test_a_late_duplicate_is_not_used(acme: Any, shop: Any) -> None:
    past(shop, datetime(2026, 3, 5, 10, tzinfo=UTC), accepted=10, late_duplicate=3, duplicate=1)
    answer = asked(acme, **{"from": "2026-03-01", "to": "2026-03-31"})
    assert (answer["totals"]["accepted"], answer["totals"]["duplicate"]) == (7, 4)


def test_what_is_copied_while_somebody_asks_is_counted_once() -> None:
    from accounts.tenancy import tenant
    from tests.test_erasing import collect, payload
    from tracking import ledger, usage
    from tracking.working import transaction_of_worker

    place, now = new_property(), datetime.now(UTC)
    collect(place, *[payload(str(uuid.uuid4())) for _ in range(7)])
    real = ledger.read

    def read(*asked: Any) -> Any:
        """As long as this takes the worker's tick runs."""
        found = real(*asked)
        with transaction_of_worker() as cursor:
            ledger.write(cursor, found)
        return found

    with pytest.MonkeyPatch.context() as patch, tenant(place.account_id):
        patch.setattr(usage.ledger, "read", read)
        total = usage.between(place.account, now.date(), now.date(), now).total()
    assert total.accepted == 7


def test_days_and_months_are_those_of_utc(acme: Any, shop: Any, alice: Any) -> None:
    """The property is in Berlin; 23:00 UTC is its next day and month already."""
    past(shop, datetime(2026, 3, 31, 23, tzinfo=UTC), accepted=1)
    past(shop, datetime(2026, 4, 1, 0, tzinfo=UTC), accepted=2)
    answer = asked(acme, **{"from": "2026-03-31", "to": "2026-04-01"})
    assert [(row["day"], row["accepted"]) for row in answer["days"]] == [
        ("2026-03-31", 1),
        ("2026-04-01", 2),
    ]
    assert [row["accepted"] for row in lines(acme, alice, month="2026-03")] == ["1"]
    page = signed_in_as(alice).get(f"/a/{acme.slug}/usage/")
    history = {month: tally.accepted for month, tally in page.context["history"].items()}
    if date(2026, 3, 1) > datetime.now(UTC).date() - timedelta(days=365):
        assert history[date(2026, 3, 1)] == 1
        assert history[date(2026, 4, 1)] == 2


def test_an_erased_property_keeps_its_numbers(acme: Any, blog: Any, alice: Any) -> None:
    past(blog, datetime(2026, 3, 5, 10, tzinfo=UTC), accepted=10, refused={"future": 2})
    blog.delete()
    page = signed_in_as(alice).get(f"/a/{acme.slug}/usage/", {"month": "2026-03"})
    assert "Erased property" in page.content.decode()
    answer = asked(acme, **{"from": "2026-03-05", "to": "2026-03-05"})
    assert [row["property"] for row in answer["properties"]] == [None]
    assert answer["totals"]["refused"] == {"future": 2}


def test_nothing_of_another_account_is_counted(acme: Any, shop: Any) -> None:
    elsewhere = new_property()
    send(elsewhere, pageview())
    send(shop, pageview())
    assert asked(acme)["totals"]["accepted"] == 1


def test_without_valkey_it_says_that_the_newest_is_missing(
    acme: Any, shop: Any, alice: Any, monkeypatch: Any
) -> None:
    import redis

    from tracking import ledger

    def away(*args: Any) -> Any:
        raise redis.exceptions.ConnectionError

    past(shop, datetime.now(UTC).replace(minute=0, second=0, microsecond=0), accepted=4)
    monkeypatch.setattr(ledger, "read", away)
    answer = asked(acme)
    assert (answer["totals"]["accepted"], answer["complete_until"]) == (4, None)
    page = signed_in_as(alice).get(f"/a/{acme.slug}/usage/")
    assert "cannot be looked up at the moment" in page.content.decode()


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"from": "yesterday"}, "date"),
        ({"to": "2026-02-30"}, "date"),
        ({"to": "0001-01-01"}, "date"),
        ({"from": "2026-03-02", "to": "2026-03-01"}, "range"),
        ({"from": "2020-01-01", "to": "2026-01-01"}, "range"),
        ({"since": "2026-03-02"}, "unknown_parameter"),
    ],
)
def test_a_range_that_cannot_be_is_400(acme: Any, params: dict[str, str], code: str) -> None:
    _, secret = new_key(acme, "usage:view")
    answer = with_key(secret).get(f"/api/v1/accounts/{acme.slug}/usage", params)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)


@pytest.mark.parametrize("month", ["2026-13", "x", "9999-01", "\x00", "0000-01"])
def test_a_month_that_cannot_be_is_the_current_one(acme: Any, alice: Any, month: str) -> None:
    page = signed_in_as(alice).get(f"/a/{acme.slug}/usage/", {"month": month})
    assert page.status_code == 200
    assert page.context["is_current"]


def test_the_page_measures_against_the_plan(
    acme: Any,
    shop: Any,
    alice: Any,
    make_plan: Any,  # noqa: F811
) -> None:
    client = signed_in_as(alice)
    assert "events are not limited" in client.get(f"/a/{acme.slug}/usage/").content.decode()
    make_plan(4, overrun=50, max_properties=1)
    send(shop, *(pageview() for _ in range(5)))
    text = client.get(f"/a/{acme.slug}/usage/").content.decode()
    assert "125 %" in text
    assert "still accepted, up to 6" in text
    assert "At most 1 property." in text
    send(shop, pageview())
    text = client.get(f"/a/{acme.slug}/usage/").content.decode()
    assert "events are refused until" in text


def test_an_account_without_events_says_what_will_be_here(acme: Any, alice: Any) -> None:
    text = signed_in_as(alice).get(f"/a/{acme.slug}/usage/").content.decode()
    assert "Put the snippet of a property into a page" in text


def test_a_property_that_looks_like_a_formula_stays_text(acme: Any, alice: Any) -> None:
    place = new_property(acme, name=f"=1+1 {fresh('x')}")
    send(place, pageview())
    assert [row["name"][:5] for row in lines(acme, alice)] == ["'=1+1"]


def test_the_picture_has_the_bars_of_the_page(acme: Any, shop: Any, alice: Any, bob: Any) -> None:
    for day, accepted, refused in ((3, 40, 0), (4, 1_200, 300)):
        moment = datetime(2026, 3, day, 12, tzinfo=UTC)
        past(shop, moment, accepted=accepted, refused={"shape": refused} if refused else {})
    client = signed_in_as(alice)
    page = client.get(f"/a/{acme.slug}/usage/?month=2026-03").content.decode()
    (address,) = set(re.findall(r'data-save-png="([^"]*)"', page))
    answer = client.get(address)
    root = drawn(answer.content.decode())
    shown = re.findall(r"<g>\s*<title>(.*?)</title>", page)
    assert titles_in(root)[1:] == shown
    assert shown[2:5] == [
        "3 Mar: 40 accepted",
        "4 Mar: 1,200 accepted, 300 refused",
        "5 Mar: 0 accepted",
    ]
    fourth = list(root.iter(f"{SVG}g"))[3]
    high = [float(bar.attrib["height"]) for bar in fourth.iter(f"{SVG}rect")]
    assert high[0] == pytest.approx(4 * high[1], abs=0.1)
    assert "complete until" in answer.content.decode()
    saved = client.get(f"{address}&download=1&theme=dark")
    assert saved["Content-Disposition"] == f'attachment; filename="usage-{acme.slug}-2026-03.svg"'
    assert client.get(f"{address}&theme=pink").status_code == 400
    assert signed_in_as(bob).get(address).status_code == 403
