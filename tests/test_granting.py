"""Nobody grants more than she has, the last owner stays, and what is taken away is gone at once."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from tests.people import fresh, grant, new_account, new_key, new_property, new_user


def actor(holder: Any) -> Any:
    from properties.access import Actor

    return Actor(holder)


def joined(account: Any, role: str = "viewer", *rights: str, place: Any = None) -> Any:
    """A new member; with the rights named instead of those of the role, if any are named."""
    from properties.joining import join

    membership = join(account, new_user(role), role)
    if rights:
        membership.grants.all().delete()
        grant(membership, *rights, place=place)
    return membership


def right(account: Any, text: str, place: Any = None) -> Any:
    from properties.access import Right

    module, verb = text.split(":")
    return Right(account.pk, place.pk if place else None, module, verb)


def texts(rights: Any) -> set[str]:
    return {f"{r.module}:{r.verb}" for r in rights}


def refused(code: str, act: Callable[[], object]) -> str:
    from properties.granting import Refused

    with pytest.raises(Refused) as error:
        act()
    assert error.value.code == code
    return str(error.value)


# -- what can be given -----------------------------------------------------------------------------


def test_without_managing_members_nothing_can_be_given(acme: Any, vera: Any) -> None:
    from properties.granting import grantable_by

    own = grantable_by(actor(vera), acme)
    assert not own.has(right(acme, "audience:view"))
    assert own.cut([right(acme, "audience:view")]) == frozenset()


def test_what_one_may_do_can_be_given_there_and_in_less(
    acme: Any, shop: Any, blog: Any, charlie: Any
) -> None:
    from properties.granting import grantable_by

    lead = joined(acme, "viewer", "members:manage", "audience:manage")
    grant(lead, "ecommerce:view", place=shop)
    own = grantable_by(actor(lead.user), acme)
    assert own.has(right(acme, "audience:view"))
    assert own.has(right(acme, "audience:manage", blog))
    assert own.has(right(acme, "ecommerce:view", shop))
    assert not own.has(right(acme, "ecommerce:manage", shop))
    assert not own.has(right(acme, "ecommerce:view", blog))
    assert not own.has(right(acme, "ecommerce:view"))
    other = charlie.memberships.get().account
    assert not own.has(right(other, "audience:view"))


def test_a_right_of_another_module_gives_by_another_right(acme: Any) -> None:
    from properties.granting import grantable_by

    lead = joined(acme, "viewer", "api_keys:manage", "audience:view")
    assert grantable_by(actor(lead.user), acme, "api_keys").has(right(acme, "audience:view"))
    assert not grantable_by(actor(lead.user), acme).has(right(acme, "audience:view"))


def test_a_member_gives_no_more_than_she_has(acme: Any, shop: Any) -> None:
    from properties import granting

    lead = joined(acme, "viewer", "members:manage", "audience:view")
    other = joined(acme)
    wanted = granting.rights_of(other) | {right(acme, "ecommerce:view", shop)}
    said = refused(
        "more_than_own", lambda: granting.change(actor(lead.user), other, wanted, "viewer")
    )
    assert "You may not view E-commerce of Shop yourself" in said
    # Nor to herself.
    mine = granting.rights_of(lead) | {right(acme, "people:view")}
    refused("more_than_own", lambda: granting.change(actor(lead.user), lead, mine))
    assert texts(granting.rights_of(lead)) == {"members:manage", "audience:view"}


def test_what_a_member_has_already_she_keeps_when_somebody_with_less_changes_the_rest(
    acme: Any,
) -> None:
    from properties import granting

    lead = joined(acme, "viewer", "members:manage", "audience:view")
    other = joined(acme, "viewer", "ecommerce:manage", "events:view")
    wanted = {right(acme, "ecommerce:view"), right(acme, "audience:view")}
    granting.change(actor(lead.user), other, wanted, "support")
    other.refresh_from_db()
    assert texts(granting.rights_of(other)) == {"ecommerce:view", "audience:view"}
    assert other.role == "support"


def test_a_right_that_was_lost_a_moment_ago_gives_nothing(acme: Any) -> None:
    """The actor of the request has read her rights before."""
    from properties import granting

    lead, other = joined(acme, "admin"), joined(acme)
    asking = actor(lead.user)
    assert asking.may("manage", "members", acme)
    lead.grants.all().delete()
    refused("forbidden", lambda: granting.change(asking, other, [right(acme, "people:view")]))
    refused("forbidden", lambda: granting.remove(asking, other))


def test_rights_are_stored_once_and_only_the_wider_one(acme: Any, alice: Any, shop: Any) -> None:
    from properties import granting

    other = joined(acme)
    wanted = [
        right(acme, "audience:view"),
        right(acme, "audience:manage"),
        right(acme, "audience:view", shop),
        right(acme, "sources:view", shop),
    ]
    granting.change(actor(alice), other, wanted)
    assert granting.rights_of(other) == {wanted[1], wanted[3]}


@pytest.mark.parametrize("module", ["members", "api_keys", "usage", "audit"])
def test_a_matter_of_the_account_is_not_given_for_a_property(
    module: str, acme: Any, alice: Any, shop: Any
) -> None:
    from properties import granting

    wanted = [right(acme, f"{module}:view", shop)]
    refused("whole_account", lambda: granting.change(actor(alice), joined(acme), wanted))


def test_a_property_of_another_account_is_refused(acme: Any, alice: Any) -> None:
    from properties import granting

    wanted = [right(acme, "audience:view", new_property())]
    refused("unknown_property", lambda: granting.change(actor(alice), joined(acme), wanted))


def test_no_right_at_all_is_a_removal_and_says_so(acme: Any, alice: Any) -> None:
    from properties import granting

    refused("empty", lambda: granting.change(actor(alice), joined(acme), []))


# -- roles -----------------------------------------------------------------------------------------


def test_a_role_in_one_property_has_no_matter_of_the_account(acme: Any, shop: Any) -> None:
    from accounts import modules
    from properties.granting import rights_of_role

    found = rights_of_role("admin", acme, [shop])
    assert {r.property_id for r in found} == {shop.pk}
    assert {r.module for r in found} == {*modules.PROPERTY_MODULES, "property"}


def test_the_difference_from_a_role_is_told_where_the_rights_hold(acme: Any, shop: Any) -> None:
    from properties.granting import difference, rights_of_role

    fresh_viewer = rights_of_role("viewer", acme, [shop])
    assert difference("viewer", acme, fresh_viewer) == (frozenset(), frozenset())
    changed = (fresh_viewer - {right(acme, "events:view", shop)}) | {
        right(acme, "chat:manage", shop)
    }
    more, less = difference("viewer", acme, changed)
    assert (texts(more), texts(less)) == ({"chat:manage"}, {"events:view"})
    # Managing what the role may view is more, and not less.
    more, less = difference("viewer", acme, fresh_viewer | {right(acme, "events:manage", shop)})
    assert (texts(more), texts(less)) == ({"events:manage"}, set())


# -- owners ----------------------------------------------------------------------------------------


def test_an_owner_keeps_everything(acme: Any, alice: Any) -> None:
    from properties import granting

    own = alice.memberships.get(account=acme)
    wanted = [right(acme, "audience:view")]
    refused("owner", lambda: granting.change(actor(alice), own, wanted))
    refused("owner", lambda: granting.change(actor(alice), joined(acme), wanted, "owner"))


def test_only_an_owner_makes_ends_or_removes_an_owner(acme: Any, alice: Any) -> None:
    from properties import granting

    admin = joined(acme, "admin")
    second = joined(acme, "viewer")
    mine = alice.memberships.get(account=acme)
    key, _ = new_key(acme, "members:manage")
    for asking in (actor(admin.user), actor(key)):
        for act in (granting.make_owner, granting.end_owner, granting.hand_over):
            refused("owners_only", lambda act=act, asking=asking: act(asking, mine))
        refused("owners_only", lambda asking=asking: granting.remove(asking, mine))
    granting.make_owner(actor(alice), second)
    second.refresh_from_db()
    assert second.role == "owner"
    assert actor(second.user).may("manage", "audit", acme)
    granting.end_owner(actor(second.user), mine)
    mine.refresh_from_db()
    assert mine.role == "admin"


def test_the_last_owner_stays(acme: Any, alice: Any) -> None:
    from properties import granting

    mine = alice.memberships.get(account=acme)
    refused("last_owner", lambda: granting.remove(actor(alice), mine))
    refused("last_owner", lambda: granting.end_owner(actor(alice), mine))
    asleep = joined(acme, "owner")
    asleep.user.is_active = False
    asleep.user.save()
    refused("last_owner", lambda: granting.remove(actor(alice), mine))
    refused("last_owner", lambda: granting.hand_over(actor(alice), asleep))


def test_ownership_is_handed_over(acme: Any, alice: Any) -> None:
    from properties import granting

    other = joined(acme)
    granting.hand_over(actor(alice), other)
    other.refresh_from_db()
    assert other.role == "owner"
    mine = alice.memberships.get(account=acme)
    assert mine.role == "admin"
    granting.remove(actor(alice), mine)  # now she can leave
    assert not actor(alice).sees(acme)


def test_two_owners_who_leave_at_once_leave_one(acme: Any, alice: Any) -> None:
    from properties import granting

    mine, other = alice.memberships.get(account=acme), joined(acme, "owner")
    together = threading.Barrier(2)
    outcomes: list[str] = []

    def leave(membership: Any) -> None:
        try:
            together.wait()
            granting.remove(actor(membership.user), membership)
            outcomes.append("left")
        except granting.Refused as error:
            outcomes.append(error.code)
        finally:
            connection.close()

    threads = [threading.Thread(target=leave, args=[who]) for who in (mine, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["last_owner", "left"]


# -- gone at once ----------------------------------------------------------------------------------


def test_what_is_taken_away_ends_what_still_runs(
    acme: Any, shop: Any, bob: Any, django_assert_num_queries: Any
) -> None:
    """A stream holds an actor for long; it asks again each second, by one query."""
    held = actor(bob)
    assert held.may("view", "audience", shop)
    with django_assert_num_queries(1):
        assert held.still_may("view", "audience", shop)
    bob.memberships.get().delete()
    assert held.may("view", "audience", shop)  # what a request has read, it keeps to its end
    assert not held.still_may("view", "audience", shop)


def test_whoever_is_switched_off_or_ended_may_nothing(acme: Any, shop: Any, vera: Any) -> None:
    from datetime import timedelta

    from django.utils import timezone

    held = actor(vera)
    assert held.still_may("view", "audience", shop)
    type(vera).objects.filter(pk=vera.pk).update(is_active=False)
    assert not held.still_may("view", "audience", shop)
    for end in ({"revoked": timezone.now()}, {"expires": timezone.now() - timedelta(seconds=1)}):
        key, _ = new_key(acme, "audience:view")
        held = actor(key)
        assert held.still_may("view", "audience", shop)
        type(key).objects.of(acme).filter(pk=key.pk).update(**end)
        assert not held.still_may("view", "audience", shop)


def test_keys_of_a_member_who_is_switched_off_may_nothing(acme: Any, shop: Any, vera: Any) -> None:
    """Until she is switched on again; a key that was kept when she left is the account's."""
    from tests.people import with_key

    key, secret = new_key(acme, "audience:view")
    type(key).objects.of(acme).filter(pk=key.pk).update(made_by=vera)
    other, _ = new_key(acme, "audience:view")
    held = actor(type(key).objects.of(acme).get(pk=key.pk))
    people = type(vera).objects.filter(pk=vera.pk)

    def may() -> bool:
        status = with_key(secret).get(f"/api/v1/properties/{shop.key}/dimensions").status_code
        assert held.still_may("view", "audience", shop) == (status == 200)
        return status == 200

    assert may()
    people.update(is_active=False)
    assert not may()
    assert actor(other).may("view", "audience", shop)
    vera.memberships.get(account=acme).delete()
    assert may()


def test_rights_of_one_account_say_nothing_of_another(alice: Any, acme: Any) -> None:
    """Alice owns one account and may view a little of another."""
    elsewhere = new_account(new_user("owner"), fresh("other"))
    from accounts.models import Membership

    membership = Membership.objects.create(account=elsewhere, user=alice, role="viewer")
    grant(membership, "audience:view")
    from properties import granting

    both = actor(alice)
    assert {account.pk for account in both.accounts()} == {acme.pk, elsewhere.pk}
    assert not granting.grantable_by(both, elsewhere).has(right(elsewhere, "audience:view"))
    refused("owners_only", lambda: granting.make_owner(both, membership))


def test_every_module_has_a_name_and_a_line_for_people() -> None:
    from accounts import modules

    explained = [module for group in modules.GROUPS.values() for module in group]
    assert sorted(explained) == sorted(modules.MODULES)
