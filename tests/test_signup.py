"""From signing up to the first page: the mail, the confirmed address, the first steps, the links
of `create_account`, and a second factor."""

import json
import re
from io import StringIO
from typing import Any

import pytest

from tests.people import PASSWORD, fresh, signed_in_as


def sign_up(client: Any, mailoutbox: list[Any]) -> tuple[str, str]:
    """(address, confirmation link) of somebody new."""
    email = f"{fresh('new')}@example.com"
    answer = client.post("/user/signup/", {"email": email, "password1": PASSWORD})
    assert answer.status_code == 302
    assert answer.headers["Location"] == "/user/confirm-email/"
    return email, re.search(r"https?://[^/]+(/\S+)", mailoutbox[-1].body)[1]


def test_signing_up_ends_on_the_snippet_page(client: Any, mailoutbox: list[Any]) -> None:
    email, link = sign_up(client, mailoutbox)
    assert mailoutbox[-1].to == [email]
    assert client.get("/").headers["Location"].startswith("/user/login/")  # not confirmed yet
    assert "Confirm" in client.get(link).content.decode()
    answer = client.post(link, follow=True)
    assert answer.redirect_chain == [("/", 302), ("/new-account/", 302)]

    slug = fresh("acme")
    answer = client.post("/new-account/", {"name": "Acme", "slug": slug})
    assert answer.headers["Location"] == f"/a/{slug}/new-property/"
    answer = client.post(
        answer.headers["Location"],
        {
            "name": "Shop",
            "hostnames": "https://www.example.com/shop",
            "timezone": "Asia/Kolkata",
            "currency": "inr",
        },
    )
    snippet = client.get(answer.headers["Location"])
    assert "Waiting for the first event" in snippet.content.decode()

    from properties.models import Property

    place = Property.objects.across_accounts().get(account__slug=slug)
    assert (place.hostnames, place.timezone, place.currency) == (
        ["example.com"],
        "Asia/Kolkata",
        "INR",
    )


def test_before_the_address_is_confirmed_the_password_does_not_let_in(
    client: Any, mailoutbox: list[Any]
) -> None:
    email, _ = sign_up(client, mailoutbox)
    answer = client.post("/user/login/", {"login": email, "password": PASSWORD})
    assert answer.headers["Location"] == "/user/confirm-email/"
    assert "_auth_user_id" not in client.session


def test_opening_the_link_alone_confirms_nothing(client: Any, mailoutbox: list[Any]) -> None:
    """Programs that read mail open links."""
    from allauth.account.models import EmailAddress

    email, link = sign_up(client, mailoutbox)
    client.get(link)
    assert not EmailAddress.objects.get(email=email).verified


def test_signing_up_does_not_tell_who_has_an_account(
    client: Any, mailoutbox: list[Any], alice: Any
) -> None:
    known = client.post("/user/signup/", {"email": alice.email, "password1": PASSWORD})
    sign_up(client, mailoutbox)
    assert (known.status_code, known.headers["Location"]) == (302, "/user/confirm-email/")
    for email in (alice.email, f"{fresh('nobody')}@example.com"):
        answer = client.post("/user/password/reset/", {"email": email})
        assert answer.headers["Location"] == "/user/password/reset/done/"


@pytest.mark.parametrize(
    "fault",
    [{"email": "no address"}, {"password1": "short"}, {"password1": "passwordpassword1"}],
    ids=str,
)
def test_what_was_typed_wrong_is_said_where_it_was_typed(
    client: Any, fault: dict[str, str]
) -> None:
    given = {"email": f"{fresh('new')}@example.com", "password1": PASSWORD} | fault
    if fault.get("password1") == "passwordpassword1":
        given["password1"] = given["email"]  # too similar
    page = client.post("/user/signup/", given)
    assert page.status_code == 200
    assert page.context["form"].errors.keys() == fault.keys()
    assert 'aria-invalid="true"' in page.content.decode()


PAGES_FOR_NOBODY = [
    "/user/login/",
    "/user/signup/",
    "/user/inactive/",
    "/user/confirm-email/",
    "/user/confirm-email/nothing/",
    "/user/password/reset/",
    "/user/password/reset/done/",
    "/user/password/reset/key/done/",
    "/user/password/reset/key/x-y/",
]
PAGES_FOR_A_USER = ["/user/logout/", "/user/email/", "/user/password/change/"]


@pytest.mark.parametrize("path", PAGES_FOR_NOBODY)
def test_pages_of_the_entrance_wear_our_look(path: str, client: Any) -> None:
    page = client.get(path)
    assert page.status_code == 200
    assert_our_look(page)


@pytest.mark.parametrize("path", PAGES_FOR_A_USER)
def test_pages_of_a_user_wear_our_look(path: str, alice: Any) -> None:
    page = signed_in_as(alice).get(path)
    assert page.status_code == 200
    assert_our_look(page)


def assert_our_look(page: Any) -> None:
    text = page.content.decode()
    assert 'class="skip"' in text
    assert "css/tokens.css" in text
    assert "<h1>" in text
    policy = page.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert not re.search(r"<script(?![^>]*(src=|application/json))", text), "inline script"
    assert not re.search(r"<style|\sstyle=|\son\w+=", text), "inline style or handler"


