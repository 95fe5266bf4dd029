"""`manage.py simulate_demo`: the demo's visitors of this moment, until SIGTERM.

They come over HTTP like anybody's: POST /track of the running collector, with the API key of
demo.json, so that each may have an address and an agent of its own. One thread, one connection,
a few requests a second.
"""

import heapq
import http.client
import json
import os
import signal
import threading
import time
from argparse import ArgumentParser
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any
from urllib.parse import urlsplit

from django.core.management.base import BaseCommand, CommandError

from tracking.demo import scene
from tracking.demo.simulator import Plan, Step, heartbeats

FEWEST, MOST = 20, 40  # visitors at a time
STAY_MS = 3_000_000  # how long a visit with its open tab lasts on average
LATE_MS = 15_000  # a heartbeat this old tells nothing any more
KEPT = 1_000  # events that wait for a collector that is away
LONGEST_PAUSE = 30.0


class Away(Exception):
    """The collector cannot take an event now: it is away, starting, or too busy."""


class Denied(Exception):
    """The collector does not take the key: the demo was made anew."""


class Collector:
    """The running collector, over one connection that is kept open. `send` raises Away, Denied."""

    def __init__(self, url: str) -> None:
        self.address = urlsplit(url)
        self.connection: http.client.HTTPConnection | None = None

    def send(self, play: scene.Scene, payload: dict[str, Any]) -> None:
        body = json.dumps({"property": play.property, **payload})
        headers = {
            "Authorization": f"Bearer {play.api_key}",
            "Content-Type": "application/json",
        }
        try:
            if self.connection is None:
                self.connection = self._connect()
            self.connection.request("POST", "/track", body, headers)
            answer = self.connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Away(str(error)) from error
        if answer.status in (400, 401, 403):
            raise Denied(str(answer.status))
        if answer.status == 429 or answer.status >= 500:
            raise Away(str(answer.status))

    def _connect(self) -> http.client.HTTPConnection:
        secure = self.address.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        return kind(self.address.hostname or "127.0.0.1", self.address.port, timeout=10)

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None


@dataclass
class Crowd:
    """Who is in the shop, and what each does next."""

    plan: Plan
    rng: Random
    _next: list[tuple[int, int, Step, Iterator[Step]]] = field(default_factory=list)
    _came: int = 0
    _next_arrival: int = 0

    def __len__(self) -> int:
        return len(self._next)

    def due(self, now: int) -> Iterator[Step]:
        """The steps whose time has come by `now` (epoch ms), in order; lets visitors in."""
        if now >= self._next_arrival:
            if len(self) < MOST:
                self._arrive(now)
            self._next_arrival = now + self._gap(now)
        while self._next and self._next[0][0] <= now:
            _, number, step, rest = self._next[0]
            following = next(rest, None)
            if following is None:
                heapq.heappop(self._next)
            else:
                heapq.heapreplace(self._next, (following.at, number, following, rest))
            yield step

    def rests(self, now: int) -> float:
        """Seconds until something happens, at most one."""
        moments = [self._next_arrival, *(entry[0] for entry in self._next[:1])]
        return max(0.0, min(1.0, (min(moments) - now) / 1000))

    def _arrive(self, now: int) -> None:
        self._came += 1
        visit = self.plan.live_visit(self._came, now)
        steps = heapq.merge(visit.steps, heartbeats(visit, self.rng), key=lambda step: step.at)
        heapq.heappush(self._next, (now, self._came, next(steps), steps))

    def _gap(self, now: int) -> int:
        """Milliseconds to the next arrival: short until the shop is no longer empty."""
        if len(self) < FEWEST:
            return round(self.rng.uniform(800, 2_500))
        wanted = min(MOST, FEWEST + 7 * self.plan.rhythm(now))
        return round(self.rng.expovariate(wanted / STAY_MS))


class Traffic:
    """Sends what the crowd does; keeps events, not heartbeats, while the collector is away."""

    def __init__(self, collector: Collector, play: scene.Scene, rng: Random) -> None:
        self.collector, self.play = collector, play
        self.crowd = Crowd(play.plan(), rng)
        self.waiting: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self.pause = 0.0

    def tick(self, now: int) -> float:
        """Send what is due; seconds to wait before the next call."""
        for step in self.crowd.due(now):
            if not is_ping(step.payload) or (now - step.at < LATE_MS and not self.pause):
                self.waiting.append(step.payload)
        try:
            while self.waiting:
                self.collector.send(self.play, self.waiting[0])
                self.waiting.popleft()
                self.pause = 0.0
        except Away:
            events = [payload for payload in self.waiting if not is_ping(payload)]
            self.waiting = deque(events, maxlen=KEPT)
            self.pause = min(LONGEST_PAUSE, 2 * self.pause or 0.5)
        except Denied:
            self.waiting.clear()
            self.pause = LONGEST_PAUSE
            self.play = scene.load() or self.play
        return self.pause or self.crowd.rests(now)


def is_ping(payload: dict[str, Any]) -> bool:
    return bool(payload["name"] == "ping")


def wait_for_scene(stop: Callable[[float], bool]) -> scene.Scene | None:
    """The scene, as soon as seed_demo has made it; None when stopped before."""
    while (play := scene.load()) is None:
        if stop(1.0):
            return None
    return play


class Command(BaseCommand):
    help = "Send live visitors to the demo's property until SIGTERM."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--url", help="of the collector; http://127.0.0.1:PORT unless told")
        parser.add_argument("--seconds", type=float, help="end by itself after that time")

    def handle(self, *args: Any, **options: Any) -> None:
        url = options["url"] or f"http://127.0.0.1:{os.environ.get('PORT') or 8000}"
        if urlsplit(url).scheme not in ("http", "https"):
            raise CommandError("--url must begin with http:// or https://.")
        stopped = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopped.set())
        ends = time.monotonic() + options["seconds"] if options["seconds"] else None
        play = wait_for_scene(stopped.wait)
        if play is None:
            return
        traffic = Traffic(Collector(url), play, Random())  # noqa: S311  # a demo, not a secret
        while not stopped.is_set() and (ends is None or time.monotonic() < ends):
            stopped.wait(traffic.tick(time.time_ns() // 1_000_000))
        traffic.collector.close()
