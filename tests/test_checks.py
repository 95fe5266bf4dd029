"""Start-up checks: what would lose, leak or forget is refused with the remedy."""

import json
import threading

import pytest
from django.core import checks as django_checks
from django.test import RequestFactory

from aktivat import checks, health
from aktivat.servers import start_cluster, start_valkey

GOOD_SECRET = "s" * 50


def ids(messages):
    return [message.id for message in messages]


@pytest.fixture(scope="module")
def wrong_events(tmp_path_factory):
    """An events Valkey with every setting wrong."""
    extra = {"maxmemory-policy": "allkeys-lru", "maxmemory": "0", "appendonly": "no"}
    server = start_valkey(
        tmp_path_factory.mktemp("wrong"), role="events", extra=extra | {"appendfsync": "no"}
    )
    yield server
    server.stop()


def test_our_own_servers_pass():
    assert django_checks.run_checks(tags=["servers"]) == []


def test_an_events_valkey_that_forgets_is_refused(settings, wrong_events):
    settings.EVENTS_URL = wrong_events.url
    found = {message.id: message for message in checks.check_events_valkey(None)}
    assert set(found) == {"aktivat.E001", "aktivat.E002", "aktivat.E003", "aktivat.E004"}
    for number, remedy in {
        "aktivat.E001": "Set `maxmemory-policy noeviction`",
        "aktivat.E002": "Set `maxmemory`",
        "aktivat.E003": "Set `appendonly yes`",
        "aktivat.E004": "Set `appendfsync always`",
    }.items():
        assert found[number].hint.startswith(remedy)
        assert found[number].is_serious(django_checks.ERROR)


def test_every_master_of_a_cluster_is_asked(settings, tmp_path):
    import redis

    cluster = start_cluster(tmp_path)
    try:
        settings.EVENTS_URL = cluster[0]
        assert checks.check_events_valkey(None) == []
        with redis.Redis.from_url(cluster[2]) as last:
            last.config_set("maxmemory-policy", "volatile-ttl")
        assert ids(checks.check_events_valkey(None)) == ["aktivat.E001"]
        settings.BROKER_URL = cluster[0]
        assert ids(checks.check_broker(None)) == ["aktivat.E006"]
    finally:
        cluster.stop()


def test_one_instance_for_both_is_refused_also_under_another_number(settings):
    settings.BROKER_URL = settings.EVENTS_URL.replace("db=0", "db=1")
    assert ids(checks.check_broker(None)) == ["aktivat.E005"]


def test_servers_that_are_away_are_named(settings):
    settings.EVENTS_URL = "redis://127.0.0.1:1/0"
    (message,) = checks.check_events_valkey(None)
    assert (message.id, message.hint) == ("aktivat.E007", "Start it, or correct REDIS_URL.")


def test_an_old_postgres_is_refused():
    assert ids(checks.faults_of_postgres(130011)) == ["aktivat.E010"]
    assert ids(checks.faults_of_postgres(140000)) == []


@pytest.mark.parametrize("trait", ["is_super", "bypasses", "owns"])
def test_a_web_user_above_row_level_security_is_refused(trait):
    traits = dict.fromkeys(("is_super", "bypasses", "owns"), False)
    assert ids(checks.faults_of_web_user("web", **traits)) == []
    assert ids(checks.faults_of_web_user("web", **traits | {trait: True})) == ["aktivat.E011"]


def test_the_owner_as_web_user_is_refused(monkeypatch):
    from django.db import connections

    monkeypatch.setattr(checks, "connections", {"default": connections["owner"]})
    (message,) = checks.check_postgres(None)
    assert "aktivat_owner is (a member of) the owner" in message.msg


@pytest.mark.parametrize(
    ("change", "number"),
    [
        ({"SECRET_KEY": "development-only-not-a-secret"}, "aktivat.E020"),
        ({"SECRET_KEY": "short"}, "aktivat.E020"),
        ({"ALLOWED_HOSTS": []}, "aktivat.E021"),
        ({"ALLOWED_HOSTS": ["a.example", "*"]}, "aktivat.E021"),
        ({"DEBUG": True}, "aktivat.E022"),
    ],
)
def test_development_values_do_not_reach_production(settings, change, number):
    good = {"SECRET_KEY": GOOD_SECRET, "ALLOWED_HOSTS": ["a.example"], "PRODUCTION": True}
    for name, value in good.items():
        setattr(settings, name, value)
    assert checks.check_production(None) == []
    for name, value in change.items():
        setattr(settings, name, value)
    assert ids(checks.check_production(None)) == [number]


def test_production_needs_its_servers_named(settings, monkeypatch):
    settings.SECRET_KEY, settings.ALLOWED_HOSTS = GOOD_SECRET, ["a.example"]
    settings.PRODUCTION = True
    monkeypatch.delenv("BROKER_URL")
    (message,) = checks.check_production(None)
    assert message.msg.startswith("BROKER_URL is not set")


# --- health pages ----------------------------------------------------------------------------


def get(view):
    response = view(RequestFactory().get("/"))
    return response.status_code, json.loads(response.content)


def test_alive_says_so_without_asking_anybody(settings):
    settings.EVENTS_URL = settings.BROKER_URL = "redis://127.0.0.1:1/0"
    assert get(health.healthz) == (200, {"status": "ok"})


def test_ready_names_every_part_and_the_lag():
    status, answer = get(health.readyz)
    assert (status, answer["status"]) == (200, "ready")
    assert all(answer[part]["ok"] for part in ("database", "events", "broker", "lag"))
    assert {"drain_seconds", "rollup_seconds", "stream_entries"} <= set(answer["lag"])


def test_a_worker_that_is_away_is_told_and_takes_nothing_out_of_service(monkeypatch):
    for seconds, behind in ((119.0, False), (121.0, True)):
        measured = {"drain_seconds": seconds, "rollup_seconds": 0.0, "stream_entries": 5}
        monkeypatch.setattr("tracking.lag.measure", lambda measured=measured: measured)
        status, answer = get(health.readyz)
        assert (status, answer["lag"]["behind"]) == (200, behind)


def test_not_ready_while_the_events_valkey_may_forget(settings, wrong_events):
    settings.EVENTS_URL = wrong_events.url
    status, answer = get(health.readyz)
    assert (status, answer["status"]) == (503, "not ready")
    assert len(answer["events"]["faults"]) == 4
    assert answer["broker"]["ok"] is True


def test_a_server_that_hangs_does_not_hang_the_page(monkeypatch):
    over = threading.Event()
    monkeypatch.setattr(health, "SECONDS", 0.05)
    monkeypatch.setattr(health, "QUESTIONS", {"database": lambda: {"waited": over.wait(60)}})
    try:
        status, answer = get(health.readyz)
    finally:
        over.set()
    assert (status, answer["database"]) == (503, {"ok": False, "error": "TimeoutError"})


def test_not_ready_while_a_server_is_away(settings):
    settings.BROKER_URL = "redis://:secret@127.0.0.1:1/0"
    status, answer = get(health.readyz)
    assert status == 503
    assert answer["broker"]["error"] == "ConnectionError"
    assert "secret" not in json.dumps(answer)


def test_the_applications_that_settings_name_can_be_loaded() -> None:
    from django.conf import settings
    from django.core.servers.basehttp import get_internal_wsgi_application
    from django.utils.module_loading import import_string

    assert callable(get_internal_wsgi_application())  # manage.py runserver
    assert callable(import_string(settings.ASGI_APPLICATION))
