"""Embedded servers: they start, keep their data, recover, and never outlive their starter."""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from aktivat.servers import children, start_cluster, start_postgres, start_valkey
from aktivat.servers.children import FolderLock, ServerError
from aktivat.servers.secrets import Secrets
from aktivat.servers.valkey import free_ports
from tests.servers import ROOT


def ask(url, question):
    with psycopg.connect(url) as connection:
        return connection.execute(question).fetchone()


def wait_until(holds, seconds=30):
    """Poll; the generous limit only decides how long a failing test takes."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"{holds} did not come true"
        time.sleep(0.05)


def is_gone(process):
    """Ended, or a zombie that nobody collects (in a container without an init)."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    """One for those who only ask it: to make a server costs more than most tests."""
    server = start_postgres(tmp_path_factory.mktemp("servers") / "postgres", fast=True)
    yield server
    server.stop()


# --- PostgreSQL ------------------------------------------------------------------------------


def test_three_ordinary_users_and_one_database_without_a_tcp_port(postgres):
    for role in ("owner", "web", "worker"):
        user, is_super, bypasses = ask(
            postgres.urls[role],
            "SELECT rolname, rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user",
        )
        assert (user, is_super, bypasses) == (f"aktivat_{role}", False, False)
    assert ask(postgres.urls["superuser"], "SHOW listen_addresses") == ("",)
    owner = "SELECT datdba::regrole::text FROM pg_database WHERE datname = current_database()"
    assert ask(postgres.urls["web"], owner) == ("aktivat_owner",)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        ask(postgres.urls["web"], "CREATE TABLE mine ()")


def test_a_wrong_password_is_refused(postgres):
    url = postgres.urls["web"].replace("aktivat_web:", "aktivat_web:x")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(url)


def test_durable_unless_asked_to_be_fast(tmp_path):
    server = start_postgres(tmp_path)
    try:
        shown = [
            ask(server.urls["web"], f"SHOW {name}") for name in ("fsync", "synchronous_commit")
        ]
        assert shown == [("on",), ("on",)]
        texts = "SELECT pg_encoding_to_char(encoding), datcollate FROM pg_database"
        encoding, locale = ask(server.urls["web"], f"{texts} WHERE datname = 'aktivat'")
        assert encoding == "UTF8"
        assert locale in ("C.UTF-8", "C")
    finally:
        server.stop()


def test_data_and_passwords_survive_stop_and_kill(tmp_path):
    first = start_postgres(tmp_path)
    with psycopg.connect(first.urls["owner"]) as owner:
        owner.execute("CREATE TABLE kept AS SELECT 1 AS one")
    first.stop()
    second = start_postgres(tmp_path)
    assert second.urls == first.urls
    second.kill()
    third = start_postgres(tmp_path)
    try:
        assert ask(third.urls["owner"], "SELECT one FROM kept") == (1,)
    finally:
        third.stop()


def test_lost_passwords_are_made_anew(tmp_path):
    start_postgres(tmp_path, fast=True).stop()
    (tmp_path / "secrets.json").unlink()
    server = start_postgres(tmp_path, fast=True)
    try:
        assert ask(server.urls["web"], "SELECT 1") == (1,)
    finally:
        server.stop()


def test_an_interrupted_initdb_is_done_again(tmp_path):
    draft = tmp_path / "data.new"
    draft.mkdir()
    (draft / "half").write_text("")
    server = start_postgres(tmp_path, fast=True)
    server.stop()
    assert not draft.exists()


@pytest.mark.parametrize("whose", ["a stranger's", "a zombie's"])
def test_a_stale_pid_file_does_not_block_the_start(tmp_path, whose):
    """After a crash the pid in postmaster.pid may be anybody's."""
    start_postgres(tmp_path, fast=True).stop()
    command = ["sleep", "60"] if whose == "a stranger's" else ["true"]
    process = subprocess.Popen(command)
    if whose == "a zombie's":
        wait_until(lambda: is_gone(psutil.Process(process.pid)))
    stale = tmp_path / "data" / "postmaster.pid"
    note = f"{process.pid}\n{tmp_path / 'data'}\n1700000000\n5432\n{tmp_path / 'run'}\n\n\nready\n"
    stale.write_text(note)
    (tmp_path / "run" / ".s.PGSQL.5432.lock").write_text(note)
    try:
        start_postgres(tmp_path, fast=True).stop()
        assert whose == "a zombie's" or process.poll() is None, "the stranger was harmed"
    finally:
        process.kill()
        process.wait()


