"""Start everything, keep it running, stop everything: what `make run` runs.

In: the environment (PORT, BIND, AKTIVAT_HOME, DATABASE_URL, REDIS_URL, ...). Out: lines in the
terminal that say what happens, logs in AKTIVAT_HOME/logs, exit 0 after Ctrl-C, SIGTERM or SIGHUP.
Nothing outlives it, not even after kill -9 (children.py says how).
"""

import ctypes
import json
import os
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from aktivat.dburl import celery_url
from aktivat.servers import environment, roles
from aktivat.servers.children import Child, FolderLock, ServerError, spawn
from aktivat.servers.postgres import start_postgres
from aktivat.servers.secrets import Secrets
from aktivat.servers.valkey import start_valkey

ROOT = Path(__file__).resolve().parent.parent.parent
GUNICORN = Path(__file__).with_name("gunicorn.conf.py")
STEPS = 6  # of `make run`; the Makefile does the first three
LONGEST_PAUSE = 5.0  # seconds between two starts of a program that keeps ending
SETTLED = 10.0  # seconds after which a program counts as running well


class Stop(BaseException):
    """A signal asked us to end."""


class Server(Protocol):
    """What the supervisor needs of a RunningPostgres or RunningValkey."""

    child: Child

    def is_running(self) -> bool: ...
    def stop(self) -> None: ...


@dataclass
class Program:
    """A program of ours: how to start it and how to end it."""

    name: str
    command: Sequence[str | Path]
    stop_steps: Sequence[tuple[signal.Signals, float]] = ((signal.SIGTERM, 10.0),)


@dataclass
class Kept:
    """Something that is started again when it ends."""

    name: str
    start: Callable[[], "Server | Child"]
    running: "Server | Child"
    since: float = field(default_factory=time.monotonic)
    failures: int = 0
    start_again_at: float | None = None


