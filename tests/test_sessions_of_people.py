"""How a sign-in begins, lasts and ends, and the pages of one's own user."""

import time
from typing import Any

import pytest

from tests.people import PASSWORD, an_address, new_account, new_user, signed_in_as
from tests.test_second_factor import code_now, standing_clock, with_app

__all__ = ["standing_clock"]


def browser(user: Any, agent: str = "", **extra: str) -> Any:
    """One that signed in by the form."""
    from django.test import Client

    extra = {"REMOTE_ADDR": an_address(), **extra}
    client = Client(headers={"user-agent": agent}, **extra)
    answer = client.post("/user/login/", {"login": user.email, "password": PASSWORD})
    assert answer.status_code == 302
    return client


def is_in(client: Any) -> bool:
    return client.get("/user/profile/").status_code == 200


FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


# -- the id of a session ----------------------------------------------------------------------


def test_signing_in_and_the_second_factor_change_the_id(alice: Any, standing_clock: None) -> None:
    from django.test import Client

    secret = with_app(alice)
    client = Client()
    client.post("/user/signup/", {"email": "no address"})
    client.get("/user/login/")
    session = client.session  # an attacker's, planted before
    session["planted"] = True
    session.save()
    client.cookies["sessionid"] = planted = session.session_key
    client.post("/user/login/", {"login": alice.email, "password": PASSWORD})
    assert "_auth_user_id" not in client.session
    client.post("/user/2fa/authenticate/", {"code": code_now(secret)})
    assert client.session.session_key != planted
    attacker = Client()
    attacker.cookies["sessionid"] = planted
    assert not is_in(attacker)
    assert is_in(client)


def test_signing_out_ends_it_on_the_server(alice: Any) -> None:
    from django.test import Client

    client = browser(alice)
    kept = client.cookies["sessionid"].value
    client.post("/user/logout/")
    copy = Client()
    copy.cookies["sessionid"] = kept
    assert not is_in(copy)


# -- its end ----------------------------------------------------------------------------------


