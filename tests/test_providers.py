"""Signing in by a provider: who somebody is there is (provider, subject), and never an address."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from aktivat.providers import apps, origins, providers
from tests.people import fresh, signed_in_as
from tests.provider import Provider, come_back
from tests.test_second_factor import with_app


@pytest.fixture
def provider(settings: Any) -> Iterator[Provider]:
    fake = Provider()
    settings.SIGN_IN_PROVIDERS = [fake.app(), fake.app("other")]
    settings.SOCIALACCOUNT_PROVIDERS = {
        "openid_connect": {"APPS": apps(settings.SIGN_IN_PROVIDERS), "OAUTH_PKCE_ENABLED": True}
    }
    yield fake
    fake.stop()


def claims(**other: Any) -> dict[str, Any]:
    name = fresh("dana")
    return {"sub": name, "email": f"{name}@example.com", "email_verified": True} | other


def user_of(client: Any) -> str | None:
    return client.session.get("_auth_user_id")


def test_signing_up_with_a_confirmed_address_ends_inside(client: Any, provider: Provider) -> None:
    from accounts.models import User

    provider.claims = claims(name="Dana \u202eExample")
    assert "Continue with Fake Provider" in client.get("/user/login/").content.decode()
    assert come_back(client).headers["Location"] == "/"
    user = User.objects.get(email=provider.claims["email"])
    assert user_of(client) == str(user.pk)
    assert user.name == "Dana Example"
    assert not user.has_usable_password()
    assert user.emailaddress_set.get().verified
    assert "code_verifier" in provider.tokens[0]
    client.post("/user/logout/")
    come_back(client)
    assert user_of(client) == str(user.pk)


@pytest.mark.parametrize("said", [False, None, "false", "true", 1])
def test_an_address_that_the_provider_did_not_confirm_is_confirmed_by_mail(
    client: Any, provider: Provider, said: Any, mailoutbox: list[Any]
) -> None:
    provider.claims = claims(email_verified=said)
    if said is None:
        del provider.claims["email_verified"]
    assert come_back(client).headers["Location"] == "/user/confirm-email/"
    assert user_of(client) is None
    link = re.search(r"https?://[^/]+(/\S+)", mailoutbox[-1].body)[1]
    client.post(link)
    assert user_of(client) is not None


@pytest.mark.parametrize("verified", [True, False])
def test_an_address_never_opens_an_existing_user(
    client: Any, provider: Provider, alice: Any, mailoutbox: list[Any], verified: bool
) -> None:
    provider.claims = claims(email=alice.email, email_verified=verified)
    answer = come_back(client)
    assert answer.headers["Location"] == "/user/confirm-email/"  # as for a new one
    assert user_of(client) is None
    assert not alice.socialaccount_set.exists()
    assert mailoutbox[-1].to == [alice.email]
    assert "have an account already" in mailoutbox[-1].subject


def test_a_changed_address_there_changes_nothing_here(
    client: Any, provider: Provider, alice: Any
) -> None:
    provider.claims = claims()
    come_back(client)
    dana = user_of(client)
    client.post("/user/logout/")
    provider.claims |= {"email": alice.email}
    come_back(client)
    assert user_of(client) == dana


def test_the_same_subject_at_another_provider_is_somebody_else(
    client: Any, provider: Provider
) -> None:
    provider.claims = claims()
    come_back(client)
    first = user_of(client)
    client.post("/user/logout/")
    provider.claims |= {"email": f"{fresh('eve')}@example.com"}
    come_back(client, name="other")
    assert user_of(client) not in (None, first)


def test_who_squats_an_address_before_its_owner_comes_gets_nothing(
    client: Any, provider: Provider, mailoutbox: list[Any]
) -> None:
    from tests.people import PASSWORD

    provider.claims = claims()
    squatter = signed_in_as(None)
    squatter.post("/user/signup/", {"email": provider.claims["email"], "password1": PASSWORD})
    come_back(client)
    squatter.post("/user/login/", {"login": provider.claims["email"], "password": PASSWORD})
    assert user_of(squatter) is None


def test_connecting_asks_who_it_is_and_disconnecting_takes_it_away(
    provider: Provider, alice: Any, mailoutbox: list[Any]
) -> None:
    provider.claims = claims()
    stale = signed_in_as(alice, fresh=False)
    answer = stale.post("/user/oidc/fake/login/?process=connect")
    assert answer.headers["Location"].startswith("/user/reauthenticate/")
    client = signed_in_as(alice)
    assert come_back(client, "connect").headers["Location"] == "/user/connections/"
    connected = alice.socialaccount_set.get()
    assert "was connected" in mailoutbox[-1].subject
    page = client.get("/user/connections/").content.decode()
    assert provider.claims["email"] in page or "Fake Provider" in page
    fellow = signed_in_as(None)
    come_back(fellow)
    assert user_of(fellow) == str(alice.pk)
    client.post("/user/connections/", {"account": connected.pk})
    assert not alice.socialaccount_set.exists()


def test_a_connection_of_somebody_else_is_not_taken_over(
    provider: Provider, alice: Any, charlie: Any
) -> None:
    provider.claims = claims()
    come_back(signed_in_as(alice), "connect")
    come_back(signed_in_as(charlie), "connect")
    assert alice.socialaccount_set.count() == 1
    assert not charlie.socialaccount_set.exists()


def test_the_second_factor_is_asked_for_here_too(
    client: Any, provider: Provider, alice: Any
) -> None:
    provider.claims = claims()
    come_back(signed_in_as(alice), "connect")
    with_app(alice)
    assert come_back(client).headers["Location"] == "/user/2fa/authenticate/"
    assert user_of(client) is None


@pytest.mark.parametrize("query", [{"state": "of somebody else"}, {}, {"error": "access_denied"}])
def test_an_answer_that_nobody_asked_for_is_refused(
    client: Any, provider: Provider, query: dict[str, str]
) -> None:
    provider.claims = claims()
    answer = client.get("/user/oidc/fake/login/callback/", {"code": "a code"} | query)
    assert user_of(client) is None
    assert answer.status_code in (200, 401, 403)
    assert "That did not work" in answer.content.decode()


def test_a_provider_that_is_away_is_a_page_and_no_crash(client: Any, provider: Provider) -> None:
    provider.stop()
    answer = client.post("/user/oidc/fake/login/?process=login")
    assert "did not answer" in answer.content.decode()


def test_a_provider_that_is_not_configured_does_not_exist(client: Any) -> None:
    assert client.get("/user/oidc/nothing/login/").status_code == 404
    assert client.get("/user/oidc/nothing/login/callback/").status_code == 404


def test_whoever_has_no_password_confirms_by_signing_in_again(
    client: Any, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    from accounts import fresh as rule
    from accounts.models import User
    from tests.people import new_account

    provider.claims = claims()
    come_back(client)
    account = new_account(User.objects.get(email=provider.claims["email"]))
    path = f"/a/{account.slug}/api-keys/"
    later = rule.time.time() + 3600
    with monkeypatch.context() as patched:
        patched.setattr(rule.time, "time", lambda: later)
        answer = client.post(path, {"name": "x"})
        assert answer.headers["Location"].startswith("/user/sign-in-again/?next=")
        page = client.get(answer.headers["Location"]).content.decode()
        assert "Continue with Fake Provider" in page
        assert "is not kept meanwhile" in page  # signing in again begins another session


# -- the environment ------------------------------------------------------------------------------

ONE = {"id": "sso", "name": "SSO", "server_url": "https://sso.example.com/realm", "client_id": "a"}


def test_the_environment_becomes_apps_and_origins() -> None:
    listed = [ONE | {"secret": "b", "origins": ["https://login.example.com"]}]
    found = providers(json.dumps(listed), "google id", "google secret")
    assert [app["provider_id"] for app in apps(found)] == ["google", "sso"]
    assert set(origins(found)) == {
        "https://accounts.google.com",
        "https://sso.example.com",
        "https://login.example.com",
    }
    assert providers("", "", "") == []


@pytest.mark.parametrize(
    ("oidc", "google", "says"),
    [
        ("{", ("", ""), "no JSON"),
        ("{}", ("", ""), "list of objects"),
        (json.dumps([ONE]), ("", ""), "lacks secret"),
        (json.dumps([ONE | {"secret": "b", "x": 1}]), ("", ""), "has x"),
        (json.dumps([ONE | {"secret": "b", "id": "A B"}]), ("", ""), "lower-case"),
        (json.dumps([ONE | {"secret": "b"}] * 2), ("", ""), "same id"),
        (json.dumps([ONE | {"secret": "b", "id": x} for x in "pq"]), ("", ""), "same client_id"),
        ("", ("id", ""), "both GOOGLE_CLIENT_ID"),
    ],
)
def test_a_mistake_in_it_ends_the_start(oidc: str, google: tuple[str, str], says: str) -> None:
    with pytest.raises(SystemExit, match=says):
        providers(oidc, *google)
