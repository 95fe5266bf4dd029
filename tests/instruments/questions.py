"""What asking costs: random questions over 30 days, and visitors of a year, at any size.

In: histories (generated.py). Out: for each size a Measured: milliseconds on the clock and of CPU
(this process and the Postgres process that serves it) of each answer, and by which routes they
came. Where nothing else runs, both are nearly the same, for one waits for the other; where much
does, only CPU means anything. A question has one dimension and one filter drawn at random; its
range is any 30 days. Run as

    python -m tests.instruments.questions [--events 100000 1000000 10000000] [--questions 100]

Caches are cold where we can make them so: Postgres is restarted before each size, the system's
page cache stays as it is. Nothing in this process is kept from one question to the next but what
it remembers of texts (reports/remembered.py), as a web process does; one row of the table is of
pages without that: the first one of a process. With `--open`, only report pages over the last 30
days are asked: once as if the last day were open (its hours packed but for the last two that have
events), and once with it packed like the others.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tests.instruments import generated
from tests.instruments.generated import History

METRICS = ["visitors", "pageviews", "sessions", "bounce_rate"]
SIZES = (100_000, 1_000_000, 10_000_000)
DAYS = 30
YEAR = 365

VALUES: dict[str, Sequence[str]] = {
    "page": ["/", *(f"/articles/{n}" for n in range(1, generated.PAGES))],
    "event": generated.NAMES,
    "hostname": generated.HOSTS,
    "title": [f"Article {n}" for n in range(generated.PAGES)],
    "entry_page": ["/", *(f"/articles/{n}" for n in range(1, generated.PAGES))],
    "exit_page": ["/", *(f"/articles/{n}" for n in range(1, generated.PAGES))],
    "source": generated.SOURCES,
    "medium": generated.MEDIA,
    "campaign": generated.CAMPAIGNS,
    "term": generated.TERMS,
    "content": [""],
    "channel": generated.CHANNELS,
    "referrer": generated.SOURCES[4:],
    "country": generated.COUNTRIES,
    "device": generated.DEVICES,
    "browser": generated.BROWSERS,
    "os": generated.SYSTEMS,
    "language": generated.LANGUAGES,
    "screen": generated.SCREENS,
    "visit": ["new", "returning"],
    "props:plan": ["free", "pro", "team"],
}
TOUCHED = ("source", "medium", "campaign", "term", "content", "channel", "referrer")
VALUES |= {f"{touch}_{name}": VALUES[name] for touch in ("first", "last") for name in TOUCHED}


@dataclass
class Measured:
    """Of each answer the seconds on the clock, the CPU seconds of Python and of Postgres; and the
    routes they took."""

    what: str
    events: int
    times: list[float] = field(default_factory=list)
    python: list[float] = field(default_factory=list)
    postgres: list[float] = field(default_factory=list)
    routes: Counter[str] = field(default_factory=Counter)
    most_cpu: str = ""  # the question that took most

    @property
    def cpu(self) -> list[float]:
        return [sum(both) for both in zip(self.python, self.postgres, strict=True)]


def quantile(seconds: Sequence[float], part: float) -> float:
    """Milliseconds within which that part of the answers came: the nearest rank."""
    ordered = sorted(seconds)
    return 1000 * ordered[max(math.ceil(part * len(ordered)), 1) - 1]


# -- drawing ---------------------------------------------------------------------------------


def dimensions() -> list[str]:
    """Every dimension of the registry, and a property of events."""
    from reports.metrics import DIMENSIONS

    return [*(d.name for d in DIMENSIONS.values() if not d.is_made), "props:plan"]


def draw(dice: random.Random, history: History) -> dict[str, Any]:
    """A question: one dimension, one filter, 30 days."""
    return {
        "metrics": METRICS,
        "dimensions": [dice.choice(dimensions())],
        "filters": draw_filter(dice),
        "range": draw_range(dice, history, DAYS),
        "limit": 100,
    }


def draw_filter(dice: random.Random) -> list[Any]:
    operator = dice.choice(["is", "is", "is", "is_not", "contains", "has_done"])
    name = dice.choice(["page", "event"] if operator == "has_done" else dimensions())
    values = VALUES[name]
    # As people filter: mostly by what is frequent.
    value = values[min(int(len(values) * dice.random() ** 3), len(values) - 1)]
    return [operator, name, [value[:6] if operator == "contains" else value]]


def draw_range(dice: random.Random, history: History, days: int) -> dict[str, str]:
    first = date(2025, 1, 1) + timedelta(days=dice.randrange(max(history.days - days, 0) + 1))
    return {"from": first.isoformat(), "to": (first + timedelta(days=days - 1)).isoformat()}


# -- asking ----------------------------------------------------------------------------------


def measure(what: str, place: Any, history: History, bodies: Iterator[dict[str, Any]]) -> Measured:
    """Ask each question once, one after the other."""
    from accounts.tenancy import tenant
    from reports import queries

    found = Measured(what, history.events)
    for body in bodies:
        with clocked(found), tenant(place.account_id):
            question = queries.parse_question(place, body, history.now)
            answer = queries.ask(place, question, history.now)
        found.routes[answer.meta["route"]] += 1
        if found.cpu[-1] == max(found.cpu):
            found.most_cpu = json.dumps({name: body[name] for name in body if name != "metrics"})
    return found


@contextmanager
def clocked(found: Measured) -> Iterator[None]:
    """Adds what happens inside, in this process and on this connection."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        backend = cursor.fetchone()[0]
    clock, python, postgres = time.perf_counter(), time.process_time(), on_cpu(backend)
    yield
    found.times.append(time.perf_counter() - clock)
    found.python.append(time.process_time() - python)
    found.postgres.append(on_cpu(backend) - postgres)


