"""The product as `make run` runs it, in a temporary home, with a proxy on every wire.

Enters: settings of single parts (a case may want another eviction policy, a small disk, a faked
clock). Leaves: a Product that is supervised by the product's own supervisor, its addresses before
and behind the proxies, and handles on its processes. Called by trial.py and power_cut.py.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from aktivat import dburl
from aktivat.servers import start_postgres, start_valkey
from aktivat.servers.children import Child
from aktivat.servers.postgres import SOCKET_NAME, RunningPostgres
from aktivat.servers.secrets import Secrets
from aktivat.servers.supervisor import Kept, Program, Server, Supervisor, child_of, programs
from aktivat.servers.valkey import free_ports
from tests.instruments.chaos.proxy import Proxy
from tracking import keys

OURS = ("DATABASE_URL", "DATABASE_OWNER_URL", "DATABASE_WORKER_URL", "REDIS_URL", "BROKER_URL")
OURS += ("SECRET_KEY", "DJANGO_SETTINGS_MODULE", "AKTIVAT_FAULT", "AKTIVAT_SABOTAGE", "PORT")
ZONES = ("UTC", "Europe/Stockholm", "America/New_York")
FAKETIME = (
    Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"),
    Path("/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1"),
)
ROOT = Path(__file__).resolve().parents[3]
# Each process of Django's takes seconds to begin; `reconcile` ends with 1 when it says no.
COMMANDS = """
import contextlib, io, json, os, sys, django
os.environ["DJANGO_SETTINGS_MODULE"] = "aktivat.settings"
django.setup()
from django.core.management import call_command
told = []
for command in json.loads(sys.argv[1]):
    out = io.StringIO()
    with contextlib.suppress(SystemExit):
        call_command(*command, "--json", stdout=out)
    told.append(json.loads(out.getvalue()))
