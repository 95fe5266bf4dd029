"""The Django admin: every list opens, secrets are not shown, rules hold, only staff enters."""

from typing import Any

import pytest

from tests.people import PASSWORD, fresh, grant, new_key, new_user, signed_in_as


@pytest.fixture
def boss() -> Any:
    from accounts.models import User

    return User.objects.create_superuser(f"{fresh('boss')}@example.com", PASSWORD)


def models_in_the_admin() -> list[str]:
    from django.contrib import admin

    ours = {"accounts", "properties", "tracking", "reports"}
    return sorted(
        model._meta.label_lower.replace(".", "_")
        for model in admin.site._registry
        if model._meta.app_label in ours
    )


def test_the_first_administrator_signs_in_before_any_mail_works(boss: Any, mailoutbox: Any) -> None:
    client = signed_in_as(None)
    answer = client.post("/user/login/?next=/admin/", {"login": boss.email, "password": PASSWORD})
    assert answer.headers["Location"] == "/admin/"
    assert client.get("/admin/").status_code == 200
    assert mailoutbox == []


def test_the_admin_has_the_lists_that_operators_need() -> None:
    assert models_in_the_admin() == [
        "accounts_account",
        "accounts_membership",
        "accounts_plan",
        "accounts_supportsession",
        "accounts_user",
        "properties_apikey",
        "properties_grant",
        "properties_property",
        "tracking_erasure",
        "tracking_quarantined",
    ]


def test_nothing_that_signs_in_as_somebody_else_is_shown() -> None:
    from allauth.mfa.models import Authenticator
    from allauth.socialaccount.models import SocialApp, SocialToken
    from allauth.usersessions.models import UserSession
    from django.contrib import admin
    from django.contrib.sessions.models import Session

    secrets = {Authenticator, SocialApp, SocialToken, UserSession, Session}
    assert secrets & set(admin.site._registry) == set()


def test_every_list_opens_and_finds(boss: Any, shop: Any) -> None:
    from django.urls import reverse

    client = signed_in_as(boss)
    new_key(shop.account, "audience:view")
    assert client.get("/admin/").status_code == 200
    for name in models_in_the_admin():
        answer = client.get(reverse(f"admin:{name}_changelist"), {"q": "shop"})
        assert answer.status_code == 200, name
        assert 'rel="icon"' in answer.content.decode(), name  # or browsers ask for /favicon.ico
    found = client.get("/admin/properties/property/", {"q": shop.key}).content.decode()
    assert shop.account.slug in found or shop.account.name in found
    assert "1 property" in found


def test_a_key_is_shown_without_its_secret_and_can_be_revoked(boss: Any, acme: Any) -> None:
    key, secret = new_key(acme, "audience:view")
    client = signed_in_as(boss)
    page = client.get(f"/admin/properties/apikey/{key.pk}/change/").content.decode()
    assert key.prefix in page
    assert secret not in page
    assert key.digest not in page
    client.post(
        "/admin/properties/apikey/", {"action": "revoke", "_selected_action": [str(key.pk)]}
    )
    key.refresh_from_db()
    assert key.revoked is not None


def test_a_property_is_changed_by_the_rules_of_its_page(boss: Any, shop: Any) -> None:
    client = signed_in_as(boss)
    path = f"/admin/properties/property/{shop.pk}/change/"
    page = client.get(path)
    data = dict(page.context["adminform"].form.initial)
    data |= {
        "hostnames": "https://www.example.com/",
        "excluded_addresses": "",
        "account": shop.account_id,
    }
    refused = client.post(path, data | {"timezone": "Mars/Olympus"})
    assert "Unknown time zone" in refused.content.decode()
    assert client.post(path, data).status_code == 302
    shop.refresh_from_db()
    assert (shop.hostnames, shop.version) == (["example.com"], 2)


def test_a_role_given_in_the_admin_brings_its_grants(boss: Any, acme: Any, shop: Any) -> None:
    user = new_user("dora")
    client = signed_in_as(boss)
    path = "/admin/accounts/membership/add/"
    answer = client.post(path, {"account": acme.pk, "user": user.pk, "role": "viewer"})
    assert answer.status_code == 302
    assert signed_in_as(user).get(f"/p/{shop.key}/").status_code == 200


def test_a_member_who_is_removed_in_the_admin_leaves_no_key_behind(
    boss: Any, acme: Any, vera: Any
) -> None:
    from tests.test_granting import right
    from tests.test_invitations import invite

    key, _ = new_key(acme, "audience:view")
    type(key).objects.of(acme).filter(pk=key.pk).update(made_by=vera)
    membership = vera.memberships.get(account=acme)
    grant(membership, "members:manage")
    sent = invite(vera, acme, rights=[right(acme, "audience:view")])
    path = f"/admin/accounts/membership/{membership.pk}/delete/"
    assert signed_in_as(boss).post(path, {"post": "yes"}).status_code == 302
    key.refresh_from_db()
    sent.refresh_from_db()
    assert key.revoked is not None
    assert sent.revoked is not None


