"""Refuse to start on servers or settings that could lose, leak or forget something.

In: settings and the servers they name. Out: Django check messages `aktivat.E0xx`, each saying
what to change and where. The checks of the tag `servers` ask the servers: `migrate` runs them
before it touches the database, and so before the web starts (the supervisor), and so does
`manage.py check --tag servers` (docker/). The production checks run with every command.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
import redis
from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.db import connections
from django.db.utils import OperationalError
from redis.backoff import NoBackoff
from redis.retry import Retry

OLDEST_POSTGRES = 140000  # as Postgres counts: 14
SHORTEST_SECRET = 32  # characters
SECONDS = 3.0  # to connect to a server, and for each of its answers
EVENTS_FILE = "valkey.conf of the server in REDIS_URL"

# Setting -> the value it must have, why, and the id of the message.
EVENTS_RULES = {
    "maxmemory-policy": ("noeviction", "it would drop events to make room", "aktivat.E001"),
    "appendonly": ("yes", "a restart would forget accepted events", "aktivat.E003"),
    "appendfsync": ("always", "a 202 must mean that the event is on disk", "aktivat.E004"),
}


# --- servers ---------------------------------------------------------------------------------


@register("servers")
def check_events_valkey(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """Every master behind REDIS_URL keeps what it has accepted."""
    try:
        with Masters(settings.EVENTS_URL) as masters:
            return [fault for master in masters for fault in faults_of_events(master)]
    except redis.RedisError as error:
        return [unreachable("REDIS_URL", error)]


@register("servers")
def check_broker(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """The broker answers, is no cluster, and is another instance than events."""
    try:
        with Masters(settings.BROKER_URL) as brokers:
            found = list(brokers)
            if brokers.is_cluster:
                return [BROKER_IS_CLUSTER]
            broker_ids = {run_id(broker) for broker in found}
        with Masters(settings.EVENTS_URL) as masters:
            shared = broker_ids & {run_id(master) for master in masters}
    except redis.RedisError as error:
        return [unreachable("BROKER_URL (or REDIS_URL)", error)]
    return [SAME_INSTANCE] if shared else []


@register("servers")
def check_postgres(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Postgres is new enough, and row-level security binds the web's user."""
    try:
        with connections["default"].cursor() as cursor:
            version = int(cursor.connection.info.server_version)
            cursor.execute(
                "SELECT rolname, rolsuper, rolbypassrls,"
                " pg_has_role(oid, (SELECT datdba FROM pg_database"
                " WHERE datname = current_database()), 'MEMBER')"
                " FROM pg_roles WHERE rolname = current_user"
            )
            user, is_super, bypasses, owns = cursor.fetchone()
    except (OperationalError, psycopg.Error) as error:
        return [unreachable("DATABASE_URL", error)]
    return [*faults_of_postgres(version), *faults_of_web_user(user, is_super, bypasses, owns)]