def test_a_second_factor_is_set_up_and_asked_for(client: Any, alice: Any) -> None:
    from allauth.mfa.totp.internal import auth

    client.post("/user/login/", {"login": alice.email, "password": PASSWORD})
    assert_our_look(client.get("/user/2fa/"))
    page = client.get("/user/2fa/totp/activate/")
    assert_our_look(page)
    secret = page.context["form"].secret
    counter = next(iter(auth.yield_hotp_counters_from_time()))
    code = auth.format_hotp_value(auth.hotp_value(secret, counter))
    codes = client.post("/user/2fa/totp/activate/", {"code": code}, follow=True)
    assert codes.redirect_chain[-1][0] == "/user/2fa/recovery-codes/"
    assert_our_look(codes)

    client.post("/user/logout/")
    answer = client.post("/user/login/", {"login": alice.email, "password": PASSWORD})
    assert answer.headers["Location"] == "/user/2fa/authenticate/"
    assert_our_look(client.get("/user/2fa/authenticate/"))
    assert client.get("/").headers["Location"].startswith("/user/login/")


# -- links of create_account -----------------------------------------------------------------------


def create_account(slug: str, email: str, *options: str) -> dict[str, str]:
    from django.core.management import call_command

    out = StringIO()
    call_command("create_account", slug, "--owner", email, "--json", *options, stdout=out)
    return json.loads(out.getvalue())


def path_of(link: str) -> str:
    return "/" + link.split("/", 3)[3]


def test_the_link_signs_in_once(client: Any, settings: Any) -> None:
    settings.PUBLIC_URL = "https://stats.example.com"
    slug = fresh("acme")
    made = create_account(slug, f"{fresh('Owner')}@Example.com")
    assert made["account"] == slug
    assert made["login_link"].startswith("https://stats.example.com/login-link/")
    link = path_of(made["login_link"])
    assert client.head(link).status_code == 405  # a preview must not spend it
    answer = client.get(link, follow=True)
    assert answer.redirect_chain == [("/", 302), (f"/a/{slug}/", 302)]
    again = signed_in_as(None).get(link)
    assert again.status_code == 410
    assert "does not work any more" in again.content.decode()


def test_the_link_ends_after_a_day(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    link = path_of(create_account(fresh("acme"), f"{fresh('owner')}@example.com")["login_link"])
    later = time.time() + 24 * 60 * 60 + 5
    with monkeypatch.context() as patched:
        patched.setattr(time, "time", lambda: later)
        assert client.get(link).status_code == 410
    assert client.get(link).status_code == 302


def test_the_link_ends_when_its_user_signs_in_otherwise(client: Any, alice: Any) -> None:
    link = path_of(create_account(fresh("acme"), alice.email)["login_link"])
    client.post("/user/login/", {"login": alice.email, "password": PASSWORD})
    assert signed_in_as(None).get(link).status_code == 410


def test_a_forged_or_foreign_token_is_none(client: Any, alice: Any) -> None:
    from django.core import signing

    for token in ("x", signing.dumps([alice.pk, ""], salt="accounts.login-link"), "a:b:c"):
        assert client.get(f"/login-link/{token}/").status_code == 410


def test_creating_an_account_again_keeps_it_and_gives_a_new_link(client: Any) -> None:
    from accounts.models import Account

    slug, email = fresh("acme"), f"{fresh('owner')}@example.com"
    first = create_account(slug, email)
    assert client.get(path_of(first["login_link"])).status_code == 302
    second = create_account(slug, email)
    assert second["login_link"] != first["login_link"]
    assert signed_in_as(None).get(path_of(second["login_link"])).status_code == 302
    members = Account.objects.get(slug=slug).memberships
    assert list(members.values_list("user__email", "role")) == [(email.lower(), "owner")]


def test_the_user_of_a_link_needs_no_confirmation_and_no_password(client: Any) -> None:
    from accounts.models import User

    email = f"{fresh('owner')}@example.com"
    create_account(fresh("acme"), email)
    user = User.objects.get(email=email)
    assert not user.has_usable_password()
    assert user.emailaddress_set.get().verified


def test_who_signed_up_with_somebody_elses_address_gets_nothing_by_the_command(
    client: Any, mailoutbox: list[Any]
) -> None:
    email, _ = sign_up(client, mailoutbox)  # never confirmed
    create_account(fresh("acme"), email)
    stranger = signed_in_as(None)
    stranger.post("/user/login/", {"login": email, "password": PASSWORD})
    assert "_auth_user_id" not in stranger.session


def test_the_command_leaves_the_password_of_a_confirmed_user(client: Any, alice: Any) -> None:
    create_account(fresh("acme"), alice.email)
    client.post("/user/login/", {"login": alice.email, "password": PASSWORD})
    assert client.session["_auth_user_id"] == str(alice.pk)


@pytest.mark.parametrize(
    ("slug", "email", "says"),
    [
        ("Not A Slug", "a@example.com", "lower-case letters"),
        ("all", "a@example.com", "used by Aktivat"),
        ("x-", "a@example.com", "begin and end"),
        ("fine", "nobody", "no e-mail address"),
    ],
)
def test_a_wrong_argument_says_what_to_write(slug: str, email: str, says: str) -> None:
    from django.core.management import CommandError

    with pytest.raises(CommandError, match=says):
        create_account(slug, email)
