"""Several client processes at once, and the probe that tells when the product answers again.

Enters: a Product. Leaves: journals in a folder, what the clients met, and, for each moment at
which a fault was healed, how long it took until the next event was accepted and until the drain
moved on. Called by trial.py.
"""

import http.client
import json
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from pathlib import Path

import redis

from tests.instruments.chaos.clients import AGENT, PATIENCE, visitor_of
from tests.instruments.chaos.journal import Sent, Writer
from tests.instruments.chaos.product import Product

ROOT = Path(__file__).resolve().parents[3]


class Load:
    """Clients that send from `start` until `finish`."""

    def __init__(
        self,
        product: Product,
        folder: Path,
        *,
        seed: str,
        clients: int = 3,
        threads: int = 3,
        rate: int = 600,
        largest: int = 60,
    ) -> None:
        self.processes: list[subprocess.Popen[str]] = []
        self.met: Counter[str] = Counter()
        folder.mkdir(exist_ok=True)
        for number in range(clients):
            given = {
                "port": product.proxies["web"].port,
                "places": [place.key for place in product.places],
                "seed": seed,
                "name": f"{seed}-client{number}",
                "folder": str(folder),
                "threads": threads,
                "rate": rate / clients,
                "largest": largest,
            }
            command = [sys.executable, "-m", "tests.instruments.chaos.clients", json.dumps(given)]
            process = subprocess.Popen(
                command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
            )
            self.processes.append(process)

    def finish(self) -> Counter[str]:
        """Ask them to end and wait until they are sure of all they sent."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            out, _ = process.communicate(timeout=PATIENCE + 30)
            self.met.update(json.loads(out))
        self.processes = []
        return self.met

    def kill(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        self.processes = []


class Probe(threading.Thread):
    """One event after the other, to learn when the product accepts; and how the drain moves."""

    def __init__(self, product: Product, folder: Path, name: str) -> None:
        super().__init__(daemon=True)
        self.product = product
        self.port = product.proxies["web"].port
        self.key = product.places[0].key
        self.writer = Writer(folder / f"{name}.journal")
        self.accepted_at = 0.0  # when the last accepted event was *sent*
        self.accepted_told_at = 0.0
        self.drained_at = 0.0
        self.removed = -1
        self.events = product.valkey(1.0)
        self.ending = threading.Event()

    def run(self) -> None:
        while not self.ending.wait(0.05):
            self.ask()
            self.look_at_drain()
        self.writer.close()
        self.events.close()

    def ask(self) -> None:
        event_id, now = uuid.uuid4(), time.time_ns() // 1_000_000
        self.writer.attempt(event_id.bytes, Sent(0, 0, now, True))
        body = {
            "property": self.key,
            "name": "pageview",
            "event_id": str(event_id),
            "visitor": str(visitor_of(0)),
            "url": "https://shop.example/probe",
            "time": now,
        }
        begin = time.monotonic()
        pipe = http.client.HTTPConnection("127.0.0.1", self.port, timeout=1.5)
        try:
            headers = {"Content-Type": "application/json", "User-Agent": AGENT}
            pipe.request("POST", "/track", json.dumps(body), headers)
            if pipe.getresponse().status == 202:
                self.writer.acknowledge(event_id.bytes)
                self.accepted_at, self.accepted_told_at = begin, time.monotonic()
        except (OSError, http.client.HTTPException):
            pass
        finally:
            pipe.close()

    def look_at_drain(self) -> None:
        """Entries that were taken out of the streams so far; growing means that it moves."""
        try:
            removed = waiting = 0
            for place in self.product.places:
                info = self.events.xinfo_stream(place.stream)
                removed += info["entries-added"] - info["length"]
                waiting += info["length"]
        except redis.ResponseError:  # no such key yet
            pass
        except redis.RedisError:
            return
        if removed != self.removed or waiting == 0:
            self.drained_at = time.monotonic()
        self.removed = removed

    def finish(self) -> None:
        self.ending.set()
        self.join()
