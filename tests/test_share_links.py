"""A share link shows some modules and days of one property to whoever has its address, and never
lets anybody change a thing."""

import re
from datetime import date, timedelta
from typing import Any

import pytest
from django.db.utils import IntegrityError
from django.test import Client

from tests.people import fresh, grant, new_key, new_link, new_user, signed_in_as, with_key


def now() -> Any:
    from django.utils import timezone

    return timezone.now()


def give(link: Any, module: str, verb: str, place: Any = None) -> None:
    """A grant that no page would make."""
    from properties.models import Grant

    Grant.objects.create(
        account=link.account, share_link=link, module=module, verb=verb, property=place
    )


# -- the actor -------------------------------------------------------------------------------------


def test_a_link_views_its_modules_of_its_property(shop: Any, blog: Any) -> None:
    from properties.access import Actor

    actor = Actor(new_link(shop, "audience", "sources")[0])
    assert actor.may("view", "audience", shop)
    assert not actor.may("view", "content", shop)
    assert actor.sees(shop)
    assert not actor.sees(blog)
    assert not actor.may("view", "audience", blog)
    assert actor.properties() == [shop]


def test_whatever_its_grants_say_a_link_only_looks(shop: Any, blog: Any, acme: Any) -> None:
    from accounts import modules
    from properties.access import Actor

    link, _ = new_link(shop)
    for module in modules.MODULES:
        give(link, module, "manage")
        give(link, module, "manage", blog)
    actor = Actor(link)
    may = {
        (verb, module)
        for module in modules.MODULES
        for verb in modules.VERBS
        for place in (shop, blog, acme)
        if actor.may(verb, module, place)
    }
    assert may == {("view", module) for module in modules.SHAREABLE}
    assert not actor.sees(blog)
    assert not actor.sees(acme)
    assert actor.accounts() == []


def test_a_link_with_fixed_dates_shows_nobody_who_is_there_now(shop: Any) -> None:
    from properties.access import Actor

    day = date(2026, 5, 1)
    rolling, fixed = (
        Actor(new_link(shop, "audience", "realtime", **days)[0])
        for days in ({"days": 7}, {"first": day, "last": day})
    )
    assert rolling.may("view", "realtime", shop)
    assert not fixed.may("view", "realtime", shop)


# -- the row ---------------------------------------------------------------------------------------


def test_of_a_link_only_the_digest_of_its_token_is_kept(shop: Any) -> None:
    from django.core import serializers

    from properties.models import ShareLink

    link, token = new_link(shop, "audience")
    link.set_password("a long password")
    link.save()
    assert len(token) == 32
    stored = serializers.serialize("json", [ShareLink.objects.of(shop.account).get(pk=link.pk)])
    assert token not in stored
    assert "a long password" not in stored
    assert ShareLink.find(token, now()) == link
    assert ShareLink.find(link.digest, now()) is None


def test_a_link_that_ended_is_found_no_more(shop: Any) -> None:
    from properties.models import ShareLink

    ended, token = new_link(shop, expires=now() + timedelta(minutes=1))
    assert ShareLink.find(token, now()) == ended
    assert ShareLink.find(token, now() + timedelta(minutes=1)) is None
    revoked, token = new_link(shop)
    assert revoked.revoke(now())
    assert not revoked.revoke(now())
    assert ShareLink.find(token, now()) is None


def test_what_still_runs_for_a_link_ends_with_it(shop: Any) -> None:
    from properties.access import Actor

    for end in ({"revoked": now()}, {"expires": now()}):
        link, _ = new_link(shop, "audience")
        actor = Actor(link)
        assert actor.still_may("view", "audience", shop)
        type(link).objects.of(shop.account).filter(pk=link.pk).update(**end)
        assert not actor.still_may("view", "audience", shop)


@pytest.mark.parametrize(
    "days",
    [
        {"first": date(2026, 5, 2)},
        {"last": date(2026, 5, 2)},
        {"first": date(2026, 5, 2), "last": date(2026, 5, 1)},
        {"first": date(2026, 5, 2), "last": date(2026, 5, 2), "days": 7},
    ],
)
def test_a_link_shows_one_range(days: dict[str, Any], shop: Any) -> None:
    with pytest.raises(IntegrityError):
        new_link(shop, **days)


# -- who made it -----------------------------------------------------------------------------------


