"""The entrance tells nobody who has an account, leads nowhere else, and takes no weak password."""

import re
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.hashers import Argon2PasswordHasher

from tests.people import PASSWORD, fresh, new_link, signed_in_as
from tests.test_request_ids import written
from tests.test_sessions_of_people import browser

__all__ = ["written"]

VARYING = re.compile(r'name="csrfmiddlewaretoken" value="[^"]*"|nonce-[^\']*|nonce="[^"]*"')


def told(answer: Any, email: str) -> tuple[int, str, dict[str, Any]]:
    """Everything that a visitor can see of an answer, without what she typed herself."""
    # The moment, and the order of a policy's rules, change from one answer to the next anyway.
    headers = {name: sorted(re.split("[,;] *", value)) for name, value in answer.items()}
    headers.pop("Expires", None)
    headers.pop("Content-Length", None)
    headers.pop("X-Request-Id")
    cookies = sorted(answer.cookies)
    body = VARYING.sub("", answer.content.decode()).replace(email, "EMAIL")
    return answer.status_code, body, headers | {"cookies": cookies}


def unknown() -> str:
    return f"{fresh('alice')}@example.com"  # as long as a known one


ASKED = [
    ("/user/login/", lambda email: {"login": email, "password": "wrong horse, wrong staple"}),
    ("/user/signup/", lambda email: {"email": email, "password1": PASSWORD}),
    ("/user/password/reset/", lambda email: {"email": email}),
]


