"""Asking over HTTP with an API key, as a page or a program does: who is here now.

In: a Product. Out: rows; their unit is a question, the latency is that of one reader who asks
again when she has her answer.
"""

from collections.abc import Iterator
from typing import Any

from tests.instruments.bench.collecting import Collector
from tests.instruments.bench.hand import hand
from tests.instruments.bench.load import Job
from tests.instruments.bench.measuring import Failed, accepted, run, typical
from tests.instruments.bench.settings import Settings
from tests.instruments.bench.table import Row
from tests.instruments.product import Product

ONLINE = (1_000, 10_000, 100_000)
COUNTS = 9


def memory(product: Product) -> int:
    """Bytes that the events Valkey uses for data."""
    import redis

    with redis.Redis.from_url(product.environ["REDIS_URL"]) as client:
        info: Any = client.info("memory")
        return int(info["used_memory_dataset"])


def arrive(collector: Collector, first: int, last: int, pages: int = 0) -> None:
    """Visitors with these numbers come online and stay for two minutes."""
    job = collector.job("arrivals", 4, "pings", first=first, last=last, pages=pages)
    job.once, job.seconds = True, 100
    found = accepted(run(collector.product, job, collector.settings))
    if found.outcome.events != last - first:
        raise Failed(f"{found.outcome.events:,} of {last - first:,} visitors came online.")


def realtime(product: Product, settings: Settings) -> Iterator[Row]:
    secret = product.make_api_key("realtime:view")
    port = product.start_web()
    for count in ONLINE:
        collector = Collector(product, settings, port, product.make_property(f"{count} online"))
        before = memory(product)
        arrive(collector, 0, count)
        held = (memory(product) - before) / count
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
        measure = accepted(typical(product, job, settings))
        note = f"{held:,.0f} bytes of Valkey a visitor"
        yield measure.row(f"realtime, {count:,} online", unit="question", note=note)
        yield counted(product, collector.key, count)
    product.stop_part("web")


def counted(product: Product, key: str, count: int) -> Row:
    """The count that the readers share, made in a process that does nothing else."""
    with hand(product) as worker:
        works = [worker.do(f"snapshot {key}") for _ in range(COUNTS)]
    for work in works:
        if work.count != count:
            raise Failed(f"{work.count:,} visitors were counted, {count:,} are online.")
    seconds = sorted(work.seconds for work in works)
    parts = ("worker", "valkey", "postgres")
    cpu = {part: sum(work.cpu[part] for work in works) / COUNTS * 1e6 for part in parts}
    median, longest = seconds[COUNTS // 2] * 1000, seconds[-1] * 1000
    name = f"counting them, {count:,} online"
    return Row(
        name, 1 / seconds[COUNTS // 2], "count", median, longest, cpu, note=f"{COUNTS} times"
    )
