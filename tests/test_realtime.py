"""Who is here now by the API: filters, lists, what the last half hour brought, whole accounts."""

import json
import uuid
from typing import Any

import pytest

from tests.people import grant, new_account, new_key, new_property, new_user, signed_in_as, with_key


def view(page: str, **more: Any) -> dict[str, Any]:
    """A page that somebody opens in a tab."""
    return {
        "name": "pageview",
        "url": f"https://shop.example{page}",
        "visitor": str(uuid.uuid4()),
        "tab": str(uuid.uuid4()),
        **more,
    }


def event_of(opened: dict[str, Any], name: str, **more: Any) -> dict[str, Any]:
    return {**opened, "name": name, "event_id": str(uuid.uuid4()), **more}


@pytest.fixture(scope="module")
def world(django_db_setup: None) -> dict[str, Any]:
    """A shop with three visitors, one of whom buys, and another property with one."""
    from properties.models import Goal
    from tracking.collecting import collect
    from tracking.drain import drain_property

    account = new_account(new_user("owner"))
    shop, blog = (new_property(account, name=name, currency="EUR") for name in ("Shop", "Blog"))
    Goal.objects.create(property=shop, account=account, name="bought", event="purchase")
    by_mail = "https://shop.example/sale?utm_source=letter&utm_medium=email&utm_campaign=spring"
    reader, buyer, other = view("/a"), view("/sale", url=by_mail), view("/a")
    order = {"transaction_id": "7", "value": "12.50", "currency": "EUR"}
    collect(
        shop,
        [
            reader,
            event_of(reader, "engagement", engaged_ms=20_000, scroll=80),
            event_of(reader, "ping", state="engaged", next_ms=60_000),
            other,
            event_of(other, "engagement", engaged_ms=10_000, scroll=40),
            event_of(other, "add_to_cart", props={"items": [{"item_id": "b"}]}),
            buyer,
            event_of(buyer, "add_to_cart", props={"items": [{"item_id": "a"}]}),
            event_of(buyer, "purchase", props=order),
        ],
    )
    collect(blog, [view("/a")])
    drain_property(shop)
    return {"account": account, "shop": shop, "blog": blog}


@pytest.fixture(scope="module")
def program(world: dict[str, Any]) -> Any:
    _, secret = new_key(world["account"], "realtime:view", "ecommerce:view")
    return with_key(secret)


def ask(client: Any, place: Any, expected: int = 200, **params: str) -> Any:
    answer = client.get(f"/api/v1/properties/{place.key}/realtime", params)
    assert answer.status_code == expected, answer.content
    return answer.json()


def test_the_snapshot_says_where_who_and_what_lately(world: Any, program: Any) -> None:
    found = ask(program, world["shop"])
    assert (found["open"], found["active"], found["engaged"]) == (3, 3, 1)
    [first, second] = found["pages"]
    assert first == {
        "page": "/a", "open": 2, "active": 2, "engaged": 1,
        "new": 1.0, "engaged_ms": 15_000, "scroll": 60, "trend": "steady",
    }  # fmt: skip
    assert (second["page"], second["engaged_ms"], second["scroll"]) == ("/sale", None, None)
    assert [row["campaign"] for row in found["campaigns"]] == ["spring"]
    assert found["visits"] == {"new": 3, "returning": 0, "loyal": 0}
    assert found["last_30m"] == {
        "events": 8, "conversions": 1, "carts": 1, "revenue": 1250, "currency": "EUR",
    }  # fmt: skip
    assert found["recent"][-1][1:] == [3, 3, 1]


def test_a_filter_narrows_every_number(world: Any, program: Any) -> None:
    shop = world["shop"]
    found = ask(program, shop, filters='["is", "source", ["letter"]]')
    assert (found["open"], [row["page"] for row in found["pages"]]) == (1, ["/sale"])
    assert found["last_30m"]["events"] == 3
    assert (found["last_30m"]["revenue"], found["last_30m"]["carts"]) == (1250, 0)
    assert ask(program, shop, filter="page:is:/a")["open"] == 2
    nested = ["not", ["or", ["is", "page", ["/a"]], ["contains", "campaign", ["none"]]]]
    assert ask(program, shop, filters=json.dumps(nested))["open"] == 1
    assert ask(program, shop, filters='["matches", "page", ["/s*"]]')["open"] == 1
    loyal = ask(program, shop, filters='["is", "visit", ["loyal"]]')
    assert (loyal["open"], loyal["last_30m"]["events"]) == (0, None), "reports do not know it"
    assert ask(program, shop, filter="visit:is:new")["open"] == 3


