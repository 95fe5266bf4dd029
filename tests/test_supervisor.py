"""`make run`'s supervisor: it starts everything, keeps it running, and leaves nothing behind."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from aktivat.servers.valkey import free_ports
from tests.servers import ROOT
from tests.test_servers import is_gone, wait_until

OURS = ("DATABASE_URL", "DATABASE_OWNER_URL", "DATABASE_WORKER_URL", "REDIS_URL", "BROKER_URL")
OURS += ("SECRET_KEY", "AKTIVAT_ENV", "AKTIVAT_HOME", "DJANGO_SETTINGS_MODULE")


def outside_environment(**settings):
    """The environment of a newcomer: without what the test session has set."""
    return {name: value for name, value in os.environ.items() if name not in OURS} | settings


class Run:
    """One supervisor of one home, in a process group of its own as under a terminal."""

    def __init__(self, home: Path, **settings: str) -> None:
        with free_ports(1) as ports:
            self.port = ports[0]
        self.home = home
        self.said = home.with_suffix(".said")
        settings = {
            "AKTIVAT_HOME": str(home),
            "PORT": str(self.port),
            "AKTIVAT_DEMO": "0",
        } | settings
        with self.said.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "aktivat.servers"],
                cwd=ROOT,
                env=outside_environment(**settings),
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def text(self) -> str:
        return self.said.read_text()

    def ready(self) -> "Run":
        """Wait for the address; fail with all that was said when the supervisor ends instead."""

        def is_ready():
            assert self.process.poll() is None, self.text()
            return "Aktivat runs at" in self.text()

        wait_until(is_ready, seconds=120)
        return self

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def programs(self) -> dict[str, psutil.Process]:
        """What runs now by its command line; a program that is just ending is left out."""
        found = {}
        for process in self.family():
            with contextlib.suppress(psutil.Error):
                found[" ".join(process.cmdline())] = process
        return found

    def urls(self) -> dict[str, str]:
        return json.loads((self.home / "environment.json").read_text())

    def answers(self) -> bool:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=5).close()
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True

    def end(self, number: signal.Signals) -> list[psutil.Process]:
        """Send the signal as a terminal does, to the group; return what had been running."""
        family = self.family()
        os.killpg(self.process.pid, number)
        self.process.wait(60)
        return family


@pytest.fixture
def runs(tmp_path):
    """Start supervisors; whatever a failing test leaves is ended."""
    started = []

    def start(name="home", **settings):
        started.append(Run(tmp_path / name, **settings))
        return started[-1]

    yield start
    for run in started:
        if run.process.poll() is None:
            run.end(signal.SIGTERM)


def test_a_life_of_make_run_and_kill_9_of_its_supervisor(runs):
    """And another beside it, which nothing of this disturbs and which survives worse. A start
    costs many seconds of both cores: three of them tell all."""
    run, other = runs("one"), runs("other", WEB_WORKERS="1")
    run.ready()
    assert run.answers()
    for part in ("postgres -D", "events.sock", "broker.sock", "gunicorn", " worker ", " beat "):
        wait_until(lambda part=part: any(part in program for program in run.programs()))

    second = runs("one")
    assert second.process.wait(60) == 1
    assert f"Another `make run` uses {run.home} already" in second.text()
    assert run.answers(), "the first one was disturbed"

    # Another terminal: the command line finds the servers by itself.
    command = [sys.executable, "manage.py", "prepare_database"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=outside_environment(AKTIVAT_HOME=str(run.home)),
        capture_output=True,
        text=True,
    )
    assert done.stdout == "The three database users are there.\n", done.stderr

    events = next(one for line, one in run.programs().items() if "events.sock" in line)
    with redis.Redis.from_url(run.urls()["REDIS_URL"]) as client:
        client.set("kept", "1")
        events.kill()
        wait_until(lambda: "the events Valkey runs again" in run.said.read_text())
        assert client.get("kept") == b"1"
    assert run.text().count("ended with") == 1, "only the killed Valkey ended by itself"

    other.ready()
    family = run.end(signal.SIGKILL)
    wait_until(lambda: all(is_gone(process) for process in family))
    assert other.answers()
    assert not {process.pid for process in other.family()} & {process.pid for process in family}

    recovers_from_kill_9_of_everything(runs, other)


def recovers_from_kill_9_of_everything(runs, run):
    """With what it had stored; and ends as it should, by Ctrl-C, afterwards."""
    with psycopg.connect(run.urls()["DATABASE_OWNER_URL"]) as owner:
        owner.execute("CREATE TABLE kept AS SELECT 1 AS one")
    with redis.Redis.from_url(run.urls()["REDIS_URL"]) as events:
        events.set("kept", "1")
    family = [psutil.Process(run.process.pid), *run.family()]
    for process in family:
        process.suspend()  # so that nobody tidies up while the others are killed
    for process in family:
        process.kill()
    run.process.wait()
    again = runs(run.home.name, WEB_WORKERS="1").ready()
    with psycopg.connect(again.urls()["DATABASE_OWNER_URL"]) as owner:
        assert owner.execute("SELECT one FROM kept").fetchone() == (1,)
    with redis.Redis.from_url(again.urls()["REDIS_URL"]) as events:
        assert events.get("kept") == b"1"

    family = again.end(signal.SIGINT)
    assert again.process.returncode == 0, again.text()
    assert all(is_gone(process) for process in family)
    assert not again.answers()
    assert "ended with" not in again.text()


@pytest.mark.parametrize("to_all", [False, True], ids=["SIGTERM", "Ctrl-C"])
def test_a_signal_while_starting_stops_what_has_started(runs, to_all):
    run = runs()
    wait_until(lambda: (run.home / "environment.json").exists())
    family = run.family()
    assert family
    if to_all:
        os.killpg(run.process.pid, signal.SIGINT)
    else:
        run.process.send_signal(signal.SIGTERM)
    assert run.process.wait(60) == 0
    assert all(is_gone(process) for process in family)


def test_a_taken_port_is_named_with_the_remedy(runs):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        run = runs(PORT=str(port))
        assert run.process.wait(60) == 1
    assert f"127.0.0.1:{port}" in run.text()
    assert f"PORT={port + 1} make run" in run.text()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"REDIS_URL": "redis://127.0.0.1:1/0"}, "Set BROKER_URL to a second Valkey"),
        ({"DATABASE_URL": "postgresql://a:secret@127.0.0.1:1/a"}, "cannot be reached"),
        ({"PORT": "http"}, "PORT='http' is not a whole number"),
    ],
)
def test_settings_that_cannot_work_are_named(runs, settings, message):
    run = runs(**settings)
    assert run.process.wait(60) == 1
    assert message in run.text()
    assert "secret" not in run.text()
    assert "Traceback" not in run.text()


def test_ctrl_c_of_the_tests_themselves_leaves_nothing(tmp_path):
    sleeping = tmp_path / "test_sleeping.py"
    sleeping.write_text("import time\ndef test_it():\n    print('asleep')\n    time.sleep(600)\n")
    command = [sys.executable, "-m", "pytest", "-s", "-p", "tests.servers", sleeping]
    tests = subprocess.Popen(
        [
            *command,
            "--basetemp",
            tmp_path / "base",
            "--rootdir",
            ROOT,
            "-c",
            ROOT / "pyproject.toml",
        ],
        cwd=ROOT,
        env=outside_environment(TMPDIR=str(tmp_path)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # What a shell starts in the background ignores Ctrl-C, and so do its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    said = ""
    while "asleep" not in said:
        line = tests.stdout.readline()
        assert line, said
        said += line
    family = psutil.Process(tests.pid).children(recursive=True)
    assert {"postgres", "valkey-server"} <= {process.name() for process in family}
    os.killpg(tests.pid, signal.SIGINT)
    try:
        tests.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        tests.send_signal(signal.SIGABRT)  # pytest's fault handler says where it hangs
        pytest.fail(tests.communicate(timeout=60)[0][-5_000:])
    assert tests.returncode == pytest.ExitCode.INTERRUPTED
    assert all(is_gone(process) for process in family)
    assert not list(tmp_path.glob("aktivat-test-*"))