def test_a_postmaster_left_running_is_ended_first(tmp_path):
    """Our starter was killed, and the old server is still shutting down."""
    server = start_postgres(tmp_path, fast=True)
    server.lock.release()
    old = psutil.Process(server.pid)
    fresh = start_postgres(tmp_path, fast=True)
    try:
        assert is_gone(old)
        assert fresh.pid != old.pid
    finally:
        server.child.stop()
        fresh.stop()


def test_where_the_kernel_gives_no_namespace_root_becomes_nobody(monkeypatch):
    monkeypatch.setattr("aktivat.servers.postgres.namespace_works", lambda: False)
    # Not tmp_path: nobody may not enter that one.
    folder = Path(tempfile.mkdtemp(prefix="aktivat-"))
    folder.chmod(0o755)
    try:
        server = start_postgres(folder / "postgres", fast=True)
        assert ask(server.urls["web"], "SELECT 1") == (1,)
        uid = psutil.Process(server.pid).uids().real
        assert uid == (os.geteuid() or pwd.getpwnam("nobody").pw_uid)
        server.stop()
        again = start_postgres(folder / "postgres", fast=True)
        assert psutil.Process(again.pid).uids().real == uid, "the owner of the data goes on"
        again.stop()
    finally:
        shutil.rmtree(folder)


def test_a_folder_in_use_is_refused(postgres):
    folder = postgres.data.parent
    with pytest.raises(ServerError, match=rf"{folder} already \(process {os.getpid()}\)"):
        start_postgres(folder)


def test_a_long_path_gets_a_short_private_socket_folder(tmp_path):
    home = tmp_path / ("deep" * 20) / ("folder" * 10)
    home.mkdir(parents=True)
    first = start_postgres(home, fast=True)
    sockets = Path((home / "run.sockets").read_text().strip())
    try:
        assert ask(first.urls["web"], "SELECT 1") == (1,)
        assert sockets.stat().st_mode & 0o777 == 0o700
    finally:
        first.stop()
    second = start_postgres(home, fast=True)
    second.stop()
    assert second.urls == first.urls, "the short folder is remembered"
    sockets.rmdir()


def test_a_remembered_socket_folder_of_somebody_else_is_not_used(tmp_path):
    wanted = tmp_path / "odd,name" / "run"
    wanted.parent.mkdir()
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o755)
    wanted.with_name("run.sockets").write_text(f"{shared}\n")
    chosen = children.socket_folder(wanted, "events.sock")
    assert chosen != shared
    assert children.is_private(chosen)
    chosen.rmdir()


# --- Valkey ----------------------------------------------------------------------------------


def settings_of(url):
    with redis.Redis.from_url(url, decode_responses=True) as client:
        return client.config_get(
            *("appendonly", "appendfsync", "maxmemory", "maxmemory-policy", "save", "port")
        )


def test_events_forget_nothing_and_the_broker_is_lighter(tmp_path):
    events = start_valkey(tmp_path / "events", role="events", extra={"maxmemory": "64mb"})
    broker = start_valkey(tmp_path / "broker", role="broker")
    try:
        common = {"appendonly": "yes", "maxmemory-policy": "noeviction", "save": "", "port": "0"}
        assert settings_of(events.url) == common | {
            "appendfsync": "always",
            "maxmemory": str(64 * 1024 * 1024),
        }
        assert settings_of(broker.url) == common | {
            "appendfsync": "everysec",
            "maxmemory": str(256 * 1024 * 1024),
        }
    finally:
        broker.stop()
        events.stop()


def test_a_truncated_log_loses_the_half_command_only(tmp_path):
    server = start_valkey(tmp_path, role="events")
    with redis.Redis.from_url(server.url) as client:
        client.set("kept", "1")
    server.kill()
    (log,) = (tmp_path / "data" / "appendonlydir").glob("*.incr.aof")
    with log.open("ab") as file:
        file.write(b"*3\r\n$3\r\nSET\r\n$4\r\nha")
    again = start_valkey(tmp_path, role="events")
    try:
        with redis.Redis.from_url(again.url) as client:
            assert client.keys() == [b"kept"]
    finally:
        again.stop()