class Supervisor:
    """One home, its servers and its programs."""

    def __init__(self, home: Path, environ: Mapping[str, str], say: Callable[[str], None]) -> None:
        self.home = home
        self.environ = dict(environ)
        self.say = say
        self.kept: list[Kept] = []

    # --- servers ---------------------------------------------------------------------------

    def start_servers(self) -> None:
        """Embed what is not given, and complete the environment of the programs."""
        if self.environ.get("REDIS_URL"):
            require_broker(self.environ)
        secrets = Secrets(self.home / "secrets.json")
        if not self.environ.get("SECRET_KEY"):
            self.environ["SECRET_KEY"] = secrets.get_or_make("SECRET_KEY")
        if self.environ.get("DATABASE_URL"):
            self.environ |= roles.complete(self.environ, secrets)
        else:
            self.embed_postgres(secrets)
        if not self.environ.get("REDIS_URL"):
            limit = self.environ.get("AKTIVAT_EVENTS_MAXMEMORY")
            extra = {"maxmemory": limit} if limit else {}
            self.embed_valkey("REDIS_URL", "events", extra)
        if not self.environ.get("BROKER_URL"):
            self.embed_valkey("BROKER_URL", "broker", {})
        environment.write(self.home, self.environ)

    def embed_postgres(self, secrets: Secrets) -> None:
        def start() -> Server:
            running = start_postgres(
                self.home / "postgres",
                sockets=self.home / "run",
                log=self.log("postgres"),
                secrets=secrets,
            )
            for role, variable in roles.VARIABLES.items():
                self.environ[variable] = running.urls[role]
            return running

        self.keep("PostgreSQL", start)

    def embed_valkey(self, variable: str, role: str, extra: Mapping[str, str]) -> None:
        def start() -> Server:
            running = start_valkey(
                self.home / role,
                role="events" if role == "events" else "broker",
                extra=extra,
                sockets=self.home / "run",
                log=self.log(role),
            )
            self.environ[variable] = running.url
            return running

        self.keep(f"the {role} Valkey", start)

    # --- programs --------------------------------------------------------------------------

    def log(self, name: str) -> Path:
        return self.home / "logs" / f"{name}.log"

    def spawn(self, program: Program) -> Child:
        return spawn(
            program.command,
            name=program.name,
            log=self.log(program.name),
            env=self.environ,
            cwd=ROOT,
            stop_steps=program.stop_steps,
        )

    def run(self, name: str, *arguments: str, show: bool = False) -> None:
        """Run one `manage.py` command to its end; raises ServerError when it fails.

        `show`: a slow one, whose lines appear in the terminal as they come.
        """
        child = self.spawn(Program(name, manage(*arguments)))
        shown = 0
        try:
            while (running := child.is_running()) or show:
                for line in child.said().split("\n")[shown:-1] if show else ():
                    self.say(f"      {line}")
                    shown += 1
                if not running:
                    break
                time.sleep(0.1)
        except BaseException:
            child.stop()
            raise
        if child.process.returncode != 0:
            raise ServerError(
                f"`manage.py {' '.join(arguments)}` failed:\n{child.last_words(20)}\n"
                f"All of it is in {child.log}."
            )

    def start_program(self, program: Program) -> None:
        self.keep(program.name, lambda: self.spawn(program))

    def wait_for_web(self, address: str, seconds: float = 60) -> None:
        """Return when the address answers; a web server that ended is told with its reason."""
        deadline = time.monotonic() + seconds
        web = next(one for one in self.kept if one.name == "web")
        while time.monotonic() < deadline and web.running.is_running():
            try:
                urllib.request.urlopen(f"{address}/healthz", timeout=5).close()  # noqa: S310  http
                return
            except urllib.error.HTTPError:
                return
            except OSError:
                time.sleep(0.1)
        child = child_of(web.running)
        raise ServerError(f"The web server does not start; see {child.log}:\n{child.last_words()}")

    # --- keeping and stopping --------------------------------------------------------------

    def keep(self, name: str, start: Callable[[], "Server | Child"]) -> None:
        self.kept.append(Kept(name, start, start()))

    def watch(self, pause: float = 0.3) -> None:
        """Start again whatever ends, until a signal raises Stop."""
        while True:
            for one in self.kept:
                self.look_after(one, time.monotonic())
            time.sleep(pause)

    def look_after(self, one: Kept, now: float) -> None:
        """Start `one` again if it has ended, after a pause that doubles while it keeps ending."""
        if one.start_again_at is None:
            if one.running.is_running():
                return
            one.failures = 1 if now - one.since > SETTLED else one.failures + 1
            pause = min(LONGEST_PAUSE, 2.0 ** (one.failures - 1))
            one.start_again_at = now + pause
            child = child_of(one.running)
            self.say(
                f"{one.name} ended with {child.process.returncode}; "
                f"starting it again in {pause:.0f} s. Its log: {child.log}"
            )
            if not isinstance(one.running, Child):
                one.running.stop()  # frees its folder
        if now >= one.start_again_at:
            try:
                one.running = one.start()
                one.start_again_at = None
                self.say(f"{one.name} runs again.")
            except ServerError as error:
                one.failures += 1
                one.start_again_at = now + min(LONGEST_PAUSE, 2.0**one.failures)
                self.say(str(error))
            one.since = time.monotonic()

    def stop(self) -> None:
        """In the opposite order of starting: programs first, then what they stand on."""
        for one in reversed(self.kept):
            one.running.stop()


def child_of(running: "Server | Child") -> Child:
    return running if isinstance(running, Child) else running.child


def manage(*arguments: str) -> list[str | Path]:
    return [sys.executable, ROOT / "manage.py", *arguments]


def programs(home: Path, environ: Mapping[str, str]) -> list[Program]:
    """The product's programs in the order of starting."""
    celery = [sys.executable, "-m", "celery", "-A", "aktivat"]
    broker = environ["BROKER_URL"]
    if celery_url(broker) != broker:
        # Celery prefers the variable to our settings, and does not speak unix://.
        celery += ["--broker", celery_url(broker)]
    quiet = ["--loglevel", "WARNING"]
    # One process, no pool: the ticks follow each other anyway, and there is nobody to orphan.
    worker = ["worker", "--pool", "solo", "--without-gossip", "--without-mingle", *quiet]
    schedule = str(home / "beat-schedule")
    return [
        Program(
            "web",
            [sys.executable, "-m", "gunicorn", "--config", GUNICORN],
            ((signal.SIGTERM, 12.0), (signal.SIGQUIT, 3.0)),
        ),
        Program("worker", [*celery, *worker], ((signal.SIGTERM, 20.0), (signal.SIGQUIT, 5.0))),
        Program("beat", [*celery, "beat", "--schedule", schedule, "--pidfile", "", *quiet]),
    ]


def require_broker(environ: Mapping[str, str]) -> None:
    """Events given: the rest has to be given too, and to be another instance."""
    if not environ.get("BROKER_URL"):
        raise ServerError(
            "REDIS_URL is set and BROKER_URL is not. Set BROKER_URL to a second Valkey or Redis "
            "(not another database of the same one: they would share memory and eviction)."
        )


