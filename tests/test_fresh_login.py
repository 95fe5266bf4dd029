"""Dangerous acts ask once more who it is: pages by allauth's page, the API by a 403."""

from typing import Any

from tests.people import PASSWORD, confirmed, fresh, new_key, signed_in_as, with_key


def keys_of(account: Any) -> list[str]:
    from properties.models import ApiKey

    return list(ApiKey.objects.of(account).values_list("name", flat=True))


def test_a_key_is_made_after_the_password_and_nothing_has_to_be_typed_twice(
    alice: Any, acme: Any
) -> None:
    client = signed_in_as(alice, fresh=False)
    path, name = f"/a/{acme.slug}/api-keys/", fresh("key")
    answer = client.post(path, {"name": name, "grants": ["audience:view"]})
    assert answer.headers["Location"] == f"/user/reauthenticate/?next={path.replace('/', '%2F')}"
    assert keys_of(acme) == []

    wrong = client.post("/user/reauthenticate/", {"password": "wrong", "next": path})
    assert wrong.status_code == 200
    assert keys_of(acme) == []
    page = client.post("/user/reauthenticate/", {"password": PASSWORD, "next": path})
    assert "Your new key" in page.content.decode()
    assert f'action="{path}"' in page.content.decode()
    assert keys_of(acme) == [name]
    other = fresh("key")
    client.post(path, {"name": other, "grants": ["audience:view"]})
    assert other in keys_of(acme)


def test_looking_is_not_asked(alice: Any, acme: Any, shop: Any) -> None:
    client = signed_in_as(alice, fresh=False)
    for path in (f"/a/{acme.slug}/api-keys/", f"/p/{shop.key}/settings/keys/"):
        assert client.get(path).status_code == 200


def test_a_quarter_of_an_hour_later_it_is_asked_again(
    alice: Any, acme: Any, monkeypatch: Any
) -> None:
    from accounts import fresh as rule

    client = signed_in_as(alice)
    key, _ = new_key(acme, "audience:view")
    then = rule.time.time() + 15 * 60 + 1
    with monkeypatch.context() as patched:
        patched.setattr(rule.time, "time", lambda: then)
        answer = client.post(f"/a/{acme.slug}/api-keys/{key.pk}/revoke/")
    assert answer.headers["Location"].startswith("/user/reauthenticate/")
    key.refresh_from_db()
    assert key.revoked is None


def test_signing_in_counts_and_somebody_elses_confirmation_does_not(
    alice: Any, bob: Any, acme: Any
) -> None:
    path = f"/a/{acme.slug}/api-keys/"
    client = signed_in_as(None)
    client.post("/user/login/", {"login": alice.email, "password": PASSWORD})
    assert client.post(path, {"name": fresh("key")}).status_code == 200  # no grants: form again
    other = signed_in_as(alice, fresh=False)
    confirmed(other, bob)
    assert other.post(path, {"name": fresh("key")}).status_code == 302


def test_a_stranger_and_a_member_without_the_right_are_not_asked(
    charlie: Any, vera: Any, acme: Any, shop: Any
) -> None:
    for path in (f"/a/{acme.slug}/api-keys/", f"/p/{shop.key}/settings/keys/"):
        assert signed_in_as(charlie, fresh=False).post(path).status_code == 404
        assert signed_in_as(vera, fresh=False).post(path).status_code == 403


def test_the_api_refuses_a_stale_browser_and_takes_a_key(alice: Any, acme: Any, shop: Any) -> None:
    path, body = f"/api/v1/properties/{shop.key}/keys", {"days": 1}
    stale = signed_in_as(alice, fresh=False)
    answer = stale.post(path, body, content_type="application/json")
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "fresh_login")
    assert stale.get(path).status_code == 200
    _, secret = new_key(acme, "property:manage")
    assert with_key(secret).post(path, body, content_type="application/json").status_code == 201


def test_the_pages_of_the_second_factor_and_of_addresses_ask_too(alice: Any) -> None:
    client = signed_in_as(alice, fresh=False)
    for path in ("/user/2fa/totp/activate/", "/user/2fa/recovery-codes/generate/"):
        answer = client.get(path)
        assert answer.headers["Location"].startswith("/user/reauthenticate/"), path
    answer = client.post("/user/email/", {"action_add": "", "email": "mallory@example.com"})
    assert answer.headers["Location"].startswith("/user/reauthenticate/")
    assert alice.emailaddress_set.count() == 1


def test_whoever_just_signed_up_is_not_asked_for_the_password_she_just_chose(
    mailoutbox: Any,
) -> None:
    client, email = signed_in_as(None), f"{fresh('nora')}@example.com"
    client.post("/user/signup/", {"email": email, "password1": PASSWORD})
    link = next(word for word in mailoutbox[0].body.split() if "/confirm-email/" in word)
    client.post(link.removeprefix("http://testserver"))
    slug = fresh("acme")
    client.post("/new-account/", {"name": slug, "slug": slug})
    page = client.post(f"/a/{slug}/api-keys/", {"name": "first", "grants": ["audience:view"]})
    assert "Your new key" in page.content.decode()