class Masters:
    """The masters behind a URL: the server itself, or those of its cluster."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_cluster = False
        self._clients: list[redis.Redis] = []

    def __enter__(self) -> "Masters":
        first = self._add(redis.Redis.from_url(self.url, **patience()))
        self.is_cluster = bool(first.info("cluster").get("cluster_enabled"))
        if self.is_cluster:
            options = first.connection_pool.connection_kwargs
            login = {key: options[key] for key in ("username", "password") if options.get(key)}
            with redis.RedisCluster.from_url(self.url, **patience()) as cluster:
                for node in cluster.get_primaries():
                    self._add(redis.Redis(host=node.host, port=node.port, **login, **patience()))
            self._clients.pop(0).close()
        return self

    def __iter__(self) -> Iterator[redis.Redis]:
        return iter(self._clients)

    def __exit__(self, *args: object) -> None:
        for client in self._clients:
            client.close()

    def _add(self, client: redis.Redis) -> redis.Redis:
        self._clients.append(client)
        return client


def patience() -> dict[str, Any]:
    """Short waits, no retries (redis-py's own defaults wait for a minute)."""
    return {
        "socket_timeout": SECONDS,
        "socket_connect_timeout": SECONDS,
        "retry": Retry(NoBackoff(), 0),
        "decode_responses": True,
    }


def run_id(server: redis.Redis) -> str:
    return str(server.info("server")["run_id"])


def faults_of_events(server: redis.Redis) -> Iterator[CheckMessage]:
    """What is wrong with the settings of one events master."""
    found = events_settings(server)
    for name, (wanted, why, number) in EVENTS_RULES.items():
        if found.get(name) != wanted:
            yield Error(
                f"The events Valkey has {name} {found.get(name) or 'unknown'}: {why}.",
                hint=f"Set `{name} {wanted}` in {EVENTS_FILE} and restart it.",
                id=number,
            )
    if found.get("maxmemory") == "0":
        yield Error(
            "The events Valkey has no maxmemory: it would grow until the system ends it.",
            hint=f"Set `maxmemory` (for example 2gb) in {EVENTS_FILE} and restart it.",
            id="aktivat.E002",
        )


def events_settings(server: redis.Redis) -> dict[str, str]:
    """The settings that matter; hosted servers may hide CONFIG, then INFO tells some of them."""
    try:
        return {name: str(server.config_get(name).get(name) or "") for name in RULED}
    except redis.ResponseError:
        memory, disk = server.info("memory"), server.info("persistence")
        return {
            "maxmemory": str(memory["maxmemory"]),
            "maxmemory-policy": str(memory["maxmemory_policy"]),
            "appendonly": "yes" if disk["aof_enabled"] else "no",
        }


RULED = ("maxmemory", *EVENTS_RULES)

SAME_INSTANCE = Error(
    "REDIS_URL and BROKER_URL name the same server: cache and sessions would share memory and "
    "eviction with events.",
    hint="Start a second Valkey and set BROKER_URL to it; another database number is not enough.",
    id="aktivat.E005",
)
BROKER_IS_CLUSTER = Error(
    "BROKER_URL names a cluster; neither the cache nor Celery can use one.",
    hint="Set BROKER_URL to a single Valkey.",
    id="aktivat.E006",
)


def unreachable(variable: str, error: Exception) -> CheckMessage:
    return Error(
        f"The server in {variable} cannot be asked: {str(error).strip()}",
        hint=f"Start it, or correct {variable}.",
        id="aktivat.E007",
    )


def faults_of_postgres(version: int) -> Iterator[CheckMessage]:
    """`version` as Postgres counts: 140005 is 14.5."""
    if version < OLDEST_POSTGRES:
        yield Error(
            f"PostgreSQL {version // 10000} is too old.",
            hint=f"Use PostgreSQL {OLDEST_POSTGRES // 10000} or newer in DATABASE_URL.",
            id="aktivat.E010",
        )


def faults_of_web_user(
    user: str, is_super: bool, bypasses: bool, owns: bool
) -> Iterator[CheckMessage]:
    """The web's user must be one whom row-level security binds."""
    reasons = {
        "is a superuser": is_super,
        "may bypass row-level security": bypasses and not is_super,
        "is (a member of) the owner of the database": owns and not is_super,
    }
    for reason in (reason for reason, holds in reasons.items() if holds):
        yield Error(
            f"The web's database user {user} {reason}: one customer could see another's data.",
            hint="Set DATABASE_URL to a user of its own and DATABASE_OWNER_URL to this one; "
            "`manage.py prepare_database` makes the users that are missing.",
            id="aktivat.E011",
        )


# --- production ------------------------------------------------------------------------------


@register()
def check_production(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """No development value survives into AKTIVAT_ENV=production."""
    return list(faults_of_production()) if settings.PRODUCTION else []


def faults_of_production() -> Iterator[CheckMessage]:
    secret = settings.SECRET_KEY
    if secret == settings.DEVELOPMENT_SECRET or len(secret) < SHORTEST_SECRET:
        yield Error(
            "SECRET_KEY is missing or short: sessions could be forged.",
            hint="Set SECRET_KEY to 50 random characters, for example the output of "
            "`python -c 'import secrets; print(secrets.token_urlsafe(40))'`.",
            id="aktivat.E020",
        )
    if not settings.ALLOWED_HOSTS or "*" in settings.ALLOWED_HOSTS:
        yield Error(
            "ALLOWED_HOSTS is empty or '*': links in e-mails could lead elsewhere.",
            hint="Set ALLOWED_HOSTS to the names of this site, separated by commas.",
            id="aktivat.E021",
        )
    if settings.DEBUG:
        yield Error(
            "DEBUG is on: error pages would show settings and data to everybody.",
            hint="Unset DEBUG.",
            id="aktivat.E022",
        )
    for number, (name, value) in enumerate(required().items(), start=23):
        if not value:
            yield Error(
                f"{name} is not set, and production has no default for it.",
                hint=f"Set {name}; docs/hosting.md shows an example.",
                id=f"aktivat.E0{number}",
            )


def required() -> dict[str, str]:
    """Addresses that production must be given."""
    from aktivat.env import envstr

    return {name: envstr(name) for name in ("BROKER_URL", "REDIS_URL", "DATABASE_URL")}
