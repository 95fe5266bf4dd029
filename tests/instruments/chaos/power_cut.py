"""The argument about a power cut: what was answered had been given to the disk before.

Enters: a running events Valkey and something that sends events. Leaves: its system calls in order
(strace), and whether any answer left between a write to the log and the fdatasync of it. kill -9
cannot show this, because the page cache survives the process. Called by __main__.py and
tests/test_power_cut.py.
"""

import contextlib
import json
import re
import shutil
import subprocess
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.instruments.chaos.clients import AGENT
from tests.instruments.chaos.product import NotHere, Product

CALLS = "fdatasync,fsync,write,sendto,sendmsg,writev,pwrite64,pwritev"
LINE = re.compile(r"(?:(?P<pid>\d+) +)?(?:[\d:.]+ )?(?P<call>\w+)\((?P<fd>\d+)(?P<rest>.*)")
EVENTS = 20


@dataclass
class Order:
    """answers: to clients; synced: log writes that were synced; early: answers before that."""

    answers: int = 0
    synced: int = 0
    early: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return self.synced > 0 and not self.early


def order_of(lines: Iterable[str], log: set[int], clients: set[int]) -> Order:
    """Judge the calls. `log`, `clients`: file descriptors of the log and of connections."""
    order, waits = Order(), False
    for line in lines:
        found = LINE.match(line)
        if not found:
            continue
        call, descriptor = found["call"], int(found["fd"])
        if descriptor in log and call in ("fdatasync", "fsync"):
            done = line.rstrip().endswith("= 0") or "= 0 <" in line
            if waits and done:
                order.synced += 1
                waits = False
        elif descriptor in log:
            waits = True
        elif descriptor in clients:
            order.answers += 1
            if waits:
                order.early.append(line.rstrip())
    return order


@contextlib.contextmanager
def traced(pid: int) -> Iterator[list[str]]:
    """The system calls of the process while the block runs. Raises NotHere."""
    strace = shutil.which("strace")
    if strace is None:
        raise NotHere("strace is not installed (Debian: apt-get install strace).")
    lines: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        out, said = Path(folder) / "calls", Path(folder) / "said"
        with said.open("wb") as errors:
            command = [strace, "-f", "-tt", "-s", "60", "-e", f"trace={CALLS}", "-o", str(out)]
            process = subprocess.Popen([*command, "-p", str(pid)], stderr=errors)
        try:
            until = time.monotonic() + 10
            while b"attached" not in said.read_bytes():
                if process.poll() is not None or time.monotonic() > until:
                    raise NotHere(f"strace cannot attach: {said.read_text().strip()}")
                time.sleep(0.02)
            yield lines
        finally:
            process.terminate()
            process.wait()
            if out.exists():
                lines += out.read_text(errors="replace").splitlines()


def descriptors(pid: int) -> tuple[set[int], set[int]]:
    """Those of the append-only log, and those of sockets."""
    log, sockets = set(), set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            target = str(entry.readlink())
            if ".aof" in target:
                log.add(int(entry.name))
            elif target.startswith("socket:"):
                sockets.add(int(entry.name))
    return log, sockets


def order_while(pid: int, work: Callable[[], None]) -> tuple[Order, list[str]]:
    """Do the work, and say in which order the process wrote, synced and answered."""
    with traced(pid) as lines:
        work()
        log, sockets = descriptors(pid)
    return order_of(lines, log, sockets), lines


def send(port: int, key: str, count: int = EVENTS) -> None:
    """Events one after the other, each of them acknowledged."""
    for number in range(count):
        body = {
            "property": key,
            "name": "pageview",
            "event_id": str(uuid.uuid4()),
            "visitor": str(uuid.uuid4()),
            "url": f"https://shop.example/{number}",
        }
        headers = {"Content-Type": "application/json", "User-Agent": AGENT}
        url = f"http://127.0.0.1:{port}/track"
        request = urllib.request.Request(url, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=20) as answer:
            assert answer.status == 202


def show_order(say: Callable[[str], None]) -> bool:
    """Print the order for one event, and judge all; `everysec` has to be found out."""
    product = Product()
    try:
        product.start()
        key, pid = product.places[0].key, product.child("the events Valkey").pid

        def work() -> None:
            send(product.web_port, key)

        work()  # warm
        always, lines = order_while(pid, work)
        with product.valkey() as client:
            client.config_set("appendfsync", "everysec")
        everysec, _ = order_while(pid, work)
    finally:
        product.stop()
    for line in excerpt(lines):
        say(f"    {line[:150]}")
    say(
        f"always:   {EVENTS} events acknowledged, {always.synced} synced log writes, "
        f"{always.answers} answers, {len(always.early)} of them before fdatasync"
    )
    say(f"everysec: {len(everysec.early)} answers before fdatasync (has to be found out)")
    return always.holds and always.synced >= EVENTS and bool(everysec.early)


def excerpt(lines: list[str]) -> list[str]:
    """Around one log write: the write, its fdatasync, the answer."""
    for at, line in enumerate(lines):
        if "fdatasync(" in line:
            return lines[max(0, at - 1) : at + 3]
    return lines[:4]
