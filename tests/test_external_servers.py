"""The same code on servers of your own: DATABASE_URL, REDIS_URL and BROKER_URL given."""

import json
import signal
import subprocess
import sys

import psycopg
import pytest

from aktivat import dburl
from aktivat.servers import roles, start_postgres, start_valkey
from aktivat.servers.children import ServerError
from aktivat.servers.secrets import Secrets
from aktivat.servers.valkey import free_ports
from tests.servers import ROOT
from tests.test_servers import is_gone
from tests.test_supervisor import outside_environment, runs  # noqa: F401  a fixture


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    """Somebody else's PostgreSQL: nothing of it is ours but the URL."""
    server = start_postgres(tmp_path_factory.mktemp("external"), fast=True)
    yield server
    server.stop()


@pytest.fixture
def given(postgres, request):
    """URLs of a new database with an owner: one who may create users, and one who may not."""
    name = f"shop{abs(hash(request.node.nodeid)) % 10**9}"
    with psycopg.connect(postgres.urls["superuser"], autocommit=True) as admin:
        for user, right in ((f"{name}_able", "CREATEROLE"), (f"{name}_plain", "NOCREATEROLE")):
            admin.execute(f"CREATE ROLE {user} LOGIN {right} PASSWORD 'pw'")
        admin.execute(f"CREATE DATABASE {name} OWNER {name}_able")
    base = dburl.to_url({**dburl.parse(postgres.urls["superuser"]), "dbname": name})
    return {
        "name": name,
        "able": dburl.with_user(base, f"{name}_able", "pw"),
        "plain": dburl.with_user(base, f"{name}_plain", "pw"),
    }


def test_one_url_that_may_create_users_is_enough(given, tmp_path):
    secrets = Secrets(tmp_path / "secrets.json")
    urls = roles.complete({"DATABASE_URL": given["able"]}, secrets)
    assert urls["DATABASE_OWNER_URL"] == given["able"]
    for variable, role in (("DATABASE_URL", "web"), ("DATABASE_WORKER_URL", "worker")):
        with psycopg.connect(urls[variable]) as session:
            question = (
                "SELECT rolname, rolsuper, rolbypassrls, rolcreaterole FROM pg_roles"
                " WHERE rolname = current_user"
            )
            found = session.execute(question).fetchone()
        assert found == (f"{given['name']}_{role}", False, False, False)
    again = roles.complete({"DATABASE_URL": given["able"]}, Secrets(tmp_path / "secrets.json"))
    assert again == urls
    assert roles.complete(urls, secrets) == urls, "three given URLs are taken as they are"


def test_a_url_that_may_not_create_users_gets_the_sql_to_run(given, tmp_path):
    with pytest.raises(ServerError) as refusal:
        roles.complete({"DATABASE_URL": given["plain"]}, Secrets(tmp_path / "secrets.json"))
    for line in (
        f"CREATE ROLE \"{given['name']}_web\" LOGIN PASSWORD 'choose-one';",
        f"CREATE ROLE \"{given['name']}_worker\" LOGIN PASSWORD 'choose-one';",
        "Then set DATABASE_OWNER_URL",
    ):
        assert line in str(refusal.value)


def test_prepare_database_prints_the_variables(given, tmp_path):
    done = subprocess.run(
        [sys.executable, "manage.py", "prepare_database", "--json"],
        cwd=ROOT,
        env=outside_environment(AKTIVAT_HOME=str(tmp_path), DATABASE_URL=given["able"]),
        capture_output=True,
        text=True,
    )
    urls = json.loads(done.stdout)
    assert set(urls) == set(roles.VARIABLES.values())
    psycopg.connect(urls["DATABASE_WORKER_URL"]).close()


def test_nothing_is_embedded_when_everything_is_given(given, tmp_path, runs):  # noqa: F811
    with free_ports(2) as ports:
        events_port, broker_port = ports
    events = start_valkey(tmp_path / "events", role="events", port=events_port)
    broker = start_valkey(tmp_path / "broker", role="broker", port=broker_port)
    given_all = {"REDIS_URL": events.url, "BROKER_URL": broker.url, "WEB_WORKERS": "1"}
    run = runs(DATABASE_URL=given["able"], **given_all)
    try:
        run.ready()
        assert run.answers()
        programs = run.programs()
        assert programs
        assert not [one for one in programs if "postgres" in one or "valkey" in one]
        with psycopg.connect(given["able"]) as owner:
            tables = "SELECT count(*) FROM pg_tables WHERE tablename = 'django_migrations'"
            assert owner.execute(tables).fetchone() == (1,)
        family = run.end(signal.SIGTERM)
        assert run.process.returncode == 0
        assert all(is_gone(process) for process in family)
        assert events.is_running() and broker.is_running(), "given servers are not ours to stop"
    finally:
        broker.stop()
        events.stop()


def test_events_that_may_be_evicted_stop_the_start(given, tmp_path, runs):  # noqa: F811
    with free_ports(2) as ports:
        events_port, broker_port = ports
    forgetful = {"maxmemory-policy": "allkeys-lru"}
    events = start_valkey(tmp_path / "events", role="events", port=events_port, extra=forgetful)
    broker = start_valkey(tmp_path / "broker", role="broker", port=broker_port)
    try:
        run = runs(DATABASE_URL=given["able"], REDIS_URL=events.url, BROKER_URL=broker.url)
        assert run.process.wait(60) == 1
        assert "Set `maxmemory-policy noeviction`" in run.text()
        with psycopg.connect(given["able"]) as owner:
            tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
            assert owner.execute(tables).fetchone() == (0,), "the database was touched before"
    finally:
        broker.stop()
        events.stop()