def test_a_session_ends_after_its_hours_however_much_it_is_used(
    alice: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from accounts import sessions

    client = browser(alice)
    begun = time.time()
    for hours, inside in ((1, True), (settings.SESSION_HOURS - 1, True), (0, False)):
        then = begun + (hours or settings.SESSION_HOURS + 1) * 3600
        with monkeypatch.context() as patched:
            patched.setattr(sessions.time, "time", lambda then=then: then)
            assert is_in(client) == inside
    assert not is_in(client)


def test_use_moves_the_end_of_an_idle_session(
    alice: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datetime import timedelta

    from django.contrib.sessions.models import Session

    client = browser(alice)
    key = client.session.session_key
    Session.objects.filter(pk=key).update(expire_date=now_plus(timedelta(hours=1)))
    client.get("/user/profile/")
    assert Session.objects.get(pk=key).expire_date < now_plus(timedelta(hours=2))
    session = client.session
    session["seen"] -= 61
    session.save()
    answer = client.get("/user/profile/")
    assert Session.objects.get(pk=key).expire_date > now_plus(timedelta(days=6))
    assert answer.cookies["sessionid"]["max-age"] == settings.SESSION_COOKIE_AGE


def now_plus(later: Any) -> Any:
    from django.utils import timezone

    return timezone.now() + later


def test_a_new_password_ends_every_other_session(alice: Any, mailoutbox: list[Any]) -> None:
    here, there = browser(alice), browser(alice)
    new = "a new horse, a new battery"
    form = {"oldpassword": PASSWORD, "password1": new, "password2": new}
    here.post("/user/password/change/", form)
    assert is_in(here)
    assert not is_in(there)
    assert mailoutbox[-1].subject == "[Aktivat] Your password was changed"
    assert alice.email in mailoutbox[-1].to


def test_a_reset_password_ends_all_sessions(alice: Any, mailoutbox: list[Any]) -> None:
    import re

    there = browser(alice)
    nobody = signed_in_as(None)
    nobody.post("/user/password/reset/", {"email": alice.email})
    link = re.search(r"https?://[^/]+(/\S+)", mailoutbox[-1].body)[1]
    form = nobody.get(link, follow=True).redirect_chain[-1][0]
    new = "a new horse, a new battery"
    nobody.post(form, {"password1": new, "password2": new})
    assert not is_in(there)
    again = signed_in_as(None).get(link, follow=True)
    assert "does not work any more" in again.content.decode()


def test_a_user_who_is_switched_off_is_out_at_once(alice: Any) -> None:
    client = browser(alice)
    type(alice).objects.filter(pk=alice.pk).update(is_active=False)
    assert not is_in(client)
    again = signed_in_as(None)
    again.post("/user/login/", {"login": alice.email, "password": PASSWORD})
    assert "_auth_user_id" not in again.session


# -- the page of sessions -----------------------------------------------------------------------


def test_the_page_shows_every_browser_and_ends_one_or_all_others(alice: Any) -> None:
    here = browser(alice, "curl/8.0")
    there, elsewhere = browser(alice, FIREFOX, REMOTE_ADDR="192.0.2.9"), browser(alice)
    page = here.get("/user/sessions/").content.decode()
    assert "Firefox on Linux" in page
    assert "192.0.2.9" in page
    assert page.count("This browser") == 1
    assert page.index("This browser") < page.index("Firefox on Linux")
    row = session_of(there)
    assert here.post(f"/user/sessions/{row.pk}/end/").status_code == 302
    assert not is_in(there)
    assert is_in(elsewhere)
    here.post("/user/sessions/end-others/")
    assert not is_in(elsewhere)
    assert is_in(here)


def session_of(client: Any) -> Any:
    from allauth.usersessions.models import UserSession

    return UserSession.objects.get(session_key=client.session.session_key)


def test_nobody_ends_somebody_elses_session(alice: Any, charlie: Any) -> None:
    client = browser(alice)
    stranger = signed_in_as(charlie)
    pk = session_of(client).pk
    theirs, nothing = (stranger.post(f"/user/sessions/{number}/end/") for number in (pk, 10**9))
    assert theirs.status_code == nothing.status_code == 404
    assert theirs.content == nothing.content
    assert stranger.get(f"/user/sessions/{pk}/end/").status_code == 405
    assert is_in(client)


def test_where_a_session_is_used_is_noted_once_a_minute(
    alice: Any, django_assert_num_queries: Any
) -> None:
    client = browser(alice)
    before = session_of(client)
    client.get("/user/profile/", REMOTE_ADDR="192.0.2.50")
    assert session_of(client).ip == before.ip
    session = client.session
    session["seen"] -= 61
    session.save()
    client.get("/user/profile/", REMOTE_ADDR="192.0.2.50")
    assert session_of(client).ip == "192.0.2.50"


@pytest.mark.parametrize(
    ("agent", "name"),
    [("", "Unknown device"), (FIREFOX, "Firefox on Linux"), ("<b>x</b>" * 500, "Unknown device")],
)
def test_a_browser_is_named_as_people_call_it(agent: str, name: str) -> None:
    from accounts.sessions import device_of

    assert device_of(agent).replace("Other on Other", "Unknown device") == name


# -- the pages of one's own user ------------------------------------------------------------------


def test_the_profile_takes_a_name_and_lists_accounts(alice: Any, acme: Any) -> None:
    client = signed_in_as(alice)
    assert acme.name in client.get("/user/profile/").content.decode()
    assert (
        client.post("/user/profile/", {"name": "  Alice\u202e\u200b Example "}).status_code == 302
    )
    alice.refresh_from_db()
    assert alice.name == "Alice Example"
    other = signed_in_as(new_user("solo")).get("/user/profile/").content.decode()
    assert "You belong to no account yet" in other


def test_every_page_leads_to_the_others(alice: Any) -> None:
    client = signed_in_as(alice)
    for path, label in (
        ("/user/profile/", "Profile"),
        ("/user/email/", "Email"),
        ("/user/password/change/", "Password"),
        ("/user/2fa/", "Two-step"),
        ("/user/sessions/", "Sessions"),
    ):
        page = client.get(path).content.decode()
        nav = page[page.index('aria-label="Your account"') :]
        assert f'<a href="{path}" aria-current="page">{label}</a>' in nav
        assert "Connections" not in nav  # no provider is configured


def test_a_user_of_two_accounts_switches_between_them(alice: Any, acme: Any) -> None:
    other = new_account(alice, "initech")
    page = signed_in_as(alice).get(f"/a/{acme.slug}/").content.decode()
    assert f'href="/a/{other.slug}/"' in page
