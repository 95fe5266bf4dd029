"""The yardsticks and the collecting rows: what an event costs on its way in.

In: a Product without a worker, so that nothing but the collector and Valkey shares the machine
with the load. Out: rows. The yardsticks get the same requests, answered by the same gunicorn.
"""

from collections.abc import Iterator
from dataclasses import replace

from tests.instruments.bench.load import Job
from tests.instruments.bench.measuring import (
    Measure,
    accepted,
    given,
    run,
    run_together,
    typical,
)
from tests.instruments.bench.settings import Settings
from tests.instruments.bench.table import Row
from tests.instruments.product import Product

APPLICATION = "tests.instruments.bench.yardsticks"
THREADS = ("--worker-class", "gthread", "--threads", "8")
MANY = 128
NOBODY = "AK-YARDSTICK"  # the property of the yardsticks' requests
SMALL_RATE = 20  # events a second of a small property


def yardsticks(product: Product, settings: Settings) -> Iterator[Row]:
    """Sets settings.bare, which the ratios of all later rows refer to."""
    for name, options in {
        "bare answer, asgi": (f"{APPLICATION}:asgi",),
        "bare answer, gthread": (*THREADS, f"{APPLICATION}:wsgi"),
        "Django view, asgi": (f"{APPLICATION}:django_asgi()",),
        "Django view, gthread": (*THREADS, f"{APPLICATION}:django_wsgi()"),
    }.items():
        port = product.start_web(*options, part="web", path="/track")
        job = Job(
            address=["127.0.0.1", port],
            messages="single_events",
            given=given(property=NOBODY),
            answers="events",
            connections=MANY,
            seconds=settings.seconds,
        )
        measure = accepted(typical(product, job, settings))
        if settings.bare is None:
            settings.bare = measure.web_cpu
            get = replace(job, messages="fetches", given=given(path="/track"))
            least = accepted(typical(product, get, settings))
            yield least.row(f"{name}, to a GET without headers", settings.bare, "answer")
            new = replace(job, given=given(property=NOBODY, keep_alive=False), keep_alive=False)
            fresh = accepted(typical(product, new, settings))
            yield fresh.row(f"{name}, without keep-alive", settings.bare, "answer")
        product.stop_part("web")
        yield measure.row(f"{name}, {MANY} connections", settings.bare, "answer")
    del settings.acknowledged[NOBODY]  # by nothing that stores
    yield accepted(typical(product, append_job(product, settings), settings)).row(
        f"XADD alone, {MANY} connections", unit="entry", note="appendfsync always"
    )


def append_job(product: Product, settings: Settings) -> Job:
    return Job(
        address=product.events_socket,
        messages="appends",
        given={"key": "yardstick"},
        answers="appends",
        connections=MANY,
        seconds=settings.seconds,
    )


class Collector:
    """The collector of one property, and jobs for it."""

    def __init__(self, product: Product, settings: Settings, port: int, key: str) -> None:
        self.product, self.settings = product, settings
        self.port, self.key = port, key

    def job(
        self, messages: str, connections: int, answers: str = "events", **values: object
    ) -> Job:
        keep_alive = bool(values.get("keep_alive", True))
        return Job(
            address=["127.0.0.1", self.port],
            messages=messages,
            given=given(property=self.key, **values),
            answers=answers,
            connections=connections,
            seconds=self.settings.seconds,
            keep_alive=keep_alive,
        )

    def measure(self, job: Job) -> Measure:
        return accepted(typical(self.product, job, self.settings))

    def row(self, name: str, job: Job, unit: str = "event") -> Row:
        return self.measure(job).row(name, self.settings.bare, unit)


def collecting(product: Product, settings: Settings) -> Iterator[Row]:
    key = product.make_property("collecting")
    one = Collector(product, settings, product.start_web(), key)
    run(product, one.job("single_events", 32), settings)  # visitors, pages and agents become known
    for connections in (1, 32, MANY):
        job = one.job("single_events", connections)
        measure = one.measure(job)
        yield measure.row(f"POST /track, {connections} connections", settings.bare)
    rate = measure.outcome.events / measure.outcome.seconds
    job = one.job("single_events", MANY)
    job.rate = 0.8 * rate
    yield one.row(f"the same at 80 % of that rate, {MANY} connections", job)
    for connections in (1, 32, MANY):
        job = one.job("single_events", connections, keep_alive=False)
        yield one.row(f"POST /track without keep-alive, {connections} connections", job)
    for size in (10, 100):
        yield one.row(f"batches of {size}, 32 connections", one.job("batches", 32, size=size))
    yield one.row("GET /track/it (pixel), 32 connections", one.job("pixels", 32, "pixels"))
    yield one.row("heartbeats, 32 connections", one.job("pings", 32, "pings"), "ping")
    product.stop_part("web")


# -- far too much ----------------------------------------------------------------------------


def overload(product: Product, settings: Settings) -> Iterator[Row]:
    """Ten times what fits, while a small property sends a little."""
    port = product.start_web()
    large, small = (
        Collector(product, settings, port, product.make_property(name))
        for name in ("large", "small")
    )
    for one in (large, small):
        run(product, one.job("single_events", 32), settings)
    most = accepted(run(product, large.job("single_events", MANY), settings))
    capacity = most.outcome.events / most.outcome.seconds
    yield most.row("capacity before the overload", settings.bare)
    flood = large.job("single_events", 10 * MANY)
    flood.rate, flood.seconds = 10 * capacity, 3 * settings.seconds
    trickle = small.job("single_events", 16)
    trickle.rate, trickle.seconds = SMALL_RATE, flood.seconds
    measures = run_together(product, [flood, trickle], settings)
    for one in measures:
        accepted(one)
    goodput = sum(one.outcome.events for one in measures) / measures[0].outcome.seconds
    note = f"goodput {goodput / capacity:.0%} of the capacity"
    yield measures[0].row("10 times that, 1,280 connections", settings.bare, note=note)
    got = measures[1].outcome
    due = int(SMALL_RATE * trickle.seconds)
    note = f"{got.events:,} of {due:,} accepted"
    yield replace(measures[1].row("a small property meanwhile", note=note), cpu={})
    product.stop_part("web")
