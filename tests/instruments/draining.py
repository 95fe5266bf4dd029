"""`python -m tests.instruments.draining`, or `make draining`: what it costs to store an event.

Events go into the streams through the real `store.accept`; then a process of its own drains them
as a worker does, into a durable PostgreSQL. Prints rows a second, and microseconds of CPU a row of
the draining process and of PostgreSQL. Environment: EVENTS= of a case (100000), CASES= words of
their names. Exit code 1 when a row is not stored exactly once. `measure` is for other instruments.
"""

import json
import os
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aktivat.servers.children import ServerError
from aktivat.servers.supervisor import ROOT
from tests.instruments.product import Product, running_product
from tests.instruments.traffic import DAY, Step, Traffic, steps

CASES = {
    "busy: 1,000 events/s, 200,000 visitors": Traffic(rate=1_000),
    "usual: 12 events/s, 200,000 visitors": Traffic(rate=12),
    "usual, most visitors known": Traffic(rate=12, days=2),
    "new: 1,000 events/s, a new visitor each visit": Traffic(rate=1_000, all_new=True),
    "small: 1,000 properties with 20 events each": Traffic(events=20_000, properties=1_000),
    "tiny: 1,000 properties with one event each": Traffic(events=1_000, properties=1_000),
}
HEAD = f"{'traffic':<46} {'rows':>8} {'rows/s':>8} {'worker':>7} {'postgres':>8} {'both':>6}"
CALL = 200  # events of one property in a call of the script
SPIN = 3_000_000


@dataclass(frozen=True)
class Drained:
    """Events stored, seconds, and seconds of CPU of the draining process and of PostgreSQL."""

    events: int
    seconds: float
    worker: float
    postgres: float

    def line(self, name: str) -> str:
        worker, postgres = (cpu / self.events * 1e6 for cpu in (self.worker, self.postgres))
        return (
            f"{name:<46} {self.events:>8,} {self.events / self.seconds:>8,.0f} "
            f"{worker:>7.1f} {postgres:>8.1f} {worker + postgres:>6.1f}"
        )


class NotOnce(Exception):
    """Events were lost or doubled on their way."""


