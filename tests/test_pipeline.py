"""The whole road at once: HTTP in, the worker killed on the way, every number out.

Two thousand events in random order, each sent once or twice, some days late, some in batches,
while a real Celery worker drains and rolls up, is killed with -9 and started again.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.people import new_property
from tests.test_collector import post

ROOT = Path(__file__).parent.parent
EVENTS = 2_000
DAY_MS = 86_400_000


def history(seed: int, now: int) -> list[dict[str, Any]]:
    dice = random.Random(seed)
    visitors = [str(uuid.UUID(int=dice.getrandbits(128), version=4)) for _ in range(150)]
    events = []
    for _ in range(EVENTS):
        late = dice.random() < 0.2
        age = dice.randrange(DAY_MS, 6 * DAY_MS) if late else dice.randrange(3 * 3_600_000)
        events.append(
            {
                "event_id": str(uuid.UUID(int=dice.getrandbits(128), version=4)),
                "name": dice.choice(["pageview", "pageview", "signup", "engagement"]),
                "visitor": dice.choice(visitors),
                "url": f"https://shop.example/{dice.randrange(30)}",
                "time": now - age,
                "engaged_ms": dice.randrange(20_000),
            }
        )
    return events


def requests_of(events: list[dict[str, Any]], key: str, seed: int) -> list[dict[str, Any]]:
    """Every event once or twice, in random order, alone or in batches of up to 40."""
    dice = random.Random(seed)
    sent = events + [event for event in events if dice.random() < 0.5]
    dice.shuffle(sent)
    requests: list[dict[str, Any]] = []
    while sent:
        size = dice.choice([1, 1, 1, 10, 40])
        batch, sent = sent[:size], sent[size:]
        one = {"property": key} | batch[0]
        requests.append(one if size == 1 else {"property": key, "events": batch})
    return requests


class Worker:
    """Celery as in production, with beat inside; killed without a warning."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "celery", "-A", "aktivat", "worker", "--pool", "solo"]
        beat = ["--beat", "--schedule", str(self.folder / "schedule"), "--loglevel", "error"]
        with (self.folder / "worker.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *beat], cwd=ROOT, stdout=log, stderr=log, start_new_session=True
            )

    def kill(self) -> None:
        with suppress(ProcessLookupError):  # killed before
            os.killpg(self.process.pid, signal.SIGKILL)  # beat inside is a process of its own
        self.process.wait()


def stored(place: Any) -> int:
    from tracking.models import Event

    return Event.objects.using("worker").filter(property_id=place.pk).count()


def manage(*arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments, "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def wait_for(condition: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.2)


def test_everything_sent_is_counted_once(web_server: str, tmp_path: Path) -> None:
    from accounts.tenancy import tenant
    from properties.periods import parse_range, zone
    from reports.queries import Question, ask
    from tracking.collecting import now_ms

    place = new_property(timezone="Europe/Stockholm")
    events = history(7, now_ms())
    requests = requests_of(events, place.key, 8)
    worker = Worker(tmp_path)
    try:
        with ThreadPoolExecutor(8) as pool:
            half = len(requests) // 2
            answers = list(pool.map(lambda r: post(web_server, r), requests[:half]))
            wait_for(lambda: stored(place) > 0)
            worker.kill()
            answers += list(pool.map(lambda r: post(web_server, r), requests[half:]))
        worker.start()
        wait_for(lambda: stored(place) == EVENTS)
    finally:
        worker.kill()
    assert {answer.status for answer in answers} == {202}
    assert sum(answer.json["accepted"] for answer in answers) == EVENTS
    sent = sum(len(request.get("events", [1])) for request in requests)
    assert sum(answer.json["duplicate"] for answer in answers) == sent - EVENTS

    manage("drain")
    manage("roll_up")
    manage("reconcile", place.key)
    from datetime import UTC, datetime

    now = datetime.now(UTC)
    within = parse_range("30d", zone(place.timezone), now)
    metrics = ("events", "pageviews", "visitors", "sessions", "engaged_total")
    expected = {
        "events": EVENTS,
        "pageviews": sum(event["name"] == "pageview" for event in events),
        "visitors": len({event["visitor"] for event in events}),
        "sessions": len(sessions_of(events)),
        "engaged_total": sum(event["engaged_ms"] for event in events),
    }
    with tenant(place.account_id):
        assert ask(place, Question(metrics=metrics, range=within), now).totals == expected
        raw = Question(metrics=metrics, range=within, bots="include")
        assert ask(place, raw, now).totals == expected


def sessions_of(events: list[dict[str, Any]]) -> list[tuple[str, int]]:
    """Visits counted without the product: gaps over 30 minutes, in order of time."""
    starts = []
    last: dict[str, int] = {}
    for event in sorted(events, key=lambda event: event["time"]):
        before = last.get(event["visitor"])
        if before is None or event["time"] - before > 30 * 60_000:
            starts.append((event["visitor"], event["time"]))
        last[event["visitor"]] = event["time"]
    return starts


@pytest.mark.parametrize("seed", [1, 2])
def test_the_history_is_the_same_every_time(seed: int) -> None:
    """What the test above stands on."""
    assert history(seed, 10**12) == history(seed, 10**12)
    assert len({event["event_id"] for event in history(seed, 10**12)}) == EVENTS
