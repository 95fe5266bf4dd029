"""Guessing passwords and codes ends, and locks nobody else out."""

from ipaddress import ip_network
from typing import Any

import pytest
from django.core.cache import cache
from redis.exceptions import ConnectionError as Away

from tests.people import PASSWORD, an_address, new_user
from tests.test_second_factor import code_now, standing_clock, with_app

__all__ = ["standing_clock"]


def from_address(address: str, **headers: str) -> Any:
    from django.test import Client

    return Client(REMOTE_ADDR=address, headers=headers)


def tried(client: Any, email: str, password: str) -> int:
    """200: wrong, 429: too many, 302: in."""
    answer = client.post("/user/login/", {"login": email, "password": password})
    if answer.status_code == 200 and "Too many" in answer.content.decode():
        return 429
    return answer.status_code


def test_fifty_wrong_ones_are_throttled_and_the_right_one_from_elsewhere_comes_in(
    alice: Any,
) -> None:
    guesser = from_address(an_address())
    got = [tried(guesser, alice.email, f"wrong {number}") for number in range(50)]
    assert got[0] == 200
    assert got.count(200) <= 10
    assert set(got[10:]) == {429}
    assert tried(guesser, alice.email, PASSWORD) == 429
    assert tried(from_address(an_address()), alice.email, PASSWORD) == 302


def test_an_address_that_tries_many_names_is_throttled(alice: Any) -> None:
    guesser = from_address(an_address())
    got = [tried(guesser, f"{number}@example.com", "wrong") for number in range(40)]
    assert got[-1] == 429
    assert got.count(200) <= 30


def test_visitors_behind_our_proxy_are_counted_apart(alice: Any, settings: Any) -> None:
    settings.TRUSTED_PROXIES = [ip_network("10.0.0.1/32")]
    guesser = from_address("10.0.0.1", x_forwarded_for=an_address())
    assert [tried(guesser, alice.email, "wrong") for _ in range(20)][-1] == 429
    other = from_address("10.0.0.1", x_forwarded_for=an_address())
    assert tried(other, alice.email, PASSWORD) == 302


def test_a_forged_header_resets_nothing(alice: Any) -> None:
    origin = an_address()
    guessers = [from_address(origin, x_forwarded_for=an_address()) for _ in range(20)]
    assert [tried(client, alice.email, "wrong") for client in guessers][-1] == 429


def test_codes_of_the_second_factor_are_throttled_and_work_once(
    alice: Any, standing_clock: None
) -> None:

    secret = with_app(alice)
    first = from_address(an_address())
    assert tried(first, alice.email, PASSWORD) == 302
    code = code_now(secret)
    assert first.post("/user/2fa/authenticate/", {"code": code}).status_code == 302
    assert first.session["_auth_user_id"] == str(alice.pk)

    replay = from_address(an_address())
    tried(replay, alice.email, PASSWORD)
    assert "_auth_user_id" not in replay.session
    page = replay.post("/user/2fa/authenticate/", {"code": code})
    assert "Incorrect code" in page.content.decode()
    for number in range(10):
        page = replay.post("/user/2fa/authenticate/", {"code": f"{number:06}"})
    assert "Too many" in page.content.decode()
    assert "_auth_user_id" not in replay.session


def code_of_step(secret: str, step: int) -> str:
    """The code that the app shows `step` times thirty seconds from now."""
    import time

    from allauth.mfa.totp.internal import auth

    return auth.format_hotp_value(auth.hotp_value(secret, int(time.time()) // 30 + step))


@pytest.mark.parametrize(("step", "admitted"), [(-3, False), (-1, True), (1, True), (3, False)])
def test_a_clock_may_be_wrong_by_one_step(step: int, admitted: bool, alice: Any) -> None:
    """Three, not two: another step may begin on the way."""
    secret = with_app(alice)
    client = from_address(an_address())
    tried(client, alice.email, PASSWORD)
    client.post("/user/2fa/authenticate/", {"code": code_of_step(secret, step)})
    assert ("_auth_user_id" in client.session) == admitted


def test_a_code_works_once_for_as_long_as_it_is_good(alice: Any, standing_clock: None) -> None:
    """allauth itself forgets after one step that it was used."""
    code = code_now(with_app(alice))
    for admitted in (True, False):
        client = from_address(an_address())
        tried(client, alice.email, PASSWORD)
        client.post("/user/2fa/authenticate/", {"code": code})
        assert ("_auth_user_id" in client.session) == admitted
        cache.delete(f"allauth.mfa.totp.used?user={alice.pk}&code={code}")
    inside = from_address(an_address())
    inside.force_login(alice, backend="django.contrib.auth.backends.ModelBackend")
    page = inside.post("/user/2fa/reauthenticate/", {"code": code})
    assert "Incorrect code" in page.content.decode()


def test_a_guesser_with_many_addresses_locks_nobody_out_and_she_is_told_once(
    alice: Any, mailoutbox: list[Any]
) -> None:
    for _ in range(19):
        tried(from_address(an_address()), alice.email, "wrong")
    assert mailoutbox == []
    for _ in range(3):
        tried(from_address(an_address()), alice.email, "wrong")
    (mail,) = mailoutbox
    assert mail.to == [alice.email]
    assert "guesses at your password" in mail.subject
    assert "20\naddresses or more" in mail.body
    assert tried(from_address(an_address()), alice.email, PASSWORD) == 302


def test_one_address_that_guesses_often_is_no_crowd(alice: Any, mailoutbox: list[Any]) -> None:
    guesser = from_address(an_address())
    for number in range(30):
        tried(guesser, alice.email, f"wrong {number}")
    tried(from_address(an_address()), "nobody-at-all@example.com", "wrong")
    assert mailoutbox == []


def test_while_the_cache_is_away_nobody_comes_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """What counts failures cannot count: no guess is judged at all."""
    user = new_user("alice")
    client = from_address(an_address())
    client.raise_request_exception = False
    client.get("/user/login/")

    def away(*args: Any, **kwargs: Any) -> None:
        raise Away("the cache is away")

    with monkeypatch.context() as patched:
        for name in ("get", "set", "add", "incr"):
            patched.setattr(cache, name, away)
        assert tried(client, user.email, PASSWORD) == 503
        assert tried(client, user.email, "wrong") == 503
    assert tried(client, user.email, PASSWORD) == 302