def test_a_user_who_is_deleted_in_the_admin_leaves_no_key_behind(
    boss: Any, acme: Any, vera: Any
) -> None:
    mine, other = new_key(acme, "audience:view")[0], new_key(acme, "audience:view")[0]
    type(mine).objects.of(acme).filter(pk=mine.pk).update(made_by=vera)
    path = f"/admin/accounts/user/{vera.pk}/delete/"
    assert signed_in_as(boss).post(path, {"post": "yes"}).status_code == 302
    mine.refresh_from_db()
    other.refresh_from_db()
    assert mine.revoked is not None
    assert other.revoked is None


def test_nothing_whose_events_would_stay_is_deleted_or_moved_in_the_admin(
    boss: Any, acme: Any, shop: Any, charlie: Any
) -> None:
    client = signed_in_as(boss)
    for path in (
        f"/admin/accounts/account/{acme.pk}/delete/",
        f"/admin/properties/property/{shop.pk}/delete/",
    ):
        assert client.post(path, {"post": "yes"}).status_code == 403
    shown = client.get(f"/admin/properties/property/{shop.pk}/change/").content.decode()
    assert 'name="account"' not in shown
    assert 'name="account"' in client.get("/admin/properties/property/add/").content.decode()


def test_the_ledger_adds_up_properties_across_accounts(boss: Any, shop: Any, charlie: Any) -> None:
    from datetime import timedelta

    from django.utils import timezone

    from tracking.admin import totals_across_accounts
    from tracking.models import Ledger

    now = timezone.now()
    for hours, refused in [(0, {"host": 2}), (1, {"host": 1, "future": 4})]:
        Ledger.objects.using("worker").create(
            account_id=shop.account_id,
            property_id=shop.pk,
            hour=now - timedelta(hours=hours),
            accepted=10,
            stored=9,
            refused=refused,
        )
    row = next(r for r in totals_across_accounts(now - timedelta(days=1)) if r["place"] == shop)
    assert (row["numbers"][0], row["numbers"][4]) == (20, 18)
    assert row["refused"] == [("future", 4), ("host", 3)]
    page = signed_in_as(boss).get("/admin/ledger/")
    assert page.status_code == 200
    assert "future 4, host 3" in page.content.decode()


def test_quarantine_is_shown_as_text_and_only_read(boss: Any, shop: Any) -> None:
    from django.utils import timezone

    from tracking.models import Quarantined

    row = Quarantined.objects.using("worker").create(
        account_id=shop.account_id,
        property_id=shop.pk,
        entry="1-0",
        received_at=timezone.now(),
        reason="no such column",
        payload=b"<script>alert(1)</script>\xff",
    )
    client = signed_in_as(boss)
    page = client.get(f"/admin/tracking/quarantined/{row.pk}/change/").content.decode()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\xff" in page
    assert client.post(f"/admin/tracking/quarantined/{row.pk}/delete/").status_code == 403


@pytest.mark.parametrize("path", ["/admin/", "/admin/ledger/", "/admin/properties/property/"])
def test_only_staff_enters(path: str, alice: Any) -> None:
    assert signed_in_as(alice).get(path).status_code == 302
    assert signed_in_as(None).get(path).status_code == 302


def test_staff_without_the_right_does_not_see_the_ledger(alice: Any) -> None:
    alice.is_staff = True
    alice.save()
    assert signed_in_as(alice).get("/admin/ledger/").status_code == 403


def test_the_administration_has_no_entrance_of_its_own(boss: Any) -> None:
    """Django's would ask for no second factor."""
    nobody = signed_in_as(None)
    for answer in (
        nobody.get("/admin/login/?next=/admin/ledger/"),
        nobody.post("/admin/login/", {"username": boss.email, "password": PASSWORD}),
    ):
        assert answer.headers["Location"].startswith("/user/login/?next=")
    assert "_auth_user_id" not in nobody.session


def test_guessing_a_password_ends(boss: Any, settings: Any) -> None:
    """Also for the right one: else the lock would only tell the guesser to go on."""
    from django.test import Client

    settings.AXES_FAILURE_LIMIT = 2
    client = Client(REMOTE_ADDR="192.0.2.77")
    form = "/user/login/"
    wrong = {"login": boss.email, "password": "wrong"}
    assert [client.post(form, wrong).status_code for _ in range(2)] == [200, 429]
    right = {"login": boss.email.upper(), "password": PASSWORD}
    assert client.post(form, right).status_code == 429
    assert "_auth_user_id" not in client.session
