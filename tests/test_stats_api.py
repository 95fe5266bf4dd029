"""GET /api/stats/track/...: the calendar, the zones, the sums, and who may see them."""

from datetime import timedelta

import pytest
from django.utils import timezone

from tests.history import Happening, at, roll_up, write
from tests.people import fresh, new_account, new_key, new_property, signed_in_as, with_key


@pytest.fixture
def client(acme):
    _, secret = new_key(acme, "events:view", "audience:view")
    return with_key(secret)


def get(client, *parts):
    return client.get("/api/stats/track/" + "/".join(map(str, parts)))


def data(client, *parts):
    response = get(client, *parts)
    assert response.status_code == 200, response.content
    return response.json()["data"]


def some(numbers):
    """What is not zero."""
    return {part: number for part, number in numbers.items() if number}


def store(place, *history):
    write(place, list(history))
    roll_up(place, list(history))


# -- the calendar ----------------------------------------------------------------------------------


def test_a_year_lists_months_a_month_days_a_day_hours_an_hour_minutes(client, acme):
    place = new_property(acme)
    store(
        place,
        Happening(at("2026-02-28T23:59"), 1),
        Happening(at("2026-03-01T00:00"), 1),
        Happening(at("2026-03-01T00:07"), 1),
    )
    slug = acme.slug
    assert list(data(client, slug, "pageview", 2026)) == [str(n) for n in range(1, 13)]
    assert some(data(client, slug, "pageview", 2026)) == {"2": 1, "3": 2}
    assert list(data(client, slug, "pageview", 2026, 2)) == [str(n) for n in range(1, 29)]
    assert some(data(client, slug, "pageview", 2026, "02")) == {"28": 1}
    assert list(data(client, slug, "pageview", 2026, 3, 1)) == [str(n) for n in range(24)]
    assert some(data(client, slug, "pageview", 2026, "03", "01")) == {"0": 2}
    assert list(data(client, slug, "pageview", 2026, 3, 1, 0)) == [str(n) for n in range(60)]
    assert some(data(client, slug, "pageview", 2026, "03", "01", "00")) == {"0": 1, "7": 1}


def test_the_answer_names_what_was_asked_and_links_to_its_parts(client, acme):
    answer = get(client, acme.slug, "sign%20up", "2024", "02").json()
    assert {name: answer[name] for name in answer if name not in ("data", "links")} == {
        "account": acme.slug,
        "type": "track",
        "event": "sign up",
        "year": 2024,
        "month": 2,
        "day": None,
        "hour": None,
    }
    assert len(answer["data"]) == len(answer["links"]) == 29
    path = f"/api/stats/track/{acme.slug}/sign%20up/2024/2/1"
    assert answer["links"][0] == path
    below = client.get(path).json()
    assert below["links"][23] == f"{path}/23"
    assert get(client, acme.slug, "pageview", *_recent_hour()).json()["links"] == []


def _recent_hour():
    yesterday = timezone.now() - timedelta(days=1)
    return yesterday.year, yesterday.month, yesterday.day, 12


@pytest.mark.parametrize(
    "date",
    [
        "2026/02/31", "2026/2/29", "2026/13", "2026/0", "2026/1/0", "2026/1/1/24", "26", "02026",
        "2026/001", "0000", "9999", "1969", "2101", "last", "2026/x", "-2026", "2026/1/1/-1",
        "２０２６",
    ],
)  # fmt: skip
def test_a_date_that_does_not_exist_is_404(client, acme, date):
    response = get(client, acme.slug, "pageview", date)
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "not_found"


def test_a_leap_day_exists(client, acme):
    new_property(acme)
    assert len(data(client, acme.slug, "pageview", 2024, 2, 29)) == 24


def test_both_hours_of_an_autumn_night_add_up(client, acme):
    place = new_property(acme, timezone="Europe/Berlin")
    store(
        place,
        Happening(at("2025-10-26T00:15"), 1),  # 02:15, summer time
        Happening(at("2025-10-26T01:15"), 1),  # 02:15 once more
        Happening(at("2025-10-26T01:16"), 2),
    )
    slug = acme.slug
    assert some(data(client, slug, "pageview", 2025, 10, 26)) == {"2": 3}
    assert some(data(client, slug, "unique", 2025, 10, 26)) == {"2": 3}
    assert some(data(client, slug, "pageview", 2025, 10, 26, 2)) == {"15": 2, "16": 1}
    assert some(data(client, slug, "unique", 2025, 10)) == {"26": 2}


def test_the_hour_that_a_spring_night_skips_is_empty(client, acme):
    place = new_property(acme, timezone="Europe/Berlin")
    store(place, Happening(at("2026-03-29T00:59"), 1), Happening(at("2026-03-29T01:00"), 1))
    assert some(data(client, acme.slug, "pageview", 2026, 3, 29)) == {"1": 1, "3": 1}
    assert some(data(client, acme.slug, "pageview", 2026, 3, 29, 2)) == {}


