"""The live page as it is served: whole without a script, filtered by its address, with "-" for what
nobody knows; and the words in its documentation."""

import uuid
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.http import QueryDict
from django.utils.html import escape

from tests.people import signed_in_as
from tests.test_concurrency import beat, keep, old_property, sample

HOSTILE = "\"'><img src=x onerror=__ran=1>"


def test_every_number_is_documented_as_the_page_says_it() -> None:
    from reports import live_page

    text = (Path(__file__).parent.parent / "docs" / "live.md").read_text()
    words = [*live_page.NUMBERS, *live_page.VISITS, *live_page.LAST_30M, *live_page.OF_PAGES]
    for word in [*words, *live_page.TRENDS.values()]:
        assert f"| {word.label} | {word.definition} |" in text


# -- the address -----------------------------------------------------------------------------------


def test_an_address_is_read_and_written_back() -> None:
    from reports.live_page import Filter, read

    found = read(
        QueryDict("filter=source:is:Google&filter=page:is:/a%26b&wall=1&filter=page:is:/a%26b")
    )
    assert found.filters == (Filter("source", "Google"), Filter("page", "/a&b"))
    assert found.query == "?filter=source:is:Google&filter=page:is:/a%26b&wall=1"
    assert found.off_wall == "?filter=source:is:Google&filter=page:is:/a%26b"
    assert found.with_filter("source", "Google") == found.query, "no filter twice"
    assert found.without(found.filters[0]) == "?filter=page:is:/a%26b&wall=1"
    assert read(QueryDict("")).with_filter("country", "SE") == "?filter=country:is:SE"


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("filter=browser:is:Firefox", "knows no"),
        ("filter=page:contains:/a", "is written page:is:value"),
        ("filter=page", "is written page:is:value"),
        ("filter=page:is:" + "x" * 3_000, "shorten it"),
        ("&".join(f"filter=page:is:/{number}" for number in range(6)), "Over 5 filters"),
    ],
)
def test_an_address_that_cannot_be_shown_says_why(query: str, says: str) -> None:
    from reports.address import AddressError
    from reports.live_page import read

    with pytest.raises(AddressError, match=says):
        read(QueryDict(query))


# -- the page --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world(django_db_setup: None) -> dict[str, Any]:
    """A shop with two visitors, one of them from a source with a hostile name; and a second one."""
    from tests.people import new_account, new_property, new_user
    from tracking.collecting import collect, now_ms

    owner = new_user("owner")
    account = new_account(owner)
    shop, blog = new_property(account), new_property(account)
    for place, source, state in [
        (shop, "letter", "engaged"),
        (shop, HOSTILE, "visible"),
        (blog, "", "hidden"),
    ]:
        tagged = f"?utm_source={quote(source)}" if source else ""
        view = {
            "name": "pageview", "visitor": str(uuid.uuid4()), "tab": str(uuid.uuid4()),
            "url": f"https://shop.example/{HOSTILE}{tagged}",
        }  # fmt: skip
        ping = view | {"name": "ping", "state": state, "next_ms": 60_000}
        collect(place, [view, ping], now=now_ms())
    return {"owner": owner, "account": account, "shop": shop, "blog": blog}


def get(world: dict[str, Any], path: str, expected: int = 200) -> str:
    answer = signed_in_as(world["owner"]).get(path)
    assert answer.status_code == expected, answer.content[:500]
    return answer.content.decode()


def test_the_page_is_whole_without_a_script(world: dict[str, Any]) -> None:
    shop = world["shop"]
    page = get(world, f"/p/{shop.key}/live/")
    for name, value in (("open", 2), ("active", 2), ("engaged", 1)):
        assert f'id="live-{name}" title="{name.capitalize()}: {value}">{value}</dd>' in page
    assert escape(HOSTILE) in page
    assert HOSTILE not in page
    assert "<noscript>" in page
    assert f'href="/p/{shop.key}/live/"' in get(world, f"/p/{shop.key}/")
    filtered = get(world, f"/p/{shop.key}/live/?filter=source:is:letter")
    assert 'id="live-open" title="Open: 1">1</dd>' in filtered
    assert "Remove the filter Source is letter" in filtered
    assert "knows no" in get(world, f"/p/{shop.key}/live/?filter=mood:is:good", 400)


