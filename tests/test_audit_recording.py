"""What the audit log tells: each act through its page, its API or its command."""

import json
from typing import Any

import pytest

from tests.people import PASSWORD, fresh, new_account, new_key, signed_in_as, with_key
from tests.test_audit import entries


def log_in(email: str, password: str) -> tuple[Any, Any]:
    """(client, answer) after the log-in form."""
    from django.test import Client

    client = Client()
    return client, client.post("/user/login/", {"login": email, "password": password})


def told(account: Any, *actions: str) -> list[tuple[str, Any, Any]]:
    return [(entry.action, entry.old, entry.new) for entry in entries(account, *actions)]


# -- signing in ------------------------------------------------------------------------------------


def test_signing_in_and_out_is_told_in_every_account_of_the_user(acme: Any, alice: Any) -> None:
    second = new_account(alice)
    client, answer = log_in(alice.email, PASSWORD)
    assert answer.status_code == 302
    client.post("/user/logout/")
    for account in (acme, second):
        found = entries(account, "session.opened", "session.closed")
        assert [entry.action for entry in found] == ["session.opened", "session.closed"]
        assert {entry.actor_id for entry in found} == {alice.pk}
        assert {entry.address for entry in found} == {"127.0.0.1"}


def test_a_refused_log_in_is_told_once_in_ten_minutes(acme: Any, alice: Any) -> None:
    for _ in range(3):
        log_in(alice.email, "wrong")
    (entry,) = entries(acme, "session.refused")
    assert (entry.actor_kind, entry.target, entry.new) == (
        "nobody",
        alice.email,
        {"wrong": "password"},
    )


def test_the_next_entry_says_how_many_were_passed_over() -> None:
    from django.core.cache import cache

    from accounts.audit import _cache_key, first_in

    what = fresh("what")
    assert [first_in(600, what) for _ in range(4)] == [0, None, None, None]
    cache.delete(_cache_key((what,)))
    assert [first_in(600, what) for _ in range(2)] == [3, None]
    cache.delete(_cache_key((what,)))
    assert first_in(600, what) == 1


