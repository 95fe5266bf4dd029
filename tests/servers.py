"""Pytest plugin: a Postgres and two Valkeys of our own for the session, and the tables in them.

In: nothing; whatever servers the machine has are left alone. With pytest-xdist each worker starts
its own, and the process that only hands out tests starts none. Out: the environment that
settings.py reads, set before Django imports it; the migrated database; `web_server`. There is no
truncation: tests make their own accounts and properties, and ask as the web's user.
Loaded by tests/conftest.py.
"""

import os
import shutil
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from aktivat.servers import start_postgres, start_valkey
from aktivat.servers.children import Child, spawn
from aktivat.servers.valkey import free_ports, start_cluster

pytest_plugins = ["tests.outside"]

ROOT = Path(__file__).resolve().parent.parent
GUNICORN = ROOT / "aktivat" / "servers" / "gunicorn.conf.py"
HOME = pytest.StashKey[Path]()
STARTED = pytest.StashKey[list[object]]()
# Who only collects tests runs none, and asks no server.
NOBODY = {
    "DATABASE_URL": "postgresql://web@127.0.0.1:9/nobody",
    "DATABASE_OWNER_URL": "postgresql://owner@127.0.0.1:9/nobody",
    "DATABASE_WORKER_URL": "postgresql://worker@127.0.0.1:9/nobody",
    "REDIS_URL": "redis://127.0.0.1:9",
    "BROKER_URL": "redis://127.0.0.1:9/1",
}


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Before pytest-django sets Django up, which happens in its own pytest_configure."""
    if hands_out_tests(config):
        return
    if "aktivat.settings" in sys.modules:
        raise pytest.UsageError(
            "aktivat.settings was imported before the test servers started. "
            "Set no DJANGO_SETTINGS_MODULE, and import models inside tests and fixtures."
        )
    home = Path(tempfile.mkdtemp(prefix="aktivat-test-"))
    config.stash[HOME] = home
    started = config.stash[STARTED] = []
    urls = NOBODY if config.option.collectonly else start_servers(home, started)
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "aktivat.settings",
        "AKTIVAT_ENV": "test",
        "AKTIVAT_HOME": str(home),
        "AKTIVAT_DEMO": "0",
        "SECRET_KEY": "made-for-the-tests-and-of-no-use-elsewhere-0123456789",
        **urls,
        # All tests are one address.
        "ADDRESS_RATE": "0",
        "KEY_RATE": "0",
        "API_RATE": "0",
        # Playwright's blocking API runs an event loop in the thread that runs the tests.
        "DJANGO_ALLOW_ASYNC_UNSAFE": "1",
    }
    # pytest-django sets Django up later in this phase, but only where settings are loaded.
    from django.conf import settings

    assert urls["REDIS_URL"] == settings.EVENTS_URL


def start_servers(home: Path, started: list[object]) -> dict[str, str]:
    """Out: where they listen, by the names that settings.py reads. `started` knows each of them as
    soon as it runs."""
    postgres = start_postgres(home / "postgres", fast=True)
    started.append(postgres)
    events = start_valkey(home / "events", role="events")
    started.append(events)
    broker = start_valkey(home / "broker", role="broker")
    started.append(broker)
    return {
        "DATABASE_URL": postgres.urls["web"],
        "DATABASE_OWNER_URL": postgres.urls["owner"],
        "DATABASE_WORKER_URL": postgres.urls["worker"],
        "REDIS_URL": events.url,
        "BROKER_URL": broker.url,
    }


def hands_out_tests(config: pytest.Config) -> bool:
    """True in the process that gives tests to workers and runs none itself (`pytest -n`)."""
    return config.getoption("dist", "no") != "no" and not hasattr(config, "workerinput")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker that has said it is finished is killed ten seconds later."""
    if hasattr(session.config, "workerinput"):
        stop_servers(session.config)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Also after Ctrl-C and after a failing start."""
    stop_servers(config)


def stop_servers(config: pytest.Config) -> None:
    started = config.stash.get(STARTED, [])
    while started:
        started.pop().stop()  # type: ignore[attr-defined]
    if HOME in config.stash:
        shutil.rmtree(config.stash[HOME], ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def django_db_setup(django_db_blocker: object) -> Iterator[None]:
    """Migrate as the owner, then let every test ask as the web's user, without a mark.

    Takes the place of pytest-django's fixture, which would make a second, empty database.
    """
    from django.core.management import call_command
    from django.db import connections

    with django_db_blocker.unblock():  # type: ignore[attr-defined]
        call_command("migrate", database="owner", verbosity=0, interactive=False)
        yield
        for connection in connections.all():
            connection.close()
            if pool := getattr(connection, "pool", None):
                pool.close()


@pytest.fixture(scope="session")
def web_server(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the product served as in real life: `http://127.0.0.1:PORT`."""
    with free_ports(1) as ports:
        port = ports[0]
    bind = ("--bind", f"127.0.0.1:{port}")
    log = tmp_path_factory.mktemp("web") / "web.log"
    child = spawn(
        [sys.executable, "-m", "gunicorn", "--config", GUNICORN, "--workers", "1", *bind],
        name="web",
        log=log,
        cwd=ROOT,
    )
    try:
        address = f"http://127.0.0.1:{port}"
        wait_until_it_answers(child, f"{address}/healthz")
        yield address
    finally:
        child.stop()


@pytest.fixture(scope="session")
def cluster_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A REDIS_URL that names a real cluster of three events Valkeys."""
    cluster = start_cluster(tmp_path_factory.mktemp("cluster"))
    yield cluster.urls[0].replace("redis://", "redis+cluster://")
    cluster.stop()


def wait_until_it_answers(child: Child, address: str, seconds: float = 60) -> None:
    """Poll until any HTTP answer comes, or fail with the end of the log."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            if not child.is_running() or time.monotonic() > deadline:
                pytest.fail(f"{child.name} does not answer:\n{child.last_words(30)}")
            time.sleep(0.05)