def test_what_cannot_be_asked_is_refused_by_name(world: Any, program: Any) -> None:
    shop = world["shop"]
    for params, code, field in [
        ({"filters": '["is", "browser", ["Firefox"]]'}, "unknown_dimension", "filters"),
        ({"filters": '["has_done", "page", ["/"]]'}, "unknown_operator", "filters"),
        ({"filters": "page"}, "shape", "filters"),
        ({"filter": "colour:is:red"}, "invalid_filter", "filter"),
        ({"dimension": "browser"}, "unknown_dimension", "dimension"),
        ({"dimension": "page", "limit": "0"}, "invalid_limit", "limit"),
    ]:
        error = ask(program, shop, expected=400, **params)["error"]
        assert (error["code"], error["field"]) == (code, field)


def test_one_list_alone(world: Any, program: Any) -> None:
    found = ask(program, world["shop"], dimension="page", limit="1")
    assert set(found) == {"at", "open", "active", "engaged", "pages"}
    assert [row["page"] for row in found["pages"]] == ["/a"]


def test_who_may_not_see_money_sees_none(world: Any) -> None:
    _, secret = new_key(world["account"], "realtime:view")
    lately = ask(with_key(secret), world["shop"])["last_30m"]
    assert (lately["revenue"], lately["carts"], lately["conversions"]) == (None, None, 1)


def test_an_account_is_the_sum_of_what_may_be_viewed(world: Any, program: Any) -> None:
    from accounts.models import Membership

    account, shop, blog = world["account"], world["shop"], world["blog"]
    url = f"/api/v1/accounts/{account.slug}/realtime"
    found = program.get(url).json()
    assert found["open"] == 4
    assert {row["property"]: row["open"] for row in found["properties"]} == {
        shop.key: 3, blog.key: 1,
    }  # fmt: skip
    assert {row["page"]: row["open"] for row in found["pages"]} == {"/a": 3, "/sale": 1}
    assert program.get(url, {"filter": "page:is:/sale"}).json()["open"] == 1
    member = Membership.objects.create(account=account, user=new_user("few"), role="viewer")
    grant(member, "realtime:view", place=blog)
    few = signed_in_as(member.user).get(url).json()
    assert (few["open"], [row["property"] for row in few["properties"]]) == (1, [blog.key])


