"""The product on servers of its own, as `make run` starts it, for an instrument to try.

In: a folder that may be removed. Out: a Product with an account, properties and an API key; its
programs are started one by one, so that an instrument decides what runs beside what. Leaving the
`with` stops everything and removes the folder, also after Ctrl-C and SIGTERM.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import urlsplit

from aktivat.servers.children import Child, ServerError, spawn
from aktivat.servers.supervisor import GUNICORN, ROOT, Program, Supervisor, programs
from aktivat.servers.valkey import free_ports
from tests.instruments.processes import cpu_seconds

ACCOUNT = "bench"
STARTS_WITHIN = 60.0


class Product:
    """Started servers; `start_web`, `start` and `spawn` add programs."""

    def __init__(self, home: Path, supervisor: Supervisor) -> None:
        self.home = home
        self.supervisor = supervisor
        self.roots: dict[str, list[int]] = {
            "valkey": [self._pid("the events Valkey")],
            "broker": [self._pid("the broker Valkey")],
            "postgres": [self._pid("PostgreSQL")],
        }
        self._children: list[Child] = []

    @property
    def environ(self) -> dict[str, str]:
        return self.supervisor.environ

    @property
    def events_socket(self) -> str:
        """Where the events Valkey listens."""
        return urlsplit(self.environ["REDIS_URL"]).path

    def _pid(self, name: str) -> int:
        server: Any = next(one.running for one in self.supervisor.kept if one.name == name)
        return server.child.pid

    # -- programs ----------------------------------------------------------------------------

    def start_web(self, *options: str, part: str = "web", path: str = "/healthz") -> int:
        """gunicorn with the product's configuration, one worker; returns its port.

        `options` come last, so they win: another application, another worker class.
        """
        with free_ports(1) as ports:
            port = ports[0]
        given = ["--config", str(GUNICORN), "--workers", "1", "--bind", f"127.0.0.1:{port}"]
        child = self.spawn([sys.executable, "-m", "gunicorn", *given, *options], part)
        wait_until_it_answers(child, f"http://127.0.0.1:{port}{path}")
        return port

    def start(self, name: str) -> Child:
        """One of the programs of `make run`: worker or beat."""
        program: Program = next(
            one for one in programs(self.home, self.environ) if one.name == name
        )
        return self.spawn(program.command, name, program.stop_steps)

    def spawn(
        self,
        command: Sequence[str | Path],
        part: str,
        stop_steps: Sequence[tuple[signal.Signals, float]] = ((signal.SIGTERM, 12.0),),
    ) -> Child:
        """A program whose CPU counts under `part`."""
        child = spawn(
            command,
            name=part,
            log=self.home / "logs" / f"{part}.log",
            env=self.environ,
            cwd=ROOT,
            stop_steps=stop_steps,
        )
        self._children.append(child)
        self.roots.setdefault(part, []).append(child.pid)
        return child

    def stop_part(self, part: str) -> None:
        """Stop the programs of a part."""
        for child in self._children:
            if child.pid in self.roots.get(part, ()):
                child.stop()
        self.roots.pop(part, None)

    def stop(self) -> None:
        for child in reversed(self._children):
            child.stop()
        self.supervisor.stop()

    # -- what is asked of it -----------------------------------------------------------------

    def cpu(self) -> dict[str, float]:
        """Seconds of CPU of each part so far; only differences mean anything."""
        return {part: cpu_seconds(pids) for part, pids in self.roots.items()}

    def manage(self, *arguments: str) -> dict[str, Any]:
        """The JSON that a `manage.py` command prints. Raises ServerError with its words."""
        done = subprocess.run(
            [sys.executable, ROOT / "manage.py", *arguments, "--json"],
            env=self.environ,
            cwd=ROOT,
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise ServerError(f"`manage.py {' '.join(arguments)}` failed:\n{done.stderr[-2000:]}")
        return json.loads(done.stdout)

    def make_property(self, name: str, timezone: str = "Europe/Berlin") -> str:
        """The key of a property that takes events from any host."""
        given = ("--timezone", timezone, "--hostname", "*")
        return str(self.manage("create_property", ACCOUNT, name, *given)["key"])

    def make_api_key(self, *grants: str) -> str:
        given = ("--name", "bench", "--grant", *grants)
        return str(self.manage("create_api_key", ACCOUNT, *given)["key"])


def wait_until_it_answers(child: Child, address: str) -> None:
    """Poll until any HTTP answer comes; raises ServerError with the end of the log."""
    deadline = time.monotonic() + STARTS_WITHIN
    while True:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            if not child.is_running() or time.monotonic() > deadline:
                raise ServerError(
                    f"{child.name} does not answer:\n{child.last_words(30)}"
                ) from None
            time.sleep(0.05)


def clean_environment(given: Mapping[str, str]) -> dict[str, str]:
    """The machine's environment without what would name servers that are not ours."""
    ours = ("AKTIVAT_", "DJANGO_")
    named = {
        "DATABASE_URL", "DATABASE_OWNER_URL", "DATABASE_WORKER_URL", "REDIS_URL", "BROKER_URL",
        "SECRET_KEY", "WEB_WORKERS", "PORT", "BIND", "ALLOWED_HOSTS", "TRUSTED_PROXIES", "DEBUG",
    }  # fmt: skip
    return {
        name: value
        for name, value in given.items()
        if name not in named and not name.startswith(ours)
    }


@contextmanager
def running_product(
    say: Callable[[str], None], environ: Mapping[str, str] | None = None
) -> Iterator[Product]:
    """Servers, tables and an account in a new folder; all gone afterwards."""
    home = Path(tempfile.mkdtemp(prefix="aktivat-instrument-"))
    wanted = clean_environment(os.environ) | {
        "AKTIVAT_HOME": str(home),
        "AKTIVAT_DEMO": "0",
        "WEB_WORKERS": "1",
        "PYTHONUNBUFFERED": "1",
        # Asked for every event, as everywhere, and out of reach of what one machine can send.
        "ADDRESS_RATE": "10000000",
        "ADDRESS_BURST": "100000000",
        "API_RATE": "0",
        "KEY_RATE": "10000000",
        "KEY_BURST": "100000000",
        **(environ or {}),
    }
    supervisor = Supervisor(home, wanted, say)
    product: Product | None = None
    try:
        with ended_by_signals():
            say("Starting PostgreSQL and two Valkeys ...")
            supervisor.start_servers()
            product = Product(home, supervisor)
            supervisor.run("migrate", "migrate", "--database", "owner", "--no-input")
            product.manage("create_account", ACCOUNT, "--owner", "bench@example.com")
            yield product
    finally:
        with undisturbed():
            (product or supervisor).stop()
            shutil.rmtree(home, ignore_errors=True)


@contextmanager
def undisturbed() -> Iterator[None]:
    """A second Ctrl-C does not cut off the cleaning up."""
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {one: signal.signal(one, signal.SIG_IGN) for one in signals}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end us as Ctrl-C does: with the `finally`s on the way out."""

    def end(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {one: signal.signal(one, end) for one in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