def test_an_attack_from_many_addresses_does_not_fill_the_log(
    acme: Any, alice: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.test import Client

    from accounts import sign_ins

    monkeypatch.setattr(sign_ins, "MOST_ADDRESSES", 2)
    for number in range(4):
        client = Client(REMOTE_ADDR=f"203.0.113.{number}")
        client.post("/user/login/", {"login": alice.email, "password": "wrong"})
    assert len(entries(acme, "session.refused")) == 2


def test_the_answer_to_a_refused_log_in_does_not_tell_who_is_a_member(
    acme: Any, alice: Any, django_assert_num_queries: Any
) -> None:
    """Nor does the time until it: what a member costs more comes after the answer."""
    import re

    from django.core.handlers.wsgi import WSGIHandler
    from django.test import RequestFactory

    handler, factory = WSGIHandler(), RequestFactory()
    seen = []
    for email in (alice.email, f"{fresh('nobody')}@example.com"):
        environ = factory.post("/user/login/", {"login": email, "password": "wrong"}).environ
        environ["HTTP_X_CSRFTOKEN"] = "a" * 32
        environ["HTTP_COOKIE"] = "csrftoken=" + "a" * 32
        answer = handler(environ, lambda status, headers: None)
        before = len(entries(acme, "session.refused"))
        text = re.sub(r'value="[^"]*"|nonce="[^"]*"', "", answer.content.decode())
        seen.append((answer.status_code, text))
        assert before == 0 or email != alice.email
        answer.close()
        assert len(entries(acme, "session.refused")) == 1
    assert seen[0] == seen[1]


def test_a_changed_password_is_told_without_it(acme: Any, alice: Any) -> None:
    client, _ = log_in(alice.email, PASSWORD)
    new = "another horse battery"
    client.post(
        "/user/password/change/",
        {"oldpassword": PASSWORD, "password1": new, "password2": new},
    )
    (entry,) = entries(acme, "password.changed")
    assert (entry.actor_id, entry.old, entry.new) == (alice.pk, None, None)
    assert "horse" not in str([vars(entry) for entry in entries(acme)])


def test_a_new_address_and_a_second_factor_are_told(acme: Any, alice: Any, rf: Any) -> None:
    from allauth.account import signals as account
    from allauth.account.models import EmailAddress
    from allauth.mfa import signals as mfa
    from allauth.mfa.models import Authenticator

    request = rf.get("/")
    old = EmailAddress.objects.get(user=alice)
    new = EmailAddress(user=alice, email="new@example.com")
    device = Authenticator(user=alice, type=Authenticator.Type.TOTP, data={"secret": "s3cr3t"})
    about = {"sender": None, "request": request, "user": alice}
    account.email_added.send(email_address=new, **about)
    account.email_changed.send(from_email_address=old, to_email_address=new, **about)
    mfa.authenticator_added.send(authenticator=device, **about)
    mfa.authentication_failed.send(authenticator=device, **about)
    mfa.authenticator_removed.send(authenticator=device, **about)
    found = entries(acme)[-5:]
    assert [(entry.action, entry.target, entry.old, entry.new) for entry in found] == [
        ("email.added", "new@example.com", None, None),
        ("email.changed", "", {"email": alice.email}, {"email": "new@example.com"}),
        ("mfa.added", "TOTP Authenticator", None, None),
        ("session.refused", alice.email, None, {"wrong": "second factor"}),
        ("mfa.removed", "TOTP Authenticator", None, None),
    ]


# -- refusals, keys and exports --------------------------------------------------------------------


def test_a_403_is_told_once_per_page_and_right(shop: Any, acme: Any, bob: Any) -> None:
    client = signed_in_as(bob)
    for _ in range(3):
        assert client.get(f"/p/{shop.key}/settings/").status_code == 403
    assert client.post(f"/p/{shop.key}/settings/", {"name": "Mine"}).status_code == 403
    assert client.get(f"/api/v1/properties/{shop.key}").status_code == 403
    found = entries(acme, "access.denied")
    assert [(entry.target, entry.new["right"]) for entry in found] == [
        (f"GET /p/{shop.key}/settings/", "property:view"),
        (f"POST /p/{shop.key}/settings/", "property:manage"),
        (f"GET /api/v1/properties/{shop.key}", "property:view"),
    ]
    assert {entry.actor_id for entry in found} == {bob.pk}
    assert {entry.property_id for entry in found} == {shop.pk}


def test_a_question_about_a_hidden_module_is_told(shop: Any, acme: Any) -> None:
    key, secret = new_key(acme, "audience:view")
    client = with_key(secret)
    path = f"/api/v1/properties/{shop.key}/query"
    answer = client.post(
        path, {"metrics": ["visitors"], "dimensions": ["source"]}, "application/json"
    )
    assert answer.status_code == 403
    assert client.get(f"/api/stats/track/{acme.slug}/pageview/2026").status_code == 403
    found = entries(acme, "access.denied")
    assert [(entry.actor_id, entry.new["right"]) for entry in found] == [
        (key.pk, "sources:view"),
        (key.pk, "events:view"),
    ]


def test_a_strangers_404_is_told_nobody(shop: Any, acme: Any, charlie: Any) -> None:
    own = charlie.memberships.get().account
    before = len(entries(acme))
    assert signed_in_as(charlie).get(f"/p/{shop.key}/settings/").status_code == 404
    assert len(entries(acme)) == before
    assert entries(own, "access.denied") == []


def test_a_key_is_told_of_by_day_and_address(shop: Any, acme: Any) -> None:
    from django.test import Client

    key, secret = new_key(acme, "property:view")
    for address in ("203.0.113.1", "203.0.113.1", "203.0.113.2"):
        client = Client(headers={"authorization": f"Bearer {secret}"}, REMOTE_ADDR=address)
        assert client.get(f"/api/v1/properties/{shop.key}").status_code == 200
    found = entries(acme, "api_key.used")
    assert [entry.address for entry in found] == ["203.0.113.1", "203.0.113.2"]
    assert {entry.actor_name for entry in found} == {str(key)}
    assert secret not in str([vars(entry) for entry in found])


def test_collecting_with_a_key_tells_the_log_nothing(shop: Any, acme: Any) -> None:
    """One round trip and no SQL: the collector does not pay for the log."""
    from properties.authentication import key_of

    _, secret = new_key(acme, "events:manage")
    before = len(entries(acme))
    assert key_of(f"Bearer {secret}") is not None
    assert len(entries(acme)) == before


def test_a_downloaded_table_is_told(shop: Any, acme: Any, alice: Any) -> None:
    from django.urls import reverse

    path = reverse("table_csv", kwargs={"key": shop.key, "dimension": "country"})
    assert signed_in_as(alice).get(path, {"range": "7d"}).status_code == 200
    (entry,) = entries(acme, "report.exported")
    assert (entry.target, entry.property_name, entry.new["rows"]) == ("country", "Shop", 0)
    assert "7d" in entry.new["address"]


# -- properties, goals, keys -----------------------------------------------------------------------


def test_settings_are_told_with_old_and_new_by_page_and_api(
    shop: Any, acme: Any, alice: Any
) -> None:
    client = signed_in_as(alice)
    form = {"name": "Store", "hostnames": "*", "timezone": "Europe/Berlin", "currency": "EUR"}
    form |= {"session_gap_minutes": "30", "retention_days": "400"}
    assert client.post(f"/p/{shop.key}/settings/", form).status_code == 302
    assert client.post(f"/p/{shop.key}/settings/", form).status_code == 302  # changes nothing
    path = f"/api/v1/properties/{shop.key}"
    client.patch(path, {"hostnames": ["example.com"]}, content_type="application/json")
    assert told(acme, "property.changed") == [
        (
            "property.changed",
            {"name": "Shop", "retention_days": 730},
            {"name": "Store", "retention_days": 400},
        ),
        ("property.changed", {"hostnames": ["*"]}, {"hostnames": ["example.com"]}),
    ]


def test_new_accounts_and_properties_are_told(alice: Any) -> None:
    from django.core.management import call_command

    from accounts.models import Account
    from properties.models import Property

    client = signed_in_as(alice)
    slug = fresh("acme")
    client.post("/new-account/", {"name": "Acme", "slug": slug})
    account = Account.objects.get(slug=slug)
    form = {"name": "By page", "hostnames": "*", "timezone": "UTC", "currency": "EUR"}
    client.post(f"/a/{slug}/new-property/", form)
    body = {"name": "By API", "hostnames": ["*"]}
    path = f"/api/v1/accounts/{slug}/properties"
    assert client.post(path, body, content_type="application/json").status_code == 201
    call_command("create_property", slug, "By command", "--hostname", "*")
    found = entries(account)
    assert [(e.action, e.actor_kind, e.property_name) for e in found] == [
        ("account.created", "user", ""),
        ("property.created", "user", "By page"),
        ("property.created", "user", "By API"),
        ("property.created", "system", "By command"),
    ]
    assert found[0].new == {"slug": slug, "name": "Acme", "owner": alice.email}
    assert found[1].target == Property.objects.of(account).get(name="By page").key


def test_goals_are_told_by_page_and_api(shop: Any, acme: Any, alice: Any) -> None:
    client = signed_in_as(alice)
    client.post(f"/p/{shop.key}/goals/", {"name": "Signup", "kind": "event", "event": "signup"})
    pk = shop.goals.get().pk
    changed = {"name": "Signup", "kind": "event", "event": "joined"}
    client.post(f"/p/{shop.key}/goals/{pk}/", changed)
    client.post(f"/p/{shop.key}/goals/{pk}/delete/")
    path = f"/api/v1/properties/{shop.key}/goals"
    body = {"name": "Pay", "kind": "value", "event": "purchase", "minimum": "5.00"}
    pk = client.post(path, json.dumps(body), content_type="application/json").json()["id"]
    client.patch(f"{path}/{pk}", {"name": "Paid"}, content_type="application/json")
    client.delete(f"{path}/{pk}")
    found = told(acme, "goal.created", "goal.changed", "goal.deleted")
    assert [action for action, _, _ in found] == [
        "goal.created",
        "goal.changed",
        "goal.deleted",
    ] * 2
    assert found[1][1:] == ({"event": "signup"}, {"event": "joined"})
    assert found[3][2]["minimum"] == "5.0000"
    assert found[4][1:] == ({"name": "Pay"}, {"name": "Paid"})


def test_a_replaced_and_an_ended_key_are_told_by_page_and_api(
    shop: Any, acme: Any, alice: Any
) -> None:
    client, _ = log_in(alice.email, PASSWORD)
    first = shop.key
    assert client.post(f"/p/{first}/settings/keys/", {"days": "7", "sure": "on"}).status_code == 302
    shop.refresh_from_db()
    old = shop.retired_keys.get()
    for _ in range(2):
        client.post(f"/p/{shop.key}/settings/keys/{old.pk}/end/")
    path = f"/api/v1/properties/{shop.key}/keys"
    assert client.post(path, {"days": 7}, content_type="application/json").status_code == 201
    second = shop.key
    shop.refresh_from_db()
    pk = shop.retired_keys.get(key=second).pk
    assert client.delete(f"/api/v1/properties/{shop.key}/keys/{pk}").status_code == 200
    found = entries(acme, "property_key.replaced", "property_key.ended")
    assert [(entry.action, entry.target) for entry in found] == [
        ("property_key.replaced", second),
        ("property_key.ended", first),
        ("property_key.replaced", shop.key),
        ("property_key.ended", second),
    ]
    assert found[0].old["key"] == first


def test_what_the_administration_does_is_told_to_the_customer(
    acme: Any, shop: Any, bob: Any
) -> None:
    from accounts.models import User
    from properties.models import Grant

    boss = User.objects.create_superuser(f"{fresh('boss')}@example.com", PASSWORD)
    client = signed_in_as(boss)
    membership = acme.memberships.get(user=bob)
    form = {"user": bob.pk, "account": acme.pk, "role": "admin"}
    page = f"/admin/accounts/membership/{membership.pk}/change/"
    assert client.post(page, form).status_code == 302
    grant = Grant.objects.of(acme).filter(membership=membership).first()
    assert grant is not None
    path = f"/admin/properties/grant/{grant.pk}/delete/"
    assert client.post(path, {"post": "yes"}).status_code == 302
    key, _ = new_key(acme, "audience:view")
    chosen = {"action": "revoke", "_selected_action": [key.pk]}
    client.post("/admin/properties/apikey/", chosen)
    found = entries(acme, "admin.changed", "admin.deleted", "api_key.revoked")
    assert [(entry.action, entry.target) for entry in found] == [
        ("admin.changed", f"membership {membership}"),
        ("admin.deleted", f"grant {grant}"),
        ("api_key.revoked", str(key)),
    ]
    assert {entry.actor_id for entry in found} == {boss.pk}
    assert found[0].new == {"what": [{"changed": {"fields": ["Role"]}}]}