def test_a_day_that_a_zone_skipped_is_empty(client, acme):
    new_property(acme, timezone="Pacific/Apia")
    assert some(data(client, acme.slug, "pageview", 2011, 12, 30)) == {}
    assert len(data(client, acme.slug, "pageview", 2011, 12)) == 31


# -- what is counted -------------------------------------------------------------------------------


def test_an_account_sums_its_properties_each_in_its_own_zone(client, acme):
    for zone in ("UTC", "Asia/Tokyo"):
        store(new_property(acme, timezone=zone), Happening(at("2026-03-01T20:00"), 1))
    assert some(data(client, acme.slug, "pageview", 2026, 3)) == {"1": 1, "2": 1}
    assert some(data(client, acme.slug, "unique", 2026)) == {"3": 2}


def test_any_event_is_counted_by_its_name_and_bots_are_not(client, acme):
    place = new_property(acme)
    store(
        place,
        Happening(at("2026-03-01T12:00"), 1, "sign up"),
        Happening(at("2026-03-01T12:01"), 1, "sign up"),
        Happening(at("2026-03-01T12:02"), 1),
        Happening(at("2026-03-01T12:02"), -1, bot=True),
    )
    for event, number in [("sign up", 2), ("pageview", 1), ("unique", 1), ("never", 0)]:
        assert sum(data(client, acme.slug, event, 2026, 3).values()) == number
    minutes = data(client, acme.slug, "sign up", 2026, 3, 1, 12)
    assert some(minutes) == {"0": 1, "1": 1}
    assert some(data(client, acme.slug, "unique", 2026, 3, 1, 12)) == {"0": 1, "1": 1, "2": 1}


def test_all_is_every_account_that_i_see(alice, acme):
    other = new_account(alice, "second")
    for account in (acme, other):
        store(new_property(account), Happening(at("2026-03-01T12:00"), 1))
    store(new_property(), Happening(at("2026-03-01T12:00"), 1))
    answer = get(signed_in_as(alice), "all", "pageview", 2026, 3).json()
    assert answer["account"] == "all"
    assert some(answer["data"]) == {"1": 2}
    assert answer["links"][0] == "/api/stats/track/all/pageview/2026/3/1"


def test_days_outlive_raw_events_and_minutes_do_not(client, acme):
    from django.db import connections

    place = new_property(acme, retention_days=30)
    store(place, Happening(at("2020-03-01T12:00"), 1))
    assert some(data(client, acme.slug, "pageview", 2020, 3, 1, 12)) == {"0": 1}  # still there
    with connections["worker"].cursor() as cursor:
        cursor.execute("DELETE FROM events WHERE property_id = %s", [place.pk])
    assert some(data(client, acme.slug, "pageview", 2020, 3, 1)) == {"12": 1}
    response = get(client, acme.slug, "pageview", 2020, 3, 1, 12)
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "expired"


def test_a_quiet_neighbour_does_not_hide_the_minutes_of_an_old_hour(client, acme):
    """Nothing was counted in it, so nothing of it is missing in the sum; a neighbour whose raw
    events are gone makes the sum unknown."""
    from django.db import connections

    imported, quiet = new_property(acme, retention_days=30), new_property(acme, retention_days=30)
    store(imported, Happening(at("2020-03-01T12:07"), 1))
    asked = (acme.slug, "pageview", 2020, 3, 1, 12)
    assert some(data(client, *asked)) == {"7": 1}
    store(quiet, Happening(at("2020-03-01T12:09"), 1))
    assert some(data(client, *asked)) == {"7": 1, "9": 1}
    with connections["worker"].cursor() as cursor:
        cursor.execute("DELETE FROM events WHERE property_id = %s", [quiet.pk])
    response = get(client, *asked)
    assert (response.status_code, response.json()["error"]["code"]) == (404, "expired")
    empty = get(client, acme.slug, "pageview", 2020, 3, 1, 15)
    assert (empty.status_code, empty.json()["error"]["code"]) == (404, "expired")


# -- who may see it --------------------------------------------------------------------------------


def test_nobody_gets_401_whether_or_not_there_is_such_an_account(acme):
    for slug in (acme.slug, fresh("none"), "all"):
        assert get(signed_in_as(None), slug, "pageview", 2026).status_code == 401


def test_another_account_is_404_like_none_at_all(charlie, acme):
    answers = [
        get(signed_in_as(charlie), slug, "pageview", 2026)
        for slug in (acme.slug, fresh("x"), "%00")
    ]
    assert [answer.status_code for answer in answers] == [404] * 3
    assert len({answer.content for answer in answers}) == 1


def test_only_properties_that_i_may_view_are_summed(bob, acme, shop, blog):
    for place in (shop, blog):
        store(place, Happening(at("2026-03-01T12:00"), 1))
    browser = signed_in_as(bob)  # audience of shop
    assert some(data(browser, acme.slug, "unique", 2026)) == {"3": 1}
    assert some(data(browser, "all", "unique", 2026)) == {"3": 1}
    assert get(browser, acme.slug, "pageview", 2026).status_code == 403
    assert get(browser, "all", "pageview", 2026).status_code == 403
