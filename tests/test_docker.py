"""docker/: checked as far as a machine without an engine allows, on our own real servers."""

import os
import re
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
import yaml

from aktivat import checks, dburl
from aktivat.servers import postgres as embedded
from aktivat.servers import start_postgres, valkey
from tests.servers import ROOT
from tests.test_supervisor import outside_environment

DOCKER = ROOT / "docker"
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "aktivat"}
ENTRYPOINT = DOCKER / "entrypoint.sh"


def test_every_part_of_the_product_has_a_service():
    parts = {"collector", "web", "worker", "beat", "migrate"}
    assert set(OURS) == parts
    assert set(SERVICES) == parts | {"postgres", "events", "broker", "proxy"}


def test_the_image_holds_every_app_of_ours():
    from django.conf import settings

    apps = {name for name in settings.INSTALLED_APPS if (ROOT / name / "__init__.py").exists()}
    copied = re.findall(r"^COPY (\w+) \1$", (DOCKER / "Dockerfile").read_text(), re.MULTILINE)
    assert apps <= set(copied)
    assert {"aktivat", "privacy"} <= apps


def test_every_command_is_one_of_the_entry_point():
    known = re.findall(r"^  ([a-z |]+)\)$", ENTRYPOINT.read_text(), re.MULTILINE)
    commands = {command.strip() for label in known for command in label.split("|")}
    assert {service["command"][0] for service in OURS.values()} <= commands
    assert SERVICES["web"]["healthcheck"]["test"][-1] in commands
    refused = subprocess.run([ENTRYPOINT, "dance"], capture_output=True, text=True)
    assert refused.returncode == 2
    assert set(re.findall(r"[a-z]+", refused.stderr.split("Use ")[1])) - {"or"} == commands


def test_every_variable_is_one_that_the_product_reads():
    sources = "".join(path.read_text() for path in (ROOT / "aktivat").rglob("*.py"))
    read = set(re.findall(r"(?:env\w+|environ\.get)\(\s*\"([A-Z_]+)\"", sources))
    for name, service in OURS.items():
        assert set(service["environment"]) <= read, name


def test_the_example_names_every_variable_of_the_compose_file():
    used = set(re.findall(r"\$\{([A-Z_]+)", (DOCKER / "compose.yaml").read_text()))
    named = re.findall(r"^([A-Z_]+)=", (DOCKER / "env.example").read_text(), re.MULTILINE)
    assert used == set(named)


@pytest.mark.parametrize("role", ["events", "broker"])
def test_a_valkey_has_the_settings_that_the_checks_demand(role):
    program, *words = SERVICES[role]["command"]
    assert program == "valkey-server"
    flags = dict(zip((word.removeprefix("--") for word in words[::2]), words[1::2], strict=True))
    wanted = dict(valkey.SETTINGS[role])
    for name in ("daemonize", "always-show-logo"):  # of no meaning in a container
        del wanted[name]
    if role == "events":
        assert flags["maxmemory"] == "${EVENTS_MAXMEMORY:-2gb}"
        flags["maxmemory"] = wanted["maxmemory"]
        assert all(flags[name] == rule[0] for name, rule in checks.EVENTS_RULES.items())
    assert flags == wanted


def test_only_the_proxy_is_reachable_and_it_divides_as_drawn():
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["proxy"]
    caddy = (DOCKER / "Caddyfile").read_text()
    assert "@collect path /track /track/it /js/*" in caddy
    assert set(re.findall(r"reverse_proxy (\w+):8000", caddy)) == {"collector", "web"}
    for name in ("collector", "web"):
        shared = set(SERVICES["proxy"]["networks"]) & set(SERVICES[name]["networks"])
        assert shared == {"inside"}, "the proxy's address must be one of TRUSTED_PROXIES"
    subnet = COMPOSE["networks"]["inside"]["ipam"]["config"][0]["subnet"]
    assert SERVICES["web"]["environment"]["TRUSTED_PROXIES"] == subnet


def test_the_image_copies_what_exists_and_runs_as_nobody_special():
    text = (DOCKER / "Dockerfile").read_text()
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE)
    for source in (word for line in copied for word in line.split()):
        assert (ROOT / source).exists(), source
    assert text.index("\nUSER aktivat\n") < text.index("\nENTRYPOINT")


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """A server on which docker/postgres/users.sh has run, as in a new volume: its three URLs."""
    server = start_postgres(tmp_path_factory.mktemp("docker"), fast=True)
    parts = dburl.parse(server.urls["superuser"])
    with psycopg.connect(server.urls["superuser"], autocommit=True) as admin:
        admin.execute("CREATE DATABASE shop")
        for user in embedded.USERS.values():
            admin.execute(psycopg.sql.SQL("ALTER DATABASE aktivat OWNER TO postgres"))
            admin.execute(psycopg.sql.SQL("DROP ROLE {}").format(psycopg.sql.Identifier(user)))
    passwords = {f"{role.upper()}_PASSWORD": f"pw '{role}" for role in embedded.USERS}
    programs = f"{embedded.program('psql').parent}:{os.environ['PATH']}"
    subprocess.run(
        [DOCKER / "postgres" / "users.sh"],
        env={"PATH": programs, "PGHOST": parts["host"], "POSTGRES_USER": "postgres"}
        | {"POSTGRES_DB": "shop", **passwords},
        check=True,
    )
    base = dburl.to_url({**parts, "dbname": "shop"})
    yield {
        role: dburl.with_user(base, user, f"pw '{role}") for role, user in embedded.USERS.items()
    }
    server.stop()


def test_migrate_sets_up_an_empty_installation_in_production(database, tmp_path):
    """The one-shot as it is, with the environment of the compose file."""
    environment = outside_environment(
        PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        AKTIVAT_ENV="production",
        AKTIVAT_HOME=str(tmp_path),
        SECRET_KEY="x" * 50,
        ALLOWED_HOSTS="analytics.example.com",
        DATABASE_URL=database["web"],
        DATABASE_OWNER_URL=database["owner"],
        DATABASE_WORKER_URL=database["worker"],
        REDIS_URL=os.environ["REDIS_URL"],
        BROKER_URL=os.environ["BROKER_URL"],
    )
    command = [ENTRYPOINT, "migrate"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    with psycopg.connect(database["web"]) as web:
        assert web.execute("SELECT count(*) > 0 FROM accounts_user").fetchone() == (False,)

    weak = environment | {"SECRET_KEY": "short"}
    refused = subprocess.run(command, cwd=ROOT, env=weak, capture_output=True, text=True)
    assert refused.returncode == 1
    assert "Set SECRET_KEY to 50 random characters" in refused.stderr
