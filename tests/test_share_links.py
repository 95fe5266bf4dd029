"""A share link shows some modules and days of one property to whoever has its address, and never
lets anybody change a thing."""

from datetime import date, timedelta
from typing import Any

import pytest
from django.db.utils import IntegrityError

from tests.people import fresh, new_key, new_link, new_user


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