def test_what_somebody_made_can_be_ended_with_her(
    shop: Any, acme: Any, alice: Any, charlie: Any
) -> None:
    from properties.access import Actor
    from properties.models import ApiKey
    from properties.revoking import made_by, revoke_made_by

    gone = new_user("gone")
    key, _ = ApiKey.issue(acme, fresh("key"), made_by=gone)
    link, _ = new_link(shop, made_by=Actor(key).maker)
    others_key, _ = new_key(acme, "audience:view")
    others_link, _ = new_link(shop, made_by=alice)
    elsewhere, _ = ApiKey.issue(charlie.memberships.get().account, fresh("key"), made_by=gone)
    assert made_by(gone, acme, now()) == [link, key]
    assert revoke_made_by(gone, acme) == [link, key]
    assert revoke_made_by(gone, acme) == []
    for ended in (key, link):
        ended.refresh_from_db()
        assert ended.revoked
    for other in (others_key, others_link, elsewhere):
        other.refresh_from_db()
        assert other.revoked is None


# -- made on the page and by the API ---------------------------------------------------------------


def made_on_page(user: Any, place: Any, **fields: Any) -> Any:
    asked = {"name": fresh("link"), "range": "all", "days": "30"} | fields
    return signed_in_as(user).post(f"/p/{place.key}/share/", asked)


def address_in(text: str) -> str:
    (path,) = re.findall(r"http://testserver(/share/[\w-]{32}/)", text)
    return path


def the_link(place: Any) -> Any:
    from properties.models import ShareLink

    return ShareLink.objects.of(place.account).get(property=place)


def test_the_page_shows_an_address_once(alice: Any, shop: Any) -> None:
    answer = made_on_page(alice, shop, name="Agency", shows=["sources", "content"])
    path = address_in(answer.content.decode())
    assert Client().get(path).status_code == 200
    assert Client().get(f"{path}table/page/").status_code == 200
    assert Client().get(f"{path}table/event/").status_code == 403
    again = signed_in_as(alice).get(f"/p/{shop.key}/share/").content.decode()
    assert "Agency" in again
    assert path not in again
    link = the_link(shop)
    assert (link.made_by, link.days, link.first, link.expires) == (alice, None, None, None)


def test_the_form_makes_what_it_says(alice: Any, shop: Any) -> None:
    made_on_page(
        alice,
        shop,
        shows=["realtime"],
        range="days",
        days="14",
        password="correct horse",
        expires="2099-05-01",
        downloads="on",
    )
    link = the_link(shop)
    assert (link.days, link.downloads, link.check_password("correct horse")) == (14, True, True)
    # Until the end of the day where the property is.
    assert link.expires.isoformat() == "2099-05-01T22:00:00+00:00"


@pytest.mark.parametrize(
    ("fields", "field", "said"),
    [
        ({"shows": ["people"]}, "shows", "not one of the available"),
        ({"range": "days", "days": ""}, "days", "how many days"),
        ({"range": "dates", "first": "2026-05-02"}, "last", "Write a date"),
        ({"range": "dates", "first": "2026-05-02", "last": "2026-05-01"}, "last", "exchange"),
        (
            {"range": "dates", "first": "2026-05-02", "last": "2026-05-02", "shows": ["realtime"]},
            None,
            "outside fixed dates",
        ),
        ({"password": "short"}, None, "8 to 128"),
        ({"password": "correct horse", "hosts": "example.com"}, None, "forget passwords"),
        ({"hosts": "*"}, "hosts", "Name the hosts"),
        ({"expires": "2020-01-01"}, None, "has passed"),
        ({"expires": "9999-12-31"}, "expires", "2099"),
        ({"range": "dates", "first": "0001-01-01", "last": "2026-05-01"}, None, "1970"),
        ({"name": " "}, "name", ""),
    ],
)
def test_the_form_says_what_is_wrong_and_keeps_the_rest(
    fields: dict[str, Any], field: str | None, said: str, alice: Any, shop: Any
) -> None:
    page = made_on_page(alice, shop, **({"name": "Kept"} | fields))
    form = page.context["form"]
    assert said in str(form.errors[field] if field else form.non_field_errors())
    assert "name" in fields or 'value="Kept"' in page.content.decode()
    assert not shop.share_links.exists()


