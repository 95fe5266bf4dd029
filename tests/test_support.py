"""Support acts as a user: with a reason, for half an hour, to look; the customer sees and rules."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from tests.people import fresh, new_account, new_property, new_user, signed_in_as
from tests.test_access import places  # noqa: F401


def new_staff(*rights: str) -> Any:
    from django.contrib.auth.models import Permission

    user = new_user("dora")
    user.is_staff = True
    user.save()
    user.user_permissions.set(Permission.objects.filter(codename__in=rights))
    return user


@pytest.fixture
def boss() -> Any:
    """Somebody of the staff who may look, and no more."""
    return new_staff("support_enter")


def act(staff: Any, user: Any, **fields: Any) -> Any:
    """A browser in which that member of the staff acts as that user."""
    client = signed_in_as(staff)
    data = {"reason": "Ticket 12: no events"} | fields
    answer = client.post(f"/admin/accounts/user/{user.pk}/act/", data)
    assert answer.status_code == 302, answer.content.decode()
    return client


def refusal(staff: Any, user: Any, **fields: Any) -> str:
    data = {"reason": "Ticket 12: no events"} | fields
    answer = signed_in_as(staff).post(f"/admin/accounts/user/{user.pk}/act/", data)
    assert answer.status_code in (200, 403)
    assert not sessions(user)
    return answer.content.decode()


def sessions(user: Any) -> list[Any]:
    from accounts.models import SupportSession

    return list(SupportSession.objects.filter(user=user))


def log_of(account: Any, *actions: str) -> list[Any]:
    from accounts.models import AuditEntry
    from accounts.tenancy import tenant

    with tenant(account.pk):
        return list(AuditEntry.objects.filter(action__in=actions).order_by("pk"))


def test_support_sees_what_the_user_sees(boss: Any, alice: Any, shop: Any, acme: Any) -> None:
    client = act(boss, alice)
    page = client.get(f"/p/{shop.key}/")
    assert page.status_code == 200
    text = page.content.decode()
    assert "acts as" in text
    assert boss.email in text
    assert "Ticket 12: no events" in text
    assert "changes nothing" in text
    assert client.get("/").headers["location"] == f"/p/{shop.key}/"
    assert signed_in_as(boss).get(f"/p/{shop.key}/").status_code == 404


def test_the_customer_finds_it_in_the_audit_log(
    boss: Any, alice: Any, shop: Any, acme: Any
) -> None:
    client = act(boss, alice)
    client.get(f"/p/{shop.key}/table/country.csv")
    client.post("/admin/accounts/user/stop-acting/")
    entered, left = log_of(acme, "support.entered", "support.left")
    assert (entered.actor_name, entered.target) == (boss.email, alice.email)
    assert entered.new["reason"] == left.new["reason"] == "Ticket 12: no events"
    for entry in log_of(acme, "report.exported"):
        assert (entry.actor_name, entry.impersonator_name) == (alice.email, boss.email)


@pytest.mark.parametrize("reason", ["", "x", "   ", "\u200b\u200b\u200b\u200b\u200b"])
def test_a_reason_is_required(boss: Any, alice: Any, acme: Any, reason: str) -> None:
    assert "errorlist" in refusal(boss, alice, reason=reason)


def test_nothing_is_changed(boss: Any, alice: Any, shop: Any, acme: Any) -> None:
    client = act(boss, alice)
    for path, data in [
        (f"/p/{shop.key}/settings/", {"name": "Changed"}),
        (f"/a/{acme.slug}/settings/", {"name": "Changed"}),
        (f"/a/{acme.slug}/new-property/", {"name": "More", "hostnames": "*"}),
        ("/new-account/", {"name": "More"}),
    ]:
        answer = client.post(path, data)
        assert answer.status_code == 403, path
        assert f"You are looking as {alice}" in answer.content.decode()
    answer = client.patch(
        f"/api/v1/properties/{shop.key}", {"name": "Changed"}, content_type="application/json"
    )
    assert answer.status_code == 403
    assert "You are looking as" in answer.json()["error"]["message"]
    shop.refresh_from_db()
    acme.refresh_from_db()
    assert (shop.name, acme.name) == ("Shop", "Acme")
    asked = client.post(
        f"/api/v1/properties/{shop.key}/query",
        {"metrics": ["visitors"]},
        content_type="application/json",
    )
    assert asked.status_code == 200


def test_every_route_that_writes_is_refused(boss: Any, places: Any) -> None:  # noqa: F811
    """Generated from the access table: nothing but questions is answered to a POST."""
    from tests.test_access import PRIVACY, REPORTS, ROWS, path_of, status

    client = act(boss, places["alice"])
    # A share link is whose it is that holds it, signed in or not.
    others = {"api_query", "api_histogram", "shared_overview", "unlock_share"}
    got = {
        str(row): status(client, row, path_of(row, places))
        for row in [*ROWS, *PRIVACY, *REPORTS]
        if row.method != "GET" and row.name not in others
    }
    assert len(got) > 40
    assert {name: status for name, status in got.items() if status != 403} == {}


def test_keys_and_the_own_sign_in_stay_closed(alice: Any, shop: Any, acme: Any) -> None:
    client = act(new_staff("support_enter", "support_write"), alice, may_write="on")
    assert client.get(f"/a/{acme.slug}/api-keys/").status_code == 403
    assert client.post(f"/a/{acme.slug}/api-keys/", {"name": "k"}).status_code == 403
    for path in ("/user/email/", "/user/password/change/", "/user/2fa/", "/user/logout/"):
        answer = client.get(path)
        assert answer.status_code == 403, path
        assert "are the user&#x27;s own" in answer.content.decode()


def test_who_may_write_changes_things_but_no_members(alice: Any, shop: Any, acme: Any) -> None:
    client = act(new_staff("support_enter", "support_write"), alice, may_write="on")
    answer = client.post(f"/a/{acme.slug}/settings/", {"name": "Changed", "allow_support": "on"})
    assert answer.status_code == 302
    acme.refresh_from_db()
    assert acme.name == "Changed"
    (entry,) = log_of(acme, "account.changed")
    assert entry.impersonator_name
    assert sessions(alice)[0].may_write


def test_support_that_may_write_leaves_nothing_that_lasts(
    alice: Any, shop: Any, acme: Any, mailoutbox: list[Any]
) -> None:
    """What would go on after the half hour, or belongs to the user alone."""
    from properties.joining import join
    from properties.models import ShareLink
    from tests.test_invitations import invite, path_in

    join(acme, new_user("owner"), "owner")  # so that Alice might leave
    other = new_account(new_user("owner"), "other")
    invite(other.memberships.get().user, other, alice.email)
    client = act(new_staff("support_enter", "support_write"), alice, may_write="on")
    refused = {
        f"/p/{shop.key}/share/": {"name": "For ever", "range": "all"},
        f"/a/{acme.slug}/leave/": {"keys": "keep"},
        path_in(mailoutbox[-1]): {},
        "/new-account/": {"name": fresh("hers"), "slug": fresh("hers")},
    }
    got = {path: client.post(path, data).status_code for path, data in refused.items()}
    assert got == dict.fromkeys(refused, 403)
    link = {"name": "For ever"}
    path = f"/api/v1/properties/{shop.key}/share-links"
    assert client.post(path, link, content_type="application/json").status_code == 403
    path, named = "/api/v1/accounts", {"name": fresh("hers")}
    assert client.post(path, named, content_type="application/json").status_code == 403
    assert not ShareLink.objects.of(acme).exists()
    assert [one.account for one in alice.memberships.all()] == [acme]


def test_an_account_that_lets_support_in_meanwhile_is_told_of_a_new_session_only(
    boss: Any, alice: Any, acme: Any
) -> None:
    from properties.joining import join

    closed = new_account(new_user("owner"), "closed")
    type(closed).objects.filter(pk=closed.pk).update(allow_support=False)
    join(closed, alice, "admin")
    client = act(boss, alice)
    type(closed).objects.filter(pk=closed.pk).update(allow_support=True)
    assert client.get(f"/a/{acme.slug}/").status_code == 200
    assert client.get(f"/a/{closed.slug}/").status_code == 404
    assert act(boss, alice).get(f"/a/{closed.slug}/").status_code == 200
    assert len(log_of(closed, "support.entered")) == 1


def test_the_right_to_write_is_not_taken_by_asking(boss: Any, alice: Any, acme: Any) -> None:
    client = act(boss, alice, may_write="on")
    assert client.post(f"/a/{acme.slug}/settings/", {"name": "Changed"}).status_code == 403
    assert not sessions(alice)[0].may_write


def test_an_account_that_forbids_support_does_not_exist(
    boss: Any, alice: Any, shop: Any, acme: Any
) -> None:
    globex = new_account(alice, "globex")
    place = new_property(globex)
    globex.allow_support = False
    globex.save()
    client = act(boss, alice)
    assert client.get(f"/p/{shop.key}/").status_code == 200
    assert client.get(f"/p/{place.key}/").status_code == 404
    assert client.get(f"/a/{globex.slug}/").status_code == 404
    assert globex.name not in client.get(f"/a/{acme.slug}/").content.decode()
    assert not log_of(globex, "support.entered")
    acme.allow_support = False  # and at once
    acme.save()
    assert client.get(f"/p/{shop.key}/").status_code == 302
    assert client.get(f"/p/{shop.key}/").status_code == 404
    assert len(log_of(acme, "support.left")) == 1
    assert "lets support in" in refusal_text(boss, alice)


def refusal_text(staff: Any, user: Any) -> str:
    answer = signed_in_as(staff).post(
        f"/admin/accounts/user/{user.pk}/act/", {"reason": "Once more"}
    )
    assert answer.status_code == 200
    return answer.content.decode()


def test_staff_and_who_is_switched_off_cannot_be_acted_as(boss: Any, acme: Any) -> None:
    other = new_staff()
    new_account(other)
    assert "Nobody acts as staff" in refusal(boss, other)
    gone = new_user("gone")
    new_account(gone)
    gone.is_active = False
    gone.save()
    assert "switched off" in refusal(boss, gone)


def test_without_the_right_nobody_acts(alice: Any, acme: Any, bob: Any) -> None:
    assert "You need the right to act as users" in refusal(new_staff(), alice)
    answer = signed_in_as(bob).post(
        f"/admin/accounts/user/{alice.pk}/act/", {"reason": "I want to"}
    )
    assert answer.status_code == 302
    assert not sessions(alice)


def test_it_ends_by_itself(boss: Any, alice: Any, shop: Any, acme: Any) -> None:
    from accounts.models import SupportSession
    from accounts.support import end_overdue

    client = act(boss, alice)
    (begun,) = sessions(alice)
    assert begun.ends - begun.started == timedelta(minutes=30)
    past = timezone.now() - timedelta(seconds=1)
    SupportSession.objects.filter(pk=begun.pk).update(ends=past)
    refused = client.post(f"/a/{acme.slug}/settings/", {"name": "Changed"})
    assert refused.status_code == 403
    assert "no longer act as a user" in refused.content.decode()
    assert client.get(f"/p/{shop.key}/").status_code == 404
    assert end_overdue(timezone.now()) == 0  # the browser has ended it
    (left,) = log_of(acme, "support.left")
    assert left.actor_name == boss.email
    begun.refresh_from_db()
    assert begun.ended == past


def test_a_browser_that_never_comes_back_is_ended_by_the_tick(
    boss: Any, alice: Any, acme: Any
) -> None:
    from accounts.models import SupportSession
    from accounts.support import end_overdue

    act(boss, alice)
    SupportSession.objects.filter(user=alice).update(ends=timezone.now())
    assert end_overdue(timezone.now()) >= 1
    assert len(log_of(acme, "support.left")) == 1
    end_overdue(timezone.now())
    assert len(log_of(acme, "support.left")) == 1


def test_the_session_id_changes_at_both_ends(boss: Any, alice: Any, acme: Any) -> None:
    client = signed_in_as(boss)
    ids = [client.session.session_key]
    client.post(f"/admin/accounts/user/{alice.pk}/act/", {"reason": "Ticket 12"})
    ids.append(client.session.session_key)
    client.post("/admin/accounts/user/stop-acting/")
    ids.append(client.session.session_key)
    assert len(set(ids)) == 3
    assert client.get("/admin/").status_code == 200  # herself again, and still signed in


def test_a_stolen_name_in_the_session_of_somebody_else_opens_nothing(
    boss: Any, alice: Any, shop: Any, charlie: Any
) -> None:
    act(boss, alice)
    client = signed_in_as(charlie)
    session = client.session
    session["support"] = sessions(alice)[0].pk
    session.save()
    assert client.get(f"/p/{shop.key}/").status_code == 302
    assert client.get(f"/p/{shop.key}/").status_code == 404


def test_staff_who_lose_their_right_are_out_at_once(boss: Any, alice: Any, shop: Any) -> None:
    client = act(boss, alice)
    boss.user_permissions.clear()
    assert client.get(f"/p/{shop.key}/").status_code == 302
    assert client.get(f"/p/{shop.key}/").status_code == 404


def test_a_stream_of_support_ends_with_it(boss: Any, alice: Any, shop: Any) -> None:
    """What lasts asks again: the rights are gone when the session is."""
    from accounts.models import SupportSession
    from properties.access import Actor

    act(boss, alice)
    actor = Actor(alice, sessions(alice)[0])
    assert actor.still_may("view", "realtime", shop)
    assert not actor.may("manage", "property", shop)
    held = list(boss.user_permissions.all())
    boss.user_permissions.clear()
    assert not actor.still_may("view", "realtime", shop), "of the staff"
    boss.user_permissions.set(held)
    assert actor.still_may("view", "realtime", shop)
    SupportSession.objects.filter(user=alice).update(ended=timezone.now())
    assert not actor.still_may("view", "realtime", shop)


def test_the_admin_lists_who_acted_and_ends_it(boss: Any, alice: Any, shop: Any) -> None:
    from accounts.models import User

    client = act(boss, alice)
    root = User.objects.create_superuser(f"{fresh('root')}@example.com", "x")
    admin = signed_in_as(root)
    assert alice.email in admin.get("/admin/accounts/supportsession/").content.decode()
    pk = sessions(alice)[0].pk
    admin.post("/admin/accounts/supportsession/", {"action": "end", "_selected_action": [pk]})
    assert client.get(f"/p/{shop.key}/").status_code == 302
    assert (
        "Act as this user" in admin.get(f"/admin/accounts/user/{alice.pk}/change/").content.decode()
    )


def test_the_customer_forbids_it_on_the_page_of_the_account(alice: Any, acme: Any) -> None:
    client = signed_in_as(alice)
    answer = client.post(f"/a/{acme.slug}/settings/", {"name": "Acme"})
    assert answer.status_code == 302
    acme.refresh_from_db()
    assert not acme.allow_support
    (entry,) = log_of(acme, "account.changed")
    assert (entry.old, entry.new) == ({"allow_support": True}, {"allow_support": False})
