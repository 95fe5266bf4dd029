"""Pytest plugin: what the product does slowly on purpose, or once a start, costs tests little.

The middleware of Django's test client is made once, and not for every client: WhiteNoise looks at
every static file when it is made, which takes longer than most requests. It is made anew when a
test has changed a setting. Passwords are hashed by the same Argon2, with little memory, and the
same password is held against the same hash once. What was imported lives until the end, so the
garbage collector neither looks at it meanwhile nor goes through it again and again; and it looks at
what is new after as many objects as a request or two make, not after 700.
Loaded by tests/conftest.py.
"""

import gc
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import pytest

MADE = ("_view_middleware", "_template_response_middleware", "_exception_middleware")
MADE += ("_middleware_chain",)


@pytest.hookimpl(tryfirst=True)
def pytest_configure() -> None:
    gc.disable()


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def one_middleware() -> Iterator[None]:
    from django.core.signals import setting_changed
    from django.test.client import ClientHandler

    made: dict[str, Any] = {}
    load = ClientHandler.load_middleware

    def load_once(handler: ClientHandler, is_async: bool = False) -> None:
        if not made:
            load(handler, is_async)
            made.update({name: getattr(handler, name) for name in MADE})
        vars(handler).update(made)

    def forget(**_: Any) -> None:
        made.clear()

    setting_changed.connect(forget)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ClientHandler, "load_middleware", load_once)
        yield
    setting_changed.disconnect(forget)


@pytest.fixture(scope="session", autouse=True)
def quick_hashes() -> Iterator[None]:
    """Only in this process: the servers that tests start hash as the product does, and would make
    the hash of a user anew, which ends her sessions. So the hash that users of tests have is made
    as the product makes it, once; and whether a password fits it, which is 0.3 s of a processor, is
    found out once for each password."""
    from django.contrib.auth.hashers import Argon2PasswordHasher

    from tests.people import hashed_password

    hashed_password()
    verify = Argon2PasswordHasher.verify

    @lru_cache(maxsize=10_000)
    def fits(password: str, encoded: str) -> bool:
        return bool(verify(Argon2PasswordHasher(), password, encoded))

    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("time_cost", 1), ("memory_cost", 64), ("parallelism", 1)):
            patch.setattr(Argon2PasswordHasher, name, value)
        patch.setattr(Argon2PasswordHasher, "must_update", lambda *_: False)
        patch.setattr(
            Argon2PasswordHasher, "verify", lambda _, password, encoded: fits(password, encoded)
        )
        yield
