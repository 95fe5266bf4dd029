"""The drain and the rollups: what an event costs after its 202.

In: a Product. Out: rows. The events come through the collector; the work is done by a process of
its own (hand.py), while nothing is collected.
"""

import time
from collections.abc import Iterator

from tests.instruments.bench.collecting import Collector
from tests.instruments.bench.hand import Work, hand
from tests.instruments.bench.measuring import Failed, accepted, run
from tests.instruments.bench.settings import Settings
from tests.instruments.bench.table import Row
from tests.instruments.product import Product

EVENTS, BATCH = 50_000, 500
DAY_MS, HOUR_MS = 86_400_000, 3_600_000


def fill(collector: Collector, **when: int) -> None:
    """EVENTS events into the stream of the collector's property."""
    job = collector.job("batches", 2, size=BATCH, count=EVENTS // BATCH, **when)
    job.once, job.seconds = True, 300
    found = accepted(run(collector.product, job, collector.settings))
    if found.outcome.events != EVENTS:
        raise Failed(f"{found.outcome.events:,} of {EVENTS:,} events were accepted.")


def row(name: str, work: Work, events: int, note: str = "") -> Row:
    cpu = {part: seconds / events * 1e6 for part, seconds in work.cpu.items()}
    return Row(name, events / work.seconds, cpu=cpu, note=note)


def storing(product: Product, settings: Settings) -> Iterator[Row]:
    port = product.start_web()
    young, old = (
        Collector(product, settings, port, product.make_property(name))
        for name in ("today", "yesterday")
    )
    with hand(product) as worker:
        worker.do("drain")  # what other parts have left
        worker.do("roll_up")
        fill(young)
        work = worker.do("drain")
        if work.count < EVENTS:
            raise Failed(f"{work.count:,} of {EVENTS:,} events were stored.")
        yield row("drain", work, EVENTS, f"{EVENTS:,} events of one property")
        yield row("rollup of what was just collected", worker.do("roll_up"), EVENTS, "from Valkey")
        midnight = (round(time.time() * 1000) // DAY_MS - 1) * DAY_MS - HOUR_MS  # in Berlin
        fill(old, since=midnight - DAY_MS, until=midnight)
        yield row("drain of events of another day", worker.do("drain"), EVENTS)
        work = worker.do("roll_up")
        yield row(
            "rollup of a day", work, EVENTS, f"{work.count} hours in {work.seconds:.1f} s, from raw"
        )
    product.stop_part("web")


def balance(product: Product, settings: Settings) -> None:
    """Drain everything and find again all that was acknowledged. Raises Failed."""
    found = {p["property"]: p["stored"] for p in product.manage("reconcile")["properties"]}
    for key, wanted in settings.acknowledged.items():
        if (stored := found.get(key, 0)) != wanted:
            raise Failed(f"{key}: {wanted:,} events were acknowledged, {stored:,} are stored.")