def test_the_script_gets_the_same_numbers_as_json(world: dict[str, Any]) -> None:
    client, shop = signed_in_as(world["owner"]), world["shop"]
    found = client.get(f"/p/{shop.key}/live/now/?filter=source:is:letter").json()
    assert (found["open"], [row["source"] for row in found["sources"]]) == (1, ["letter"])
    assert client.get(f"/p/{shop.key}/live/now/?filter=mood:is:good").status_code == 400
    assert client.get(f"/p/{shop.key}/live/now/?before=1").json() == {"before": []}
    of_api = client.get(f"/p/{shop.key}/live/now/?filters=no+JSON")
    assert (of_api.status_code, of_api.json()["open"]) == (200, 2), "not of this address"


def test_an_account_adds_up_what_the_reader_may_view(world: dict[str, Any]) -> None:
    account, shop, blog = world["account"], world["shop"], world["blog"]
    page = get(world, f"/a/{account.slug}/live/")
    assert 'id="live-open" title="Open: 3">3</dd>' in page
    assert 'id="live-active" title="Active: 2">2</dd>' in page
    for place in (shop, blog):
        assert f'href="/p/{place.key}/live/"' in page
    found = signed_in_as(world["owner"]).get(f"/a/{account.slug}/live/now/").json()
    assert {row["property"]: row["open"] for row in found["properties"]} == {
        shop.key: 2,
        blog.key: 1,
    }


def test_whoever_may_view_some_of_the_account_is_shown_the_way_to_them(
    world: dict[str, Any],
) -> None:
    """Live is no page of the whole account: it shows the properties that the reader may view."""
    from accounts.models import Membership
    from tests.people import grant, new_property, new_user

    account, shop = world["account"], world["shop"]
    hidden = new_property(account)
    member = Membership.objects.create(account=account, user=new_user("two"), role="viewer")
    tab = f'href="/a/{account.slug}/live/"'
    grant(member, "audience:view", place=hidden)
    page = signed_in_as(member.user).get(f"/a/{account.slug}/").content.decode()
    assert tab not in page
    for place in (shop, world["blog"]):
        grant(member, "realtime:view", place=place)
    page = signed_in_as(member.user).get(f"/a/{account.slug}/").content.decode()
    assert tab in page
    assert f'href="/a/{account.slug}/members/"' not in page
    page = signed_in_as(member.user).get(f"/a/{account.slug}/live/").content.decode()
    assert 'id="live-open" title="Open: 3">3</dd>' in page
    assert hidden.name not in page.split('id="live"')[1]


def test_on_a_wall_nothing_can_be_clicked_but_the_way_in_and_out(world: dict[str, Any]) -> None:
    page = get(world, f"/p/{world['shop'].key}/live/?wall=1&filter=source:is:letter")
    assert 'data-theme="dark"' in page
    assert "<nav" not in page
    assert 'href="?filter=source:is:letter">Back to the live page' in page


def test_without_the_live_set_nothing_is_a_false_zero(
    world: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from reports import realtime
    from tracking import store

    def away(*_: Any, **__: Any) -> None:
        raise store.Unavailable("away")

    monkeypatch.setattr(realtime, "snapshot", away)
    page = get(world, f"/p/{world['shop'].key}/live/")
    assert "The live numbers do not answer" in page
    assert 'id="live-open" title="Open: nothing">-</dd>' in page
    assert "Nobody is here" not in page.split("hidden>Nobody")[0]
    get(world, f"/p/{world['shop'].key}/live/now/", 503)


# -- a week before ---------------------------------------------------------------------------------


def test_the_line_behind_is_that_of_the_same_weekday_by_the_clock() -> None:
    """Over the night on which clocks are put forward the week has an hour less."""
    from accounts.tenancy import tenant
    from properties.periods import parse_range, zone
    from reports.live_page import Address, Filter, week_before

    place, berlin = old_property(timezone="Europe/Berlin"), zone("Europe/Berlin")
    then = datetime(2026, 3, 26, 11, 58, tzinfo=berlin)
    now = datetime(2026, 4, 2, 12, 0, tzinfo=berlin)
    for who in (1, 2):
        beat(place, then, who, "/a" if who == 1 else "/b", "visible", 60_000)
    sample(then + timedelta(seconds=20))
    keep(then + timedelta(minutes=2))
    same = (now - timedelta(minutes=2)).timestamp()
    with tenant(place.account_id):
        found = [
            week_before([place], Address(filters), now)
            for filters in [(), (Filter("page", "/a"),), (Filter("country", "SE"),)]
        ]
    assert found == [[(same, 2)], [(same, 1)], []]
    for days, line in ((7, []), (8, [(same, 2)])):
        place.window = parse_range(f"{days}d", berlin, now)  # of a share link
        with tenant(place.account_id):
            assert week_before([place], Address(), now) == line
