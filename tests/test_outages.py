"""Postgres goes away and comes back: pages say 503 meanwhile, and nobody has to be restarted."""

import os

import psycopg
import pytest
import redis

from tests.people import new_account, new_key, new_property, new_user
from tests.test_collector import Got, fetch


def end_sessions(variable: str) -> int:
    """End every session of that URL's user but our own, as a restart of Postgres does."""
    with psycopg.connect(os.environ[variable]) as to:
        ended = to.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE usename = current_user AND pid <> pg_backend_pid()"
        ).fetchone()
    assert ended
    return ended[0]


def test_no_page_pays_for_a_restart_of_postgres(web_server: str) -> None:
    from django.db import connections

    place = new_property(new_account(new_user("owner")))
    _, secret = new_key(place.account, "audience:view")
    headers = {"authorization": f"Bearer {secret}", "content_type": "application/json"}
    url, body = f"{web_server}/api/v1/properties/{place.key}/query", b'{"metrics": ["visitors"]}'

    def ask() -> Got:
        return fetch(url, "POST", body, **headers)

    assert ask().status == 200
    connections["default"].close()  # ours goes back to the pool
    assert end_sessions("DATABASE_URL") > 0
    assert [ask().status for _ in range(4)] == [200] * 4
    assert new_user("after").pk, "the tests' own pool noticed, too"


def test_nobody_waits_while_a_full_pool_notices_a_restart_of_postgres() -> None:
    """Every connection at rest is dead, not only the one that is asked for: between two that it
    finds dead, the pool pauses."""
    from django.conf import settings
    from django.db import connections

    connections["default"].close()
    # A new pool: a thread that an earlier test left may have a connection of the old one.
    connections["default"].close_pool()  # type: ignore[attr-defined]
    pool = connections["default"].pool  # type: ignore[attr-defined]
    pool.open()
    most = settings.DATABASES["default"]["OPTIONS"]["pool"]["max_size"]
    for one in [pool.getconn() for _ in range(most)]:
        pool.putconn(one)
    assert end_sessions("DATABASE_URL") >= most
    before = pool.get_stats().get("connections_lost", 0)
    assert new_user("after").pk
    assert pool.get_stats()["connections_lost"] - before == 1, "the first takes the others along"


def test_no_tick_inherits_a_connection_that_postgres_has_ended() -> None:
    import aktivat.celery  # noqa: F401  the application with its signals
    from tracking.tasks import drain

    def tick() -> str:
        return drain.apply().state

    assert tick() == "SUCCESS"
    assert end_sessions("DATABASE_WORKER_URL") > 0
    assert [tick(), tick()] == ["SUCCESS"] * 2


def test_a_pool_tries_again_soon_after_postgres_is_back() -> None:
    """psycopg's default: a pause that doubles for five minutes."""
    from django.db import connections

    pool = connections["default"].pool  # type: ignore[attr-defined]
    assert pool.reconnect_timeout <= 5
    assert pool.kwargs["connect_timeout"] <= 5


@pytest.mark.parametrize(
    "error",
    [
        pytest.param("database", id="database"),
        pytest.param(redis.exceptions.ConnectionError("what it said"), id="valkey"),
        pytest.param(redis.exceptions.TimeoutError("what it said"), id="slow valkey"),
    ],
)
def test_a_server_that_is_away_is_503_and_no_bug(rf, error) -> None:
    from django.db import OperationalError

    from aktivat.errors import server_error

    for path, kind in (("/p/AK-X/", b"<h1>"), ("/api/v1/accounts", b'"unavailable"')):
        try:
            raise OperationalError("what it said") if error == "database" else error
        except Exception:
            answer = server_error(rf.get(path))
        assert answer.status_code == 503
        assert answer["Retry-After"]
        assert kind in answer.content
        assert b"what it said" not in answer.content
