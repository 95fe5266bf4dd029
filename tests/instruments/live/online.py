"""100,000 visitors online on one property: what a count, a question and a heartbeat cost then.

In: a Product. Out: rows of the bench's table. Twice: visitors who share a few hundred pages, as
most do, and visitors of 20,000 pages of whom nearly everybody shows something else, for a count
costs by what differs. The load is that of the bench; so is the yardstick, a bare answer.
"""

import os
from collections.abc import Iterator

from tests.instruments.bench import settings as asked
from tests.instruments.bench.collecting import APPLICATION, MANY, NOBODY, Collector
from tests.instruments.bench.hand import Work, hand
from tests.instruments.bench.load import Job
from tests.instruments.bench.measuring import Failed, accepted, given, run, typical
from tests.instruments.bench.reading import memory
from tests.instruments.bench.settings import Settings
from tests.instruments.bench.table import Row
from tests.instruments.product import Product

VISITORS = 100_000
PAGES = {"of 300 pages": 0, "of 20,000 pages": 20_000}
COUNTS, ROUNDS = 20, 40


def rows(product: Product) -> Iterator[Row]:
    settings = asked.read(os.environ | {"ROWS": ""}, ())
    yield _bare(product, settings)
    port = product.start_web()
    secret = product.make_api_key("realtime:view")
    for name, pages in PAGES.items():
        collector = Collector(product, settings, port, product.make_property(name))
        yield from _counted(product, collector, name, pages)
        job = Job(
            address=["127.0.0.1", port],
            messages="fetches",
            given={
                "path": f"/api/v1/properties/{collector.key}/realtime",
                "headers": [f"Authorization: Bearer {secret}"],
                "keep_alive": True,
            },
            answers="questions",
            connections=1,
            seconds=settings.seconds,
        )
        measure = accepted(run(product, job, settings))
        yield measure.row(f"realtime, {VISITORS:,} online, {name}", unit="question")
        if not pages:
            yield from _heartbeats(product, settings, collector)
    product.stop_part("web")


def _counted(product: Product, collector: Collector, name: str, pages: int) -> Iterator[Row]:
    """Counted in a process that does nothing else; `per_second` is of the median count. The first
    count of a process is apart: it takes all looks apart, the others only those that are new."""
    with hand(product) as worker:
        before = memory(product)
        worker.do(f"arrive {collector.key} {VISITORS} {pages}")
        held = (memory(product) - before) / VISITORS
        first = worker.do(f"snapshot {collector.key}")
        works = [worker.do(f"snapshot {collector.key}") for _ in range(COUNTS)]
        looks = worker.do(f"looks {collector.key}").count
    if {work.count for work in (first, *works)} != {VISITORS}:
        raise Failed(f"Not {VISITORS:,} visitors were counted, but {works[0].count:,}.")
    note = f"{looks:,} looks; {held:,.0f} bytes of Valkey a visitor"
    yield _row_of_counts(f"counting {VISITORS:,} online, {name}", works, note)
    yield _row_of_counts("the first count of a process", [first])


def _row_of_counts(called: str, works: list[Work], note: str = "") -> Row:
    seconds = sorted(work.seconds for work in works)
    cpu = {
        part: sum(work.cpu[part] for work in works) / len(works) * 1e6
        for part in ("worker", "valkey")
    }
    median, longest = seconds[len(works) // 2] * 1_000, seconds[-1] * 1_000
    return Row(called, 1_000 / median, "count", median, longest, cpu, note=note)


def _bare(product: Product, settings: Settings) -> Row:
    port = product.start_web(f"{APPLICATION}:asgi", path="/track")
    job = Job(
        address=["127.0.0.1", port],
        messages="single_events",
        given=given(property=NOBODY),
        answers="events",
        connections=MANY,
        seconds=settings.seconds,
    )
    measure = accepted(typical(product, job, settings))
    settings.bare = measure.web_cpu
    product.stop_part("web")
    return measure.row(f"bare answer, asgi, {MANY} connections", settings.bare, "answer")


def _heartbeats(product: Product, settings: Settings, collector: Collector) -> Iterator[Row]:
    many = {"visitors": VISITORS, "count": 20_000, "next_ms": 60_000}
    for connections in (32, MANY, 4 * MANY):
        job = collector.job("pings", connections, "pings", same=True, **many)
        measure = accepted(typical(product, job, settings))
        yield measure.row(f"heartbeats, {connections} connections", settings.bare, "ping")
    job = collector.job("pings", MANY, "pings", **many)
    measure = accepted(typical(product, job, settings))
    yield measure.row("that change page or state", settings.bare, "ping")
    with hand(product) as worker:
        works = [worker.do(f"beats {collector.key} {VISITORS}") for _ in range(ROUNDS)]
    count = sum(work.count for work in works)
    parts = ("worker", "valkey")
    cpu = {part: sum(work.cpu[part] for work in works) / count * 1e6 for part in parts}
    rate = count / sum(work.seconds for work in works)
    yield Row("judged and kept, calls of 256", rate, "ping", cpu=cpu, note="without HTTP")
