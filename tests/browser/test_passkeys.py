"""A passkey in a real browser, with an authenticator that Chromium plays: added, asked for after
the password, enough without one, and good for confirming a dangerous act."""

from typing import Any

from playwright.sync_api import Page, expect

from tests.people import PASSWORD

from .conftest import note

ROOMY = 15_000  # milliseconds; the machine may be busy


def plug_in(page: Page) -> Any:
    """An authenticator inside the device, whose owner always agrees."""
    devices = page.context.new_cdp_session(page)
    devices.send("WebAuthn.enable")
    options = {"protocol": "ctap2", "transport": "internal", "automaticPresenceSimulation": True}
    options |= {"hasResidentKey": True, "hasUserVerification": True, "isUserVerified": True}
    devices.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    return devices


def sign_out(page: Page, origin: str) -> None:
    page.goto(f"{origin}/user/logout/")
    page.get_by_role("main").get_by_role("button", name="Sign out").click()
    page.goto(f"{origin}/user/profile/")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def sign_in(page: Page, user: Any) -> None:
    page.get_by_label("Email").fill(user.email)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()


def a_while_ago(page: Page) -> None:
    """What the browser's person proved is too long ago."""
    from django.contrib.sessions.backends.cached_db import SessionStore

    (cookie,) = [one for one in page.context.cookies() if one["name"] == "sessionid"]
    session = SessionStore(cookie["value"])
    for record in session["account_authentication_methods"]:
        record["at"] -= 3600
    session.modified = True
    session.save()


def test_a_passkey_from_adding_it_to_confirming_with_it(
    page: Page, web_server: str, alice: Any, acme: Any
) -> None:
    from allauth.mfa.models import Authenticator

    complaints: list[str] = []
    page.on("console", lambda message: note(message, complaints))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.set_default_timeout(ROOMY)
    origin = web_server.replace("127.0.0.1", "localhost")  # keys belong to names
    plug_in(page)
    page.goto(f"{origin}/user/login/?next=/user/2fa/webauthn/add/")
    sign_in(page, alice)
    page.get_by_label("Name").fill("This device")
    page.get_by_label("Also sign in with it, without a password").check()
    page.get_by_role("button", name="Add the key").click()
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()
    kept = Authenticator.objects.get(user=alice, type="webauthn").wrap()
    assert (kept.instance.data["name"], kept.is_passwordless) == ("This device", True)

    sign_out(page, origin)
    sign_in(page, alice)
    expect(page.get_by_role("heading", name="Second step")).to_be_visible()
    page.get_by_role("button", name="Use a security key or passkey").click()
    expect(page.get_by_role("heading", name="Profile")).to_be_visible()

    sign_out(page, origin)
    page.get_by_role("button", name="passkey").click()
    expect(page.get_by_role("heading", name="Profile")).to_be_visible()

    a_while_ago(page)
    page.goto(f"{origin}/user/2fa/recovery-codes/generate/")
    expect(page.get_by_role("heading", name="Confirm that it is you")).to_be_visible()
    page.get_by_role("link", name="Use a security key").click()
    page.get_by_role("button", name="Use a security key or passkey").click()
    expect(page.get_by_role("button", name="Make new ones")).to_be_visible()
    assert complaints == []


def test_a_key_of_nobody_does_not_let_in(page: Page, web_server: str, alice: Any) -> None:
    """The browser holds one that the product does not know (any more)."""
    page.set_default_timeout(ROOMY)
    origin = web_server.replace("127.0.0.1", "localhost")
    plug_in(page)
    page.goto(f"{origin}/user/login/?next=/user/2fa/webauthn/add/")
    sign_in(page, alice)
    page.get_by_label("Name").fill("Lost")
    page.get_by_label("Also sign in with it, without a password").check()
    page.get_by_role("button", name="Add the key").click()
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()
    sign_out(page, origin)
    alice.authenticator_set.all().delete()
    page.get_by_role("button", name="passkey").click()
    expect(page.locator("main")).to_contain_text("Incorrect")
    page.goto(f"{origin}/user/profile/")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