def measure(product: Product, traffic: Traffic) -> Drained:
    """Fill the streams and drain them. Raises NotOnce and ServerError."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.instruments.draining", json.dumps(traffic)],
        cwd=ROOT,
        env=product.environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin and process.stdout
        try:
            for _ in range(traffic.days):
                filled = _answer(process.stdout.readline())
                before = product.cpu()["postgres"]
                process.stdin.write("drain\n")
                process.stdin.flush()
                drained = _answer(process.stdout.readline())
                postgres = product.cpu()["postgres"] - before
                check(filled, drained)
        finally:
            process.kill()
    return Drained(filled["events"], drained["seconds"], drained["cpu"], postgres)


def _answer(line: str) -> dict[str, Any]:
    if not line:
        raise ServerError("The draining process ended early; its error stands above.")
    return json.loads(line)


def check(filled: dict[str, Any], drained: dict[str, Any]) -> None:
    """What was filled in is what the drain says it stored, and what the table holds."""
    numbers = {filled["events"], drained["stored"], drained["found"]}
    if len(numbers) > 1:
        raise NotOnce(
            f"{filled['events']:,} events were accepted, {drained['stored']:,} were stored, "
            f"{drained['found']:,} are there."
        )


# -- in the draining process -----------------------------------------------------------------


class Filling:
    """Properties, and events for them through the collector's last step."""

    def __init__(self, traffic: Traffic) -> None:
        from tests.streams import make_place
        from tracking.directory import Record

        self.traffic = traffic
        self.places = [make_place() for _ in range(traffic.properties)]
        self.records = [Record.of(place) for place in self.places]

    def fill(self, day: int) -> int:
        """A day's events; returns how many were accepted."""
        from tracking.items import item_of
        from tracking.store import accept

        now = round(time.time() * 1000)
        waiting: dict[int, list[Any]] = defaultdict(list)
        accepted = 0
        for step in steps(self.traffic, day):
            items = waiting[step.property]
            items.append(item_of(self._event(step, day, now), self.records[step.property], now))
            if len(items) == CALL:
                accepted += accept(self.records[step.property], Counter(), items, now).count("a")
                items.clear()
        for number, items in waiting.items():
            if items:
                accepted += accept(self.records[number], Counter(), items, now).count("a")
        return accepted

    def _event(self, step: Step, day: int, now: int) -> Any:
        from uuid import UUID, uuid4

        from tests.streams import NOON, make_event, minutes

        moment = NOON + minutes((step.second + day * DAY) / 60)
        # Spread over all ids, as real ones are.
        visitor = UUID(int=step.visitor * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128, version=4)
        from_search = step.visitor % 4 == 1
        event = make_event(
            moment,
            visitor,
            event_id=uuid4(),
            name="engagement" if step.is_last else "pageview",
            page=f"/category-{step.page % 40}/product-{step.page}",
            title=f"Product number {step.page} of the shop",
            referrer="google.com" if from_search else "",
            source="google" if from_search else "",
            medium="organic" if from_search else "",
            channel="Organic Search" if from_search else "Direct",
            country="DE",
            device="desktop",
            browser="Chrome",
            browser_version="142",
            os="Windows",
            language="de",
            screen="1920x1080",
            tab=uuid4(),
            engaged_ms=5_000 if step.is_last else None,
            scroll=70 if step.is_last else None,
            load_ms=None if step.is_last else 800,
            received_at=now,
        )
        return event._replace(
            event_id=str(event.event_id), visitor_uuid=str(visitor), tab=str(event.tab)
        )

    def found(self) -> int:
        """Events in the table."""
        from tracking.models import Event

        numbers = [place.pk for place in self.places]
        return Event.objects.using("worker").filter(property_id__in=numbers).count()


def work(traffic: Traffic, say: Callable[[dict[str, Any]], None]) -> None:
    """A day at a time: fill, wait for a line, drain."""
    from tracking.drain import drain_all, drain_due

    filling, before = Filling(traffic), 0
    for day in range(traffic.days):
        say({"events": filling.fill(day)})
        sys.stdin.readline()
        wall, cpu = time.perf_counter(), time.process_time()
        stored = drain_due(budget=600).stored
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        stored += drain_all().stored
        found = filling.found()
        say({"stored": stored, "seconds": wall, "cpu": cpu, "found": found - before})
        before = found


def yardstick() -> float:
    """Seconds of CPU for a fixed loop: how fast this machine is just now."""
    began, total = time.process_time(), 0
    for number in range(SPIN):
        total += number * number
    return time.process_time() - began


def main() -> int:
    if sys.argv[1:]:
        import django

        os.environ["DJANGO_SETTINGS_MODULE"] = "aktivat.settings"
        django.setup()
        work(Traffic(*json.loads(sys.argv[1])), lambda said: print(json.dumps(said), flush=True))
        return 0
    events = int(os.environ.get("EVENTS", "100000"))
    words = os.environ.get("CASES", "").split(",")
    failed = ""
    print(f"{HEAD}   CPU in microseconds a row", flush=True)
    try:
        with running_product(lambda line: print(line, file=sys.stderr)) as product:
            for name, traffic in CASES.items():
                if not any(word in name for word in words):
                    continue
                if traffic.properties == 1:
                    traffic = traffic._replace(events=events)
                spin = yardstick()
                print(f"{measure(product, traffic).line(name)}   loop {spin:.2f} s", flush=True)
    except (NotOnce, ServerError) as error:
        failed = str(error)
    except KeyboardInterrupt:
        failed = "Stopped."
    if failed:
        print(f"FAILED: {failed}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