def on_cpu(pid: int) -> float:
    """Seconds that a process of one thread has run, to the nanosecond."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def random_questions(place: Any, history: History, many: int = 100, seed: int = 1) -> Measured:
    """One dimension and one filter over any 30 days."""
    dice = random.Random(seed)
    bodies = (draw(dice, history) for _ in range(many))
    return measure("one dimension, one filter, 30 days", place, history, bodies)


def visitors_of_a_year(place: Any, history: History, many: int = 20, seed: int = 1) -> Measured:
    """Unique visitors over 365 days."""
    dice = random.Random(seed)
    bodies = (
        {"metrics": ["visitors"], "range": draw_range(dice, history, YEAR)} for _ in range(many)
    )
    return measure("visitors, 365 days", place, history, bodies)


def rolled_questions(place: Any, history: History, many: int = 40, seed: int = 1) -> Measured:
    """What rollups and bitmaps hold, over any 30 days: totals, series, a filter by value."""
    dice = random.Random(seed)

    def bodies() -> Iterator[dict[str, Any]]:
        for _ in range(many):
            body: dict[str, Any] = {"range": draw_range(dice, history, DAYS), "metrics": METRICS}
            kind = dice.choice(["total", "series", "filter"])
            if kind == "series":
                body["dimensions"] = ["time:day"]
            elif kind == "filter":
                name = dice.choice(["source", "country", "campaign"])
                body |= {"filters": ["is", name, [VALUES[name][1]]]}
                body |= {"metrics": ["visitors", "sessions", "bounce_rate"]}
            yield body

    return measure("totals, days, one filter, 30 days", place, history, bodies())


def report_page(
    tail: str,
    place: Any,
    history: History,
    many: int = 20,
    seed: int = 1,
    within: dict[str, str] | None = None,
    forgets: bool = False,
) -> Measured:
    """A whole report page over any 30 days (or over these), from the request to the last byte:
    door, questions, templates, every middleware; without a web server. `forgets`: as if the process
    had never answered one before."""
    from django.test import Client

    from aktivat.asgi import settle
    from reports import remembered

    settle()  # as a web process does when it starts
    client = Client(SERVER_NAME="localhost")
    owner = place.account.memberships.get(role="owner").user
    client.force_login(owner, backend="django.contrib.auth.backends.ModelBackend")
    what = f"{tail.strip('/') or 'overview'}, 30 days, whole page" + ", the first" * forgets
    dice, found = random.Random(seed), Measured(what, history.events)
    for number in range(many + 1):
        days = within or draw_range(dice, history, DAYS)
        shown = f"{days['from']}..{days['to']}"
        path = f"/p/{place.key}/{tail}?range={shown}"
        if forgets:
            remembered.forget_all()
        with clocked(Measured("", 0) if number == 0 else found):  # the first reads the templates
            answer = client.get(path)
        assert answer.status_code == 200, answer.content[:500]
    found.routes["page"] = many
    return found


def with_open_day(
    place: Any, history: History, many: int = 20, seed: int = 1
) -> Iterator[Measured]:
    """Report pages over the last 30 days, when the last of them is open and when it is packed."""
    last = last_day(place, history)
    within = {"from": f"{last.date - timedelta(days=DAYS - 1)}", "to": f"{last.date}"}
    try:
        rows = open_last_day(place, history)
        for what in (f"the last day open, {rows:,} events in rows", "the last day packed"):
            for tail in PAGES:
                found = report_page(tail, place, history, many, seed, within)
                found.what += f", {what}"
                yield found
            pack_last_day(place, history)
    finally:
        pack_last_day(place, history)  # histories are kept for the next run


def open_last_day(place: Any, history: History) -> int:
    """Pack the hours of the last day, but for the last two that have events; returns how many of
    its events are left to be read as rows."""
    from properties.periods import spans, zone
    from reports import packing
    from tracking.models import Event
    from tracking.working import transaction_of_worker

    day, at = last_day(place, history).span, history.end - timedelta(hours=4)
    with transaction_of_worker() as cursor:
        packing.note(cursor, place, {day: [*spans("hour", day, zone(place.timezone))]}, at)
    packing.pack_all(at, place)
    events = Event.objects.using("worker").filter(property_id=place.pk, bot=False)
    return events.filter(time__gte=at, time__lt=day.end).count()


def pack_last_day(place: Any, history: History) -> None:
    from reports import packing

    packing.pack_all(history.now, place)


class LocalDay(NamedTuple):
    date: date
    span: Any


def last_day(place: Any, history: History) -> LocalDay:
    """The last day of the property's zone that has events."""
    from properties.periods import local_date, span, zone

    tz, moment = zone(place.timezone), history.end - timedelta(hours=3)
    return LocalDay(local_date(moment, tz), span("day", moment, tz))