def test_the_seconds_of_a_filter_are_those_of_its_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one page or source the worker's rounds know the minutes before; of anything else nobody
    does until somebody looks."""
    from datetime import timedelta

    from reports import realtime
    from reports.filters import parse
    from reports.realtime import Asked
    from tests.test_concurrency import NOON, beat, ms
    from tracking import recent, rounds

    place, noon = new_property(), NOON - timedelta(days=2)  # when no other test looks
    beat(place, noon, 1, "/a", "engaged", 60_000)
    beat(place, noon, 2, "/a", "visible", 60_000)
    beat(place, noon, 3, "/b", "hidden", 60_000)
    looks = [noon + timedelta(seconds=second) for second in (10, 20)]
    for moment in looks:
        rounds.take_across_accounts(ms(moment))
    now = noon + timedelta(minutes=1)

    def seconds(*asked: Any) -> list[list[int]]:
        recent._minutes.clear()
        return realtime.seconds([place], Asked(parse(list(asked))), int(now.timestamp()))

    at = [int(moment.timestamp()) for moment in looks]
    assert seconds("is", "page", ["/a"]) == [[second, 2, 2, 1] for second in at]
    assert seconds("is", "page", ["/c"]) == [[second, 0, 0, 0] for second in at]
    assert seconds("is", "country", ["DE"]) == []
    assert seconds("is", "page", ["/a", "/b"]) == [], "who is on both is not known"
    monkeypatch.setattr(rounds, "SAMPLED", 2)  # then there may be more pages than a sample holds
    assert seconds("is", "page", ["/b"]) == [[second, 1, 0, 0] for second in at]
    assert seconds("is", "page", ["/c"]) == [], "unknown, and no zero"


def test_trends_and_seconds_come_from_the_rounds_of_ten_minutes() -> None:
    """And from whoever looked: seconds that were noted take the place of the worker's rounds."""
    from reports.realtime import describe_pages, whose_of
    from tracking import keys, recent, rounds, store
    from tracking.collecting import collect, now_ms

    place, now = new_property(), now_ms()
    for minute in range(now // 60_000 - 10, now // 60_000 + 1):  # in which other tests looked
        store.events_client().delete(keys.rounds(60 * minute))
    collect(place, [view("/up"), view("/down"), view("/down")], now=now)
    rounds.take_across_accounts(now)
    second = now // 1000 // 60 * 60 + 60 * recent.BEFORE
    assert recent.pages_before([place], second) == {"/up": 1, "/down": 2}
    assert recent.pages_before([place], second + 7200) is None
    rows = [{"page": page, "open": 5} for page in ("/up", "/fresh", "/down", "/same")]
    describe_pages(rows, {}, {"/up": 3.0, "/down": 9.5, "/same": 4.8})
    assert [row["trend"] for row in rows] == ["gaining", "gaining", "losing", "steady"]
    whose = whose_of([place])
    [sample] = recent.seconds([place], whose, now // 1000 + 120)
    assert sample == [now // 1000, 3, 3, 0]
    recent.note(whose, now // 1000 + 119, (4, 2, 1))
    assert recent.seconds([place], whose, now // 1000 + 120)[-1][1:] == [4, 2, 1]


@pytest.mark.parametrize(
    ("minutes", "expected"), [(0, "new"), (29, "new"), (61, "returning"), (600, "returning")]
)
def test_who_came_within_the_hour_is_new(minutes: int, expected: str) -> None:
    from tracking.collecting import collect, now_ms
    from tracking.live import snapshot

    place, now = new_property(), now_ms()
    visitor = str(uuid.uuid4())
    collect(place, [view("/", visitor=visitor)], now=now)
    later = now + minutes * 60_000
    collect(place, [view("/b", visitor=visitor)], now=later)
    if minutes:
        assert snapshot(place, later)["visits"] == {
            **dict.fromkeys(("new", "returning", "loyal"), 0), expected: 1
        }  # fmt: skip


def test_who_comes_on_eight_of_sixteen_days_is_loyal() -> None:
    """As bitmaps of days tell; the second visitor of the same page came on seven of them."""
    from datetime import UTC, datetime, timedelta

    from pyroaring import BitMap

    from reports import loyalty
    from reports.models import Bitmap, Grain
    from tracking.collecting import collect, now_ms
    from tracking.live import snapshot
    from tracking.working import WORKER

    place, now = new_property(timezone="UTC"), now_ms()
    often, seldom = (str(uuid.uuid4()) for _ in range(2))
    long_ago = now - 5 * 3_600_000
    collect(place, [view("/", visitor=often), view("/", visitor=seldom)], now=long_ago)
    today = datetime.fromtimestamp(now / 1000, UTC).replace(
        hour=0, minute=0, second=0, microsecond=0
    )
    for back in range(18):  # two of them lie before the sixteen, and one is today
        there = {1} if back in (0, 1, 2, 3, 5, 8, 9, 14, 16, 17) else set()
        there |= {2} if back in (1, 2, 3, 5, 8, 9, 14, 17) else set()
        Bitmap.objects.using(WORKER).create(
            account_id=place.account_id,
            property_id=place.pk,
            grain=Grain.DAY,
            dimension="",
            value="",
            starts_at=today - timedelta(days=back),
            bits=BitMap(there).serialize(),
        )
    assert loyalty.mark_due_across_accounts(today + timedelta(hours=1)) >= 1
    collect(place, [view("/", visitor=often), view("/", visitor=seldom)], now=now)
    assert snapshot(place, now)["visits"] == {"new": 0, "returning": 1, "loyal": 1}