def require_port(bind: str, port: int) -> None:
    """Raises ServerError when somebody listens there already."""
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bind, port))
        except OSError as error:
            raise ServerError(
                f"Cannot listen on {bind}:{port} ({error.strerror}). "
                f"Choose another port, for example: PORT={port + 1} make run"
            ) from None


def whole_number(environ: Mapping[str, str], name: str, default: int) -> int:
    given = environ.get(name, "").strip()
    if given and not given.isdigit():
        raise ServerError(f"{name}={given!r} is not a whole number. Set it to one, or unset it.")
    return int(given or default)


def is_off(environ: Mapping[str, str], name: str) -> bool:
    return environ.get(name, "1").strip().lower() in {"0", "false", "no", "off", ""}


def serve(home: Path, environ: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Start all of it and keep it running until Stop."""
    port, bind = whole_number(environ, "PORT", 8000), environ.get("BIND") or "127.0.0.1"
    demo = not is_off(environ, "AKTIVAT_DEMO")
    require_port(bind, port)
    address = f"http://{'127.0.0.1' if bind in ('0.0.0.0', '::') else bind}:{port}"  # noqa: S104
    supervisor = Supervisor(home, environ, say)
    supervisor.environ |= {
        "AKTIVAT_HOME": str(home),
        "PORT": str(port),
        "BIND": bind,
        "PYTHONUNBUFFERED": "1",
    }
    try:
        say(f"[4/{STEPS}] Starting PostgreSQL and Valkey ...")
        supervisor.start_servers()
        say(f"[5/{STEPS}] Checking the servers and bringing the database up to date ...")
        # It asks every check first, those of the servers too: a `check` before it would ask twice.
        supervisor.run("migrate", "migrate", "--database", "owner", "--no-input")
        if environ.get("AKTIVAT_ENV") == "production":
            supervisor.run("collectstatic", "collectstatic", "--no-input")
        say(f"[6/{STEPS}] Starting web, worker and beat{' and the demo' if demo else ''} ...")
        for program in programs(home, supervisor.environ):
            supervisor.start_program(program)
        supervisor.wait_for_web(address)
        if demo:
            start_demo(supervisor, address)
        say(greeting(home, address, demo))
        supervisor.watch()
    finally:
        ignore_signals()
        say("Stopping ...")
        supervisor.stop()
        say("Everything is stopped.")


def start_demo(supervisor: Supervisor, address: str) -> None:
    """History once, then live traffic. Without a demo the product still runs."""
    try:
        supervisor.run("seed_demo", "seed_demo", show=True)
        live = Program("demo", manage("simulate_demo", "--url", address), ((signal.SIGTERM, 5.0),))
        supervisor.start_program(live)
    except ServerError as error:
        supervisor.say(f"The demo could not be made, all the rest runs. {error}")


def greeting(home: Path, address: str, demo: bool) -> str:
    """The last lines of a start: where to go and how to get in."""
    lines = ["", f"Aktivat runs at {address}"]
    try:
        login = json.loads((home / "demo.json").read_text()) if demo else {}
    except (OSError, ValueError):
        login = {}
    if login:
        lines.append(f"Demo login: {login['email']}   password: {login['password']}")
    lines += [f"Logs, and e-mails that were sent: {home / 'logs'}", "Stop with Ctrl-C.", ""]
    return "\n".join(lines)


def on_signal(number: int, frame: object) -> None:
    ignore_signals()  # the stop itself is not to be interrupted
    raise Stop


def ignore_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def die_with_make(environ: Mapping[str, str]) -> None:
    """Started by make: its kill -9 must not leave us running in the background."""
    if environ.get("AKTIVAT_STARTED_BY_MAKE") == "1" and sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)  # 1: PR_SET_PDEATHSIG


def main() -> None:
    """Exit code 0 after an asked-for stop, 1 with a message when something does not start."""
    if sys.platform != "linux":
        sys.exit("`make run` needs Linux; elsewhere use docker/ (see docs/hosting.md).")
    home = Path(os.environ.get("AKTIVAT_HOME") or ROOT / "var").resolve()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    try:
        die_with_make(os.environ)
        lock = FolderLock(home, "Another `make run`")
        serve(home, os.environ, lambda line: print(line, flush=True))
        lock.release()
    except Stop:
        sys.exit(0)
    except ServerError as error:
        sys.exit(str(error))
