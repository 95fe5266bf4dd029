"""A second factor: codes of an app, recovery codes; nothing goes around it."""

import re
import time
from types import SimpleNamespace
from typing import Any

import pytest

from tests.people import PASSWORD, signed_in_as


def with_app(user: Any) -> str:
    """An authenticator app for the user, with recovery codes; the app's secret."""
    from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
    from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret

    secret = generate_totp_secret()
    TOTP.activate(user, secret)
    RecoveryCodes.activate(user)
    return secret


def code_now(secret: str) -> str:
    from allauth.mfa.totp.internal import auth

    return auth.format_hotp_value(auth.hotp_value(secret, int(auth.time.time()) // 30))


@pytest.fixture
def standing_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """No code grows old between making it and sending it."""
    from allauth.mfa.totp.internal import auth

    now = time.time()
    monkeypatch.setattr(auth, "time", SimpleNamespace(time=lambda: now))


def log_in(client: Any, user: Any, password: str = PASSWORD) -> Any:
    return client.post("/user/login/", {"login": user.email, "password": password})


def test_resetting_the_password_still_asks_for_the_code(
    client: Any, alice: Any, mailoutbox: list[Any]
) -> None:
    with_app(alice)
    client.post("/user/password/reset/", {"email": alice.email})
    link = re.search(r"https?://[^/]+(/\S+)", mailoutbox[-1].body)[1]
    form = client.get(link, follow=True)
    new = "another horse, another staple"
    client.post(form.redirect_chain[-1][0], {"password1": new, "password2": new})
    assert "_auth_user_id" not in client.session
    assert log_in(client, alice, new).headers["Location"] == "/user/2fa/authenticate/"
    assert "_auth_user_id" not in client.session


def test_a_login_link_still_asks_for_the_code(
    client: Any, alice: Any, standing_clock: None
) -> None:
    from accounts.login_links import token_for

    secret = with_app(alice)
    answer = client.get(f"/login-link/{token_for(alice)}/")
    assert answer.headers["Location"] == "/user/2fa/authenticate/"
    assert "_auth_user_id" not in client.session
    client.post("/user/2fa/authenticate/", {"code": code_now(secret)})
    assert client.session["_auth_user_id"] == str(alice.pk)


def test_the_administration_asks_for_the_code(client: Any, alice: Any) -> None:
    with_app(alice)
    alice.is_staff = alice.is_superuser = True
    alice.save()
    client.post("/admin/login/", {"username": alice.email, "password": PASSWORD})
    assert client.get("/admin/").status_code == 302
    assert "_auth_user_id" not in client.session


def test_a_recovery_code_works_once(client: Any, alice: Any) -> None:
    from allauth.mfa.models import Authenticator

    with_app(alice)
    codes = Authenticator.objects.get(user=alice, type="recovery_codes").wrap().get_unused_codes()
    for browser, admitted in ((client, True), (signed_in_as(None), False)):
        log_in(browser, alice)
        browser.post("/user/2fa/authenticate/", {"code": codes[0]})
        assert ("_auth_user_id" in browser.session) == admitted


def test_the_database_holds_neither_secret_nor_codes(alice: Any) -> None:
    from allauth.mfa.models import Authenticator

    secret = with_app(alice)
    stored = " ".join(str(row.data) for row in Authenticator.objects.filter(user=alice))
    codes = Authenticator.objects.get(user=alice, type="recovery_codes").wrap()
    assert secret not in stored
    assert not any(code in stored for code in codes.get_unused_codes())
    assert codes.instance.data["seed"] not in codes.get_unused_codes()


def test_a_former_secret_key_still_reads_what_it_wrote(alice: Any, settings: Any) -> None:
    from allauth.mfa.adapter import get_adapter

    written = get_adapter().encrypt("a secret")
    former, settings.SECRET_KEY = settings.SECRET_KEY, "another key that is long enough " * 2
    settings.SECRET_KEY_FALLBACKS = [former]
    assert get_adapter().decrypt(written) == "a secret"