@pytest.mark.parametrize(("path", "form"), ASKED, ids=[path for path, _ in ASKED])
@pytest.mark.parametrize("mail_works", [True, False])
def test_known_and_unknown_addresses_get_the_same_answer(
    path: str, form: Any, mail_works: bool, alice: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.core.mail import EmailMessage

    def broken(self: EmailMessage, *args: Any, **kwargs: Any) -> int:
        raise ConnectionRefusedError("no mail server")

    if not mail_works:
        monkeypatch.setattr(EmailMessage, "send", broken)
    answers = []
    for email in (alice.email, unknown()):
        client = signed_in_as(None)
        client.get(path)
        answers.append(told(client.post(path, form(email)), email))
        answers.append(told(client.get("/"), email))
    assert answers[0] == answers[2]
    assert answers[1] == answers[3]
    assert answers[0][0] in (200, 302)


@pytest.mark.parametrize(("path", "form"), ASKED, ids=[path for path, _ in ASKED])
def test_known_and_unknown_addresses_cost_the_same_hashing(
    path: str, form: Any, alice: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hashing is by far the dearest part of an answer; that is what a stop watch would see."""
    hashed: list[str] = []
    for name in ("encode", "verify"):
        real = getattr(Argon2PasswordHasher, name)

        def counted(self: Any, *args: Any, real: Any = real, **kwargs: Any) -> Any:
            hashed.append("")
            return real(self, *args, **kwargs)

        monkeypatch.setattr(Argon2PasswordHasher, name, counted)
    work = []
    for email in (alice.email, unknown()):
        hashed.clear()
        signed_in_as(None).post(path, form(email))
        work.append(len(hashed))
    assert work[0] == work[1]


# -- passwords -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "password",
    [
        "short",
        "ninechars",
        "password123",
        "1234567890",
        "Aktivat2026!",
        "analytics-admin",
        "MyPassword99",
    ],
)
def test_a_password_that_is_easily_guessed_is_refused(client: Any, password: str) -> None:
    page = client.post("/user/signup/", {"email": unknown(), "password1": password})
    assert page.status_code == 200
    assert page.context["form"].errors.keys() == {"password1"}


@pytest.mark.parametrize(
    "password", ["x" * 64 + "y" * 64, "a phrase about aktivat and horses", "ключ от моей квартиры"]
)
def test_a_long_one_is_taken_whatever_it_is_made_of(client: Any, password: str) -> None:
    answer = client.post("/user/signup/", {"email": unknown(), "password1": password})
    assert answer.status_code == 302


# -- where it leads --------------------------------------------------------------------------------

ELSEWHERE = [
    "https://evil.example/",
    "http://evil.example",
    "//evil.example",
    "///evil.example",
    "////evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "\\/evil.example",
    "https:evil.example",
    "https:/evil.example",
    "http:///evil.example",
    "%2f%2fevil.example",
    "/%5cevil.example",
    "/%09/evil.example",
    "\t//evil.example",
    " //evil.example",
    "//evil.example/%2f..",
    "https://testserver@evil.example/",
    "https://testserver.evil.example/",
    "//evil.example\\@testserver",
    "javascript:alert(1)",
    "data:text/html,x",
    "/\x00/evil.example",
    "https://evil。example",
]


@pytest.mark.parametrize("elsewhere", ELSEWHERE)
def test_no_address_leads_elsewhere(elsewhere: str, alice: Any) -> None:
    from urllib.parse import quote

    query = f"?next={quote(elsewhere, safe='%')}"
    inside = signed_in_as(alice)
    nobody = signed_in_as(None)
    answers = [
        nobody.post("/user/login/", right(alice) | {"next": elsewhere}),
        inside.get(f"/user/login/{query}"),
        inside.get(f"/user/signup/{query}"),
        inside.post("/user/reauthenticate/", {"password": PASSWORD, "next": elsewhere}),
        inside.post("/user/logout/", {"next": elsewhere}),
    ]
    for answer in answers:
        assert answer.status_code in (200, 302)
        assert leads_to(answer) == "testserver", answer.headers.get("Location")


def right(user: Any) -> dict[str, str]:
    return {"login": user.email, "password": PASSWORD}


def leads_to(answer: Any) -> str:
    """The host that a browser would go to: it takes \\ for / and drops tabs and line ends."""
    from urllib.parse import urljoin, urlsplit

    location = re.sub(r"[\t\r\n\x00]", "", answer.headers.get("Location", "/")).strip()
    return urlsplit(urljoin("http://testserver/user/", location.replace("\\", "/"))).netloc


def test_the_page_that_was_asked_for_comes_after_signing_in(alice: Any, shop: Any) -> None:
    path = f"/p/{shop.key}/settings/"
    nobody = signed_in_as(None)
    at = nobody.get(path).headers["Location"]
    assert at == f"/user/login/?next={path}"
    assert nobody.post("/user/login/", right(alice) | {"next": path}).headers["Location"] == path


# -- what is written down --------------------------------------------------------------------------


def test_no_secret_stands_in_a_log_line(alice: Any, shop: Any, written: StringIO) -> None:
    import logging

    from accounts.login_links import token_for

    canary = fresh("canary-that-nobody-types")
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.DEBUG)
    try:
        client = signed_in_as(None)
        client.raise_request_exception = False
        client.post("/user/login/", {"login": alice.email, "password": canary})
        client.get("/api/v1/accounts", headers={"authorization": f"Bearer ak_{canary}"})
        token = token_for(alice)
        client.head(f"/login-link/{token}/")
        client.get(f"/login-link/{canary}/")
        client.get(f"/user/password/reset/key/x-{canary}/")
        client.get(f"/no-such-page/{canary}")
        client.get(f"/api/v1/accounts?api_key=ak_{canary}")
        client.get(f"/invitation/{canary}/")
        client.get(f"/share/{canary}/")
        _, shared = new_link(shop, "audience")
        client.get(f"/share/{shared}/now/")  # refused: the link does not show it
        client.post(f"/share/{shared}/unlock/", {"password": canary})
        client.post(f"/share/{shared}/", {"password": canary})
        inside = browser(alice)
        inside.get("/no-such-page/")
        inside.post("/user/reauthenticate/", {"password": canary})
    finally:
        logging.getLogger().setLevel(level)
    assert "/login-link/.../" in written.getvalue()
    for secret in (canary, token, shared, inside.cookies["sessionid"].value, PASSWORD):
        assert secret not in written.getvalue()