def test_nobody_shares_what_she_may_not_view(bob: Any, shop: Any) -> None:
    grant(bob.memberships.get(), "property:manage", place=shop)
    page = signed_in_as(bob).get(f"/p/{shop.key}/share/").content.decode()
    assert 'value="sources"' in page
    assert 'value="content"' not in page
    assert made_on_page(bob, shop, shows=["content"]).context["form"].errors
    address_in(made_on_page(bob, shop, shows=["sources"]).content.decode())


def test_who_may_view_nothing_shares_nothing(acme: Any, shop: Any) -> None:
    from accounts.models import Membership

    user = new_user("bob")
    membership = Membership.objects.create(account=acme, user=user, role="viewer")
    grant(membership, "property:manage")
    assert "cannot share any" in signed_in_as(user).get(f"/p/{shop.key}/share/").content.decode()
    assert "Audience" in str(made_on_page(user, shop).context["form"].non_field_errors())


def test_a_link_is_revoked_on_the_page(alice: Any, shop: Any, blog: Any) -> None:
    link, token = new_link(shop, "audience")
    client = signed_in_as(alice)
    assert client.post(f"/p/{blog.key}/share/{link.pk}/revoke/").status_code == 404
    assert client.post(f"/p/{shop.key}/share/{link.pk}/revoke/").status_code == 302
    assert Client().get(f"/share/{token}/").status_code == 404
    assert "Revoked" in client.get(f"/p/{shop.key}/share/").content.decode()


def test_hostile_names_are_text(alice: Any, shop: Any) -> None:
    page = made_on_page(alice, shop, name="<script>window.__xss=1</script>")
    assert "<script>window" not in page.content.decode()
    assert "&lt;script&gt;window" in page.content.decode()


JSON: dict[str, Any] = {"content_type": "application/json"}


def test_a_link_is_made_listed_and_revoked_by_the_api(acme: Any, shop: Any) -> None:
    _, secret = new_key(acme, "property:manage", "audience:view", "content:view")
    program, path = with_key(secret), f"/api/v1/properties/{shop.key}/share-links"
    asked = {
        "name": "Agency",
        "modules": ["content"],
        "first": "2026-05-01",
        "last": "2026-05-31",
        "password": "correct horse",
    }
    made = program.post(path, asked, **JSON)
    assert made.status_code == 201
    new = made.json()
    address = new.pop("address")
    assert Client().get(address).status_code == 403
    assert (new["modules"], new["has_password"]) == (["audience", "content"], True)
    listed = program.get(path)
    assert listed.json()["results"] == [new]
    assert address.rstrip("/").rpartition("/")[2] not in listed.content.decode()
    one = program.get(f"{path}/{new['id']}")
    assert one.json() == new
    assert one.headers["ETag"]
    assert program.delete(f"{path}/{new['id']}").json()["revoked"]
    assert Client().get(address).status_code == 404


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"modules": ["sources"]}, "modules"),
        ({"modules": ["people"]}, "modules"),
        ({"days": 0}, "days"),
        ({"days": 7, "first": "2026-05-01", "last": "2026-05-02"}, "first"),
        ({"first": "2026-05-03", "last": "2026-05-02"}, "first"),
        ({"last": "2026-05-02"}, "first"),
        ({"first": "0001-01-01", "last": "2026-05-02"}, "first"),
        ({"password": "short"}, "password"),
        ({"expires": "2020-01-01T00:00:00Z"}, "expires"),
        ({"expires": "9999-12-31T23:59:59-12:00"}, "expires"),
        ({"hosts": ["*"]}, "hosts"),
        ({"token": "chosen"}, "token"),
        ({"views": 7}, "views"),
    ],
)
def test_the_api_says_which_field_is_wrong(
    fields: dict[str, Any], field: str, acme: Any, shop: Any
) -> None:
    _, secret = new_key(acme, "property:manage", "audience:view")
    path = f"/api/v1/properties/{shop.key}/share-links"
    answer = with_key(secret).post(path, {"name": "Agency"} | fields, **JSON)
    assert answer.status_code == 400
    assert answer.json()["error"]["field"].startswith(field)
    assert not shop.share_links.exists()


def test_what_a_key_makes_ends_with_it(acme: Any, shop: Any) -> None:
    key, secret = new_key(acme, "property:manage", "audience:view")
    type(key).objects.of(acme).filter(pk=key.pk).update(expires=now() + timedelta(days=1))
    path = f"/api/v1/properties/{shop.key}/share-links"
    assert with_key(secret).post(path, {"name": "N"}, **JSON).json()["error"]["field"] == "expires"