print(json.dumps(told))
"""
SABOTAGE = "tests.instruments.chaos.sabotage"


@dataclass(frozen=True)
class Place:
    """A property: its key, its time zone, its number, the name of its stream."""

    key: str
    zone: str
    number: int
    stream: str


class NotHere(Exception):
    """This machine cannot do what the case needs: it is counted as not run, never as passed."""


class Product(Supervisor):
    """One home with everything in it; `start` it, `look_after_all`, `stop` it."""

    def __init__(
        self,
        *,
        settings: Mapping[str, str] | None = None,
        events: Mapping[str, str] | None = None,
        disk_mb: int = 0,
        postgres_disk_mb: int = 0,
        with_clock: bool = False,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        """`settings`: environment of the programs. `events`: settings of the events Valkey.
        `disk_mb`, `postgres_disk_mb`: their disks are that small. `with_clock`: the events Valkey
        reads a clock that `set_clock` moves."""
        home = Path(tempfile.mkdtemp(prefix="aktivat-chaos-"))
        own = {name: value for name, value in os.environ.items() if name not in OURS}
        super().__init__(home, own | {"AKTIVAT_DEMO": "0"}, say)
        with free_ports(3) as ports:
            self.web_port, self.events_port, self.broker_port = ports
        self.events_settings = dict(events or {})
        self.proxies: dict[str, Proxy] = {}
        self.disks = {"events": disk_mb, "postgres": postgres_disk_mb}
        self.disk = disk_mb > 0
        self.mounted: list[Path] = []
        self.clock = self.home / "clock" if with_clock else None
        self.restarts = 0
        self.expected_trouble: dict[str, int] = {}  # see checker.TROUBLE
        self.places: list[Place] = []
        self.api_key = ""
        self.environ |= {
            "AKTIVAT_ENV": "test",
            "AKTIVAT_HOME": str(home),
            "PORT": str(self.web_port),
            "BIND": "127.0.0.1",
            "WEB_WORKERS": "2",
            "PYTHONUNBUFFERED": "1",
            "LOG_LEVEL": "ERROR",
            "ADDRESS_RATE": "0",  # all load comes from one address
            "KEY_RATE": "0",
        } | dict(settings or {})

    # --- starting and stopping -------------------------------------------------------------

    def start(self) -> "Product":
        """Servers, tables, programs, three properties and a key that may ask about them."""
        try:
            for name, size in self.disks.items():
                if size:
                    self.mount(self.home / name, size)
            self.start_servers()
            self.proxies["web"] = Proxy(self.web_port)
            self.run("migrate", "migrate", "--database", "owner", "--no-input")
            for program in programs(self.home, self.environ):
                self.start_program(self.spoiled(program))
            self.wait_for_web(f"http://127.0.0.1:{self.web_port}")
            self.make_places()
        except BaseException:
            self.stop()
            raise
        return self

    def spoiled(self, program: Program) -> Program:
        """The program as it is; with AKTIVAT_SABOTAGE, with sabotage.py inside it."""
        if "AKTIVAT_SABOTAGE" not in self.environ:
            return program
        command = [SABOTAGE if part == "aktivat" else part for part in program.command]
        if program.name == "web":
            command.append(f"{SABOTAGE}:application")
        return Program(program.name, command, program.stop_steps)

    def embed_postgres(self, secrets: Secrets) -> None:
        sockets = self.home / "run"
        self.proxies["postgres"] = Proxy(str(sockets / SOCKET_NAME))
        self.direct: dict[str, str] = {}

        def start() -> Server:
            running = start_postgres(
                self.home / "postgres", sockets=sockets, log=self.log("postgres"), secrets=secrets
            )
            self.direct = running.urls
            near = {"host": "127.0.0.1", "port": str(self.proxies["postgres"].port)}
            names = {"owner": "OWNER_URL", "web": "URL", "worker": "WORKER_URL"}
            for role, name in names.items():
                url = dburl.to_url(dburl.parse(running.urls[role]) | near)
                self.environ[f"DATABASE_{name}"] = url
            return running

        self.keep("PostgreSQL", start)

    def embed_valkey(self, variable: str, role: str, extra: Mapping[str, str]) -> None:
        is_events = role == "events"
        port = self.events_port if is_events else self.broker_port
        self.proxies[role] = Proxy(port)
        self.environ[variable] = f"redis://127.0.0.1:{self.proxies[role].port}/0"

        def start() -> Server:
            with self.faked_clock(is_events):
                return start_valkey(
                    self.home / role,
                    role="events" if is_events else "broker",
                    port=port,
                    extra={**extra, **self.events_settings} if is_events else extra,
                    log=self.log(role),
                )

        self.keep(f"the {role} Valkey", start)

    def make_places(self) -> None:
        shops = [
            ("create_property", "chaos", f"Shop {number}", "--timezone", zone, "--hostname", "*")
            for number, zone in enumerate(ZONES)
        ]
        grants = ("--grant", "audience:view", "content:view", "events:view", "sources:view")
        _, *made, key = self.manage(
            ("create_account", "chaos", "--owner", "owner@example.com"),
            *shops,
            ("create_api_key", "chaos", "--name", "count", *grants),
        )
        self.places = [self.place(one["key"], zone) for one, zone in zip(made, ZONES, strict=True)]
        self.api_key = key["key"]

    def place(self, key: str, zone: str) -> "Place":
        with psycopg.connect(self.postgres.urls["superuser"]) as to:
            asked = "SELECT account_id, id FROM properties_property WHERE key = %s"
            row = to.execute(asked, [key]).fetchone()
        assert row
        return Place(key, zone, row[1], keys.stream(keys.prefix(*row)))

    def manage(self, *commands: tuple[str, ...]) -> list[Any]:
        """What several `manage.py` commands answer with --json, run by one process."""
        done = subprocess.run(
            [sys.executable, "-c", COMMANDS, json.dumps(commands)],
            cwd=ROOT,
            env=self.environ | {"AKTIVAT_FAULT": ""},
            capture_output=True,
            text=True,
            timeout=1_800,
        )
        try:
            return json.loads(done.stdout)
        except ValueError:
            raise RuntimeError(f"manage.py {commands}: {done.stdout}{done.stderr}") from None

    def stop(self) -> None:
        """No process, no mount and no file is left; safe to repeat, and not to be interrupted."""
        ours = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
        before = signal.pthread_sigmask(signal.SIG_BLOCK, ours)
        try:
            self.thaw()
            super().stop()
            for proxy in self.proxies.values():
                proxy.stop()
        finally:
            for folder in self.mounted:
                subprocess.run(["umount", "--lazy", str(folder)], check=False)
            shutil.rmtree(self.home, ignore_errors=True)
            self.proxies, self.mounted = {}, []
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def thaw(self) -> None:
        """Whatever a fault has stopped has to run to be ended."""
        for one in self.kept:
            for process in self.tree(one.name):
                with contextlib.suppress(psutil.Error):
                    process.send_signal(signal.SIGCONT)

    # --- keeping ---------------------------------------------------------------------------

    def look_after_all(self) -> None:
        """One round of the product's own supervisor."""
        for one in self.kept:
            was = child_of(one.running).pid
            self.look_after(one, time.monotonic())
            self.restarts += child_of(one.running).pid != was

    def named(self, name: str) -> Kept:
        return next(one for one in self.kept if one.name == name)

    def process(self, name: str) -> psutil.Process:
        """The main process of a part. Raises psutil.NoSuchProcess when it has ended."""
        return psutil.Process(child_of(self.named(name).running).pid)

    def tree(self, name: str) -> list[psutil.Process]:
        try:
            process = self.process(name)
            return [process, *process.children(recursive=True)]
        except psutil.Error:
            return []

    def web_workers(self) -> list[psutil.Process]:
        return self.tree("web")[1:]

    def backends(self) -> list[psutil.Process]:
        """Sessions of the product in Postgres."""
        found = []
        for process in self.tree("PostgreSQL")[1:]:
            with contextlib.suppress(psutil.Error):
                if "postgres: aktivat_" in " ".join(process.cmdline()):
                    found.append(process)
        return found

    def check_refuses(self) -> bool:
        """Whether the check before a start says no."""
        command = [sys.executable, "manage.py", "check", "--tag", "servers", "--fail-level"]
        done = subprocess.run(
            [*command, "ERROR"], cwd=ROOT, env=self.environ, capture_output=True, check=False
        )
        return done.returncode != 0

    def is_whole(self) -> bool:
        return all(one.running.is_running() for one in self.kept)

    @property
    def postgres(self) -> RunningPostgres:
        running = self.named("PostgreSQL").running
        assert isinstance(running, RunningPostgres)
        return running

    def child(self, name: str) -> Child:
        return child_of(self.named(name).running)

    def valkey(self, timeout: float = 2.0) -> "redis.Redis":
        """The events Valkey, past the proxy."""
        return redis.Redis(
            port=self.events_port,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 0),
        )

    # --- disk and clock --------------------------------------------------------------------

    def mount(self, folder: Path, size_mb: int) -> None:
        """A small disk of its own for the folder. Raises NotHere."""
        folder.mkdir(exist_ok=True)
        options = f"size={size_mb}m,mode=700"
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "aktivat-chaos", str(folder)],
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise NotHere(f"A small disk cannot be mounted here: {done.stderr.strip()}")
        self.mounted.append(folder)

    def fill_disk(self, name: str = "events") -> None:
        """Every byte that is left; what is being written meanwhile finds none."""
        filler = self.home / name / "filler"
        with filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            room = os.statvfs(filler)
            os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_frsize)
        for size in (65_536, 1):
            with filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
                while file.write(b"\0" * size):
                    pass

    def free_disk(self, name: str = "events") -> None:
        (self.home / name / "filler").unlink(missing_ok=True)

    @contextlib.contextmanager
    def faked_clock(self, is_events: bool) -> Any:
        """The programs started inside read their clock from a file. Raises NotHere."""
        if self.clock is None or not is_events:
            yield
            return
        library = next((path for path in FAKETIME if path.exists()), None)
        if library is None:
            raise NotHere("libfaketime is not installed (Debian: apt-get install libfaketime).")
        self.set_clock(0)
        wanted = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self.clock),
            "FAKETIME_CACHE_DURATION": "1",  # seconds; a look at the file for every call costs much
            "DONT_FAKE_MONOTONIC": "1",
        }
        os.environ.update(wanted)  # a Valkey is started with our own environment
        try:
            yield
        finally:
            for name in wanted:
                os.environ.pop(name)

    def set_clock(self, seconds: int) -> None:
        """How far the events Valkey's clock is from the true one."""
        if self.clock:
            draft = self.clock.with_suffix(".new")
            draft.write_text(f"{seconds:+d}")
            draft.replace(self.clock)