GOALS = {
    "an event": {"kind": "event", "event": generated.NAMES[-1]},
    "an amount": {"kind": "value", "minimum": 50},
}


def conversions(
    goal_of: str, place: Any, history: History, many: int = 40, seed: int = 1
) -> Measured:
    """A table of the sources page: visits and conversions of a goal, any 30 days."""
    from properties.models import Goal

    goal = Goal.objects.create(account=place.account, property=place, name="Goal", **GOALS[goal_of])
    dice = random.Random(seed)
    bodies = (
        {
            "metrics": ["visitors", "sessions", "bounce_rate", "conversions", "conversion_rate"],
            "dimensions": [dice.choice([name for name in VALUES if TOUCHED[0] in name])],
            "range": draw_range(dice, history, DAYS),
        }
        for _ in range(many)
    )
    try:
        what = f"conversions by {goal_of}, by source or touch, 30 days"
        return measure(what, place, history, bodies)
    finally:
        goal.delete()  # histories are kept for the next run


PAGES = ("", "pages/", "sources/", "audience/", "events/", "elements/", "speed/")
KINDS: tuple[Callable[..., Measured], ...] = (
    random_questions,
    rolled_questions,
    visitors_of_a_year,
    *(partial(report_page, tail) for tail in PAGES),
    partial(report_page, "pages/", forgets=True),
    *(partial(conversions, goal_of) for goal_of in GOALS),
)

# -- the table -------------------------------------------------------------------------------


def yardstick(many: int = 15) -> Measured:
    """Sorting a million random numbers: how fast this machine is at such work, now."""
    numbers = np.random.default_rng(1).integers(0, 2**40, 1_000_000)
    found = Measured("yardstick: a million numbers sorted", 0)
    for _ in range(many):
        clock, cpu = time.perf_counter(), time.process_time()
        np.sort(numbers)
        found.times.append(time.perf_counter() - clock)
        found.python.append(time.process_time() - cpu)
        found.postgres.append(0.0)
    return found


HEAD = (
    "events", "question", "p50 ms", "p95 ms", "CPU p50 ms", "CPU p95 ms", "CPU max ms",
    "of it Postgres", "route",
)  # fmt: skip


def row(found: Measured) -> tuple[str, ...]:
    routes = ", ".join(f"{name} {count}" for name, count in found.routes.most_common())
    numbers = [quantile(found.times, part) for part in (0.5, 0.95)]
    numbers += [quantile(found.cpu, part) for part in (0.5, 0.95, 1)]
    part = f"{100 * sum(found.postgres) / sum(found.cpu):.0f} %"
    return (
        f"{found.events:,}" if found.events else "",
        found.what,
        *(f"{n:,.1f}" for n in numbers),
        part,
        routes,
    )


def table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, nargs="+", default=SIZES)
    parser.add_argument("--days", type=int, default=365, help="that the events spread over")
    parser.add_argument("--questions", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--home", type=Path, help="where histories are kept")
    parser.add_argument("--open", action="store_true", help="pages of a day that is open, only")
    asked = parser.parse_args()
    rows: list[Sequence[str]] = [HEAD]
    for events in asked.events:
        with generated.servers(asked.home) as kept:  # a fresh start: nothing is in its buffers
            history = History(events, asked.days)
            place = kept.place(history)
            rows.append(row(yardstick()))
            wanted = (place, history, asked.questions, asked.seed)
            kinds = with_open_day(*wanted) if asked.open else (kind(*wanted) for kind in KINDS)
            for found in kinds:
                rows.append(row(found))
                print(f"most CPU of {found.what}: {found.most_cpu}", file=sys.stderr)
    rows.append(row(yardstick()))
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
