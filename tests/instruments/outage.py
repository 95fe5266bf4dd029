"""`python -m tests.instruments.outage`, or `make outage`: Postgres is away, events keep coming.

Servers, web, worker and beat of its own; a sender posts RATE= events a second (300). PostgreSQL is
frozen (SIGSTOP) for SECONDS= (30), and comes back; then it is stopped, and started again. Prints
what was refused, the seconds until the backlog was gone while events kept coming, and what an hour
at 1,000 events a second needs in Valkey. Exit code 1 when anything was refused, lost or doubled,
or when the backlog took longer than a fifth of the outage.
"""

import http.client
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any
from uuid import UUID, uuid4

import redis

from aktivat.servers.children import ServerError
from tests.instruments.processes import all_processes, family
from tests.instruments.product import Product, running_product
from tests.instruments.traffic import Step, Traffic, steps

SHARE = 1 / 5  # of the outage, in which the backlog is to be gone
POST = 20  # events of a request
SETTLED = 2.0  # seconds of traffic: with no more in the stream there is no backlog
WARM_UP = 5.0
HOUR = 3_600


@dataclass
class Sender:
    """Posts events at a rate, on a connection that is kept, until `ends` is set."""

    port: int
    key: str
    rate: float
    acknowledged: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    ends: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        coming = steps(Traffic(events=10**9, rate=self.rate))
        due = time.monotonic()
        while not self.ends.is_set():
            events = [self.event(step) for step in islice(coming, POST)]
            self.post(connection, events)
            due += POST / self.rate
            time.sleep(max(0.0, due - time.monotonic()))
        connection.close()

    def event(self, step: Step) -> dict[str, Any]:
        return {
            "name": "engagement" if step.is_last else "pageview",
            "event_id": str(uuid4()),
            "visitor": str(UUID(int=step.visitor, version=4)),
            "url": f"https://shop.example/product-{step.page}",
            "title": f"Product number {step.page} of the shop",
        } | ({"engaged_ms": 5_000} if step.is_last else {})

    def post(self, connection: http.client.HTTPConnection, events: list[dict[str, Any]]) -> None:
        body = json.dumps({"property": self.key, "events": events})
        try:
            connection.request("POST", "/track", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            said = json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            connection.close()
            self.refuse(type(error).__name__, len(events))
            return
        self.acknowledged += said.get("accepted", 0)
        if answer.status != 202 or said["accepted"] != len(events):
            self.refuse(str(answer.status), len(events) - said.get("accepted", 0))

    def refuse(self, why: str, count: int) -> None:
        self.refused[why] = self.refused.get(why, 0) + count


@contextmanager
def sending(sender: Sender) -> Iterator[None]:
    thread = threading.Thread(target=sender.run)
    thread.start()
    try:
        yield
    finally:
        sender.ends.set()
        thread.join()


@dataclass(frozen=True)
class Outage:
    """How Postgres was away, what had gathered in the stream, and seconds until it was gone."""

    way: str
    seconds: float
    backlog: int
    bytes: int
    caught_up: float | None

    def line(self) -> str:
        gone = "not in time" if self.caught_up is None else f"{self.caught_up:.1f}"
        return f"{self.way:<10} {self.seconds:>8.0f} {self.backlog:>9,} {gone:>12}"


def faults(
    outages: list[Outage], refused: dict[str, int], acknowledged: int, balance: dict[str, Any]
) -> list[str]:
    """What did not hold, in words."""
    found = [f"{count:,} events were refused ({why})." for why, count in refused.items()]
    if balance["stored"] != acknowledged:
        found.append(
            f"{acknowledged:,} events were acknowledged, {balance['stored']:,} are stored."
        )
    if not balance["adds_up"]:
        found.append(f"The ledger does not add up: {balance['differences']}.")
    for outage in outages:
        if outage.backlog == 0:
            found.append(f"{outage.way}: nothing was waiting, so nothing was shown.")
        if outage.caught_up is None or outage.caught_up > outage.seconds * SHARE:
            found.append(
                f"{outage.way}: the backlog took more than {outage.seconds * SHARE:.1f} s."
            )
    return found


# -- how Postgres goes away ------------------------------------------------------------------


@contextmanager
def frozen(product: Product) -> Iterator[None]:
    """Every process of it stopped where it is: connections stay open and silent."""
    (root,) = product.roots["postgres"]
    members = [one.pid for one in family(root, all_processes())]
    try:
        _signal(members, signal.SIGSTOP)
        yield
    finally:
        _signal(members, signal.SIGCONT)


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


@contextmanager
def stopped(product: Product) -> Iterator[None]:
    """No server at all: connections are closed and refused."""
    kept = next(one for one in product.supervisor.kept if one.name == "PostgreSQL")
    kept.running.stop()
    try:
        yield
    finally:
        kept.running = kept.start()
        product.roots["postgres"] = [kept.running.pid]  # type: ignore[union-attr]


WAYS: dict[str, Callable[[Product], Any]] = {"frozen": frozen, "stopped": stopped}


# -- the run ---------------------------------------------------------------------------------


class Stream:
    """The only property's stream."""

    def __init__(self, product: Product) -> None:
        self.client = redis.Redis(unix_socket_path=product.events_socket)

    def _key(self) -> bytes:
        return next(self.client.scan_iter(match="{*}:s", count=10_000), b"")

    def entries(self) -> int:
        return int(self.client.xlen(self._key()))

    def bytes(self) -> int:
        return int(self.client.memory_usage(self._key(), samples=0) or 0)

    def maxmemory(self) -> int:
        return int(self.client.config_get("maxmemory")["maxmemory"])


def suffer(product: Product, way: str, seconds: float, rate: float) -> Outage:
    """One outage under way of the traffic, and what comes after it."""
    stream = Stream(product)
    with WAYS[way](product):
        time.sleep(seconds)
        backlog, size = stream.entries(), stream.bytes()
    back = time.monotonic()
    caught_up = None
    while time.monotonic() - back < 3 * seconds:
        if stream.entries() <= rate * SETTLED:
            caught_up = time.monotonic() - back
            break
        time.sleep(0.1)
    return Outage(way, seconds, backlog, size, caught_up)


def run(product: Product, rate: float, seconds: float) -> list[str]:
    port, key = product.start_web(), product.make_property("outage")
    for name in ("worker", "beat"):
        product.start(name)
    sender = Sender(port, key, rate)
    outages = []
    with sending(sender):
        time.sleep(WARM_UP)
        for way in WAYS:
            outages.append(suffer(product, way, seconds, rate))
            time.sleep(WARM_UP)
    for name in ("beat", "worker"):
        product.stop_part(name)
    (balance,) = (
        one for one in product.manage("reconcile")["properties"] if one["property"] == key
    )
    print(f"{'Postgres':<10} {'seconds':>8} {'backlog':>9} {'gone after':>12}")
    for outage in outages:
        print(outage.line())
    each = max(outage.bytes / max(outage.backlog, 1) for outage in outages)
    limit = Stream(product).maxmemory()
    print(
        f"{rate:,.0f} events/s: {sender.acknowledged:,} acknowledged, {balance['stored']:,} stored,"
        f" {sum(sender.refused.values()):,} refused.\n"
        f"{each:.0f} bytes an event in the stream: an hour at 1,000 events/s needs"
        f" {each * HOUR * 1_000 / 2**20:,.0f} MB; maxmemory is {limit / 2**20:,.0f} MB."
    )
    return faults(outages, sender.refused, sender.acknowledged, balance)


def main() -> int:
    rate, seconds = float(os.environ.get("RATE", "300")), float(os.environ.get("SECONDS", "30"))
    try:
        with running_product(lambda line: print(line, file=sys.stderr)) as product:
            found = run(product, rate, seconds)
    except ServerError as error:
        found = [str(error)]
    except KeyboardInterrupt:
        found = ["Stopped."]
    for fault in found:
        print(f"FAILED: {fault}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