def test_a_log_damaged_in_the_middle_is_named(tmp_path):
    server = start_valkey(tmp_path, role="events")
    with redis.Redis.from_url(server.url) as client:
        client.set("kept", "1")
    server.stop()
    (log,) = (tmp_path / "data" / "appendonlydir").glob("*.incr.aof")
    log.write_bytes(b"*3\r\nwrong" + log.read_bytes())
    with pytest.raises(ServerError, match="Bad file format"):
        start_valkey(tmp_path, role="events")


def test_somebody_elses_port_is_not_taken_for_ours(tmp_path):
    with free_ports(1) as ports:
        port = ports[0]
    first = start_valkey(tmp_path / "1", role="events", port=port)
    try:
        assert first.url == f"redis://127.0.0.1:{port}/0"
        with pytest.raises(ServerError, match=r"Another server answers|Address already in use"):
            start_valkey(tmp_path / "2", role="events", port=port)
    finally:
        first.stop()


def test_a_cluster_of_three_masters_serves_every_slot(tmp_path):
    cluster = start_cluster(tmp_path)
    try:
        assert len(cluster) == 3
        with redis.RedisCluster.from_url(cluster[0]) as client:
            assert all(client.set(f"key{number}", number) for number in range(50))
            assert {len(keys) > 0 for keys in (client.keys(target_nodes="primaries"),)} == {True}
    finally:
        cluster.stop()


# --- dying with the starter ------------------------------------------------------------------

STARTER = textwrap.dedent(
    """
    import sys, time
    from pathlib import Path
    from aktivat.servers import start_postgres, start_valkey
    home = Path(sys.argv[1])
    servers = [
        start_postgres(home / "postgres", fast=True),
        start_valkey(home / "events", role="events"),
        start_valkey(home / "broker", role="broker"),
    ]
    print(servers[0].urls["owner"], flush=True)
    time.sleep(600)
    """
)


def test_kill_9_of_the_starter_ends_the_servers_and_their_children(tmp_path):
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, tmp_path], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    url = starter.stdout.readline().strip()
    family = psutil.Process(starter.pid).children(recursive=True)
    names = {process.name() for process in family}
    assert {"postgres", "valkey-server"} <= names
    assert len(family) > 5, "the postmaster's own children are among them"
    session = psycopg.connect(url)
    session.execute("SELECT 1")  # an open transaction must not hold it up
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    starter.stdout.close()
    wait_until(lambda: all(is_gone(process) for process in family))
    session.close()


def test_servers_start_from_the_main_thread_only(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor() as pool, pytest.raises(RuntimeError, match="main thread"):
        pool.submit(children.spawn, ["/bin/true"], name="x").result()


def test_a_killed_holder_leaves_no_lock(tmp_path):
    code = (
        "import sys, time; from pathlib import Path;"
        "from aktivat.servers.children import FolderLock;"
        "kept = FolderLock(Path(sys.argv[1]), 'A test'); print('held', flush=True);"
        "time.sleep(600)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], cwd=ROOT, stdout=subprocess.PIPE
    )
    holder.stdout.readline()
    with pytest.raises(ServerError, match=rf"A second.*\(process {holder.pid}\)"):
        FolderLock(tmp_path, "A second")
    holder.kill()
    holder.wait()
    holder.stdout.close()
    FolderLock(tmp_path, "A second").release()


def test_secrets_are_made_once_and_readable_by_us_only(tmp_path):
    path = tmp_path / "secrets.json"
    made = Secrets(path).get_or_make("one")
    assert Secrets(path).get_or_make("one") == made
    assert Secrets(path).get_or_make("two") != made
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("[")
    with pytest.raises(SystemExit, match="damaged"):
        Secrets(path)


def test_a_signal_amid_a_start_leaves_no_program_that_nobody_knows(monkeypatch):
    """It raises when the program is known, and stopped."""
    begun = []
    popen = children.subprocess.Popen

    def interrupted(*arguments, **options):
        begun.append(popen(*arguments, **options))
        signal.raise_signal(signal.SIGINT)
        return begun[0]

    monkeypatch.setattr(children.subprocess, "Popen", interrupted)
    with pytest.raises(KeyboardInterrupt):
        children.spawn([sys.executable, "-c", "import time; time.sleep(60)"], name="sleeper")
    assert begun[0].poll() is not None
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
