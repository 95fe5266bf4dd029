"""`make memory`: bytes by family of keys and by table, beside plain bitmaps; exit 1 over budget.

In: the environment (settings.py). Out: Markdown tables, as docs/memory.md keeps them. Servers,
data and processes are its own and gone when it ends.
"""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import django

from aktivat.servers import start_valkey
from tests.instruments.memory import settings as wishes
from tests.instruments.product import Product, running_product

MB = 1_000_000
BUDGET, BUDGET_WITHOUT_PAGES, TIMES_LESS = 250 * MB, 80 * MB, 10
BITS_OF_EVENTS = ("bits of hours: events", "bits of minutes")
KNOWN, ACTIVE = 1_000_000, 200_000
YEAR = 365
BEGIN = 1_767_225_600_000  # 2026-01-01, a Thursday; any day would do
BEGAN = time.monotonic()


def say(text: str) -> None:
    print(f"[{time.monotonic() - BEGAN:6.0f} s] {text}", file=sys.stderr, flush=True)


def main() -> int:
    wanted = wishes.read(os.environ)
    with running_product(say) as product:
        os.environ |= product.environ | {"DJANGO_SETTINGS_MODULE": "aktivat.settings"}
        django.setup()
        verdicts: list[bool] = []
        if "cookies" in wanted.parts:
            verdicts.append(with_cookies(product, wanted))
        if "cookieless" in wanted.parts:
            verdicts.append(without_cookies(product, wanted))
        if "stored" in wanted.parts:
            in_postgres(product, wanted)
    return 0 if all(verdicts) else 1


@contextmanager
def valkey_for(folder: Path) -> Iterator[tuple[Any, int]]:
    """(client, bytes used while empty) of a Valkey that tracking.store speaks to. No log on disk:
    it changes nothing about memory."""
    from django.conf import settings

    from tracking import store

    extra = {"appendonly": "no", "maxmemory": "16gb"}
    server = start_valkey(folder, role="events", extra=extra)
    usual = settings.EVENTS_URL
    try:
        settings.EVENTS_URL = server.url
        store.events_client.cache_clear()
        client = store.events_client()
        client.connection_pool.connection_kwargs["socket_timeout"] = 60
        for script in (store.ACCEPT, store.REMEMBER):
            client.script_load(script.text)
        client.ping()
        yield client, int(client.info("memory")["used_memory"])
    finally:
        settings.EVENTS_URL = usual
        store.events_client.cache_clear()
        server.stop()


def record_of(product: Product, name: str) -> Any:
    """A property that may have more visitors than a year brings."""
    from properties.models import Property
    from tracking.directory import Record

    key = product.make_property(name, "UTC")
    place = Property.objects.across_accounts().using("worker").get(key=key)
    Property.objects.across_accounts().using("owner").filter(pk=place.pk).update(
        visitor_limit=1_000_000_000
    )
    place.visitor_limit = 1_000_000_000
    return Record.of(place)


def with_cookies(product: Product, wanted: wishes.Settings) -> bool:
    from tests.instruments.memory import families, plain
    from tests.instruments.memory.simulation import Simulation
    from tests.instruments.memory.traffic import DAY, Crowd

    known, active = round(KNOWN * wanted.scale), round(ACTIVE * wanted.scale)
    with valkey_for(product.home / "cookies") as (client, empty):
        crowd = Crowd(record_of(product, "cookies"), known, seed=1)
        simulation = Simulation(client, crowd, say)
        say(f"{known:,} visitors come for the first time ...")
        simulation.thin_day(BEGIN - 4 * DAY, range(known))
        weights, thin = [], 0
        for day in range(1, wanted.days + 1):
            start = BEGIN + day * DAY
            if day == 1 or day > wanted.days - 3:
                say(f"Day {day}: all events ...")
                simulation.full_day(start, crowd.some(active))
            elif day % wanted.every == 0:
                say(f"Day {day}: one event for each active visitor ...")
                simulation.thin_day(start, crowd.some(active))
                thin += 1
            if day in (1, wanted.days):
                simulation.go_online()
                simulation.empty_stream()
                weights.append((f"after day {day}", families.weigh(client, empty)))
        exact = simulation.check()
        now = simulation.now
        all_plain = plain.size(simulation.plain.kept(now))
        some_plain = plain.size(simulation.plain.kept_of_events(now))
        formula, real = plain.load_sample(client, simulation.plain.kept(now))
        forever = simulation.plain.bytes_of_a_day() * wanted.days
        waiting = simulation.waiting_bytes
    print(f"\n{known:,} known visitors, {active:,} active and {5 * active:,} events a day.")
    print(f"Days between the first and the last three: {thin} driven, one event for each active")
    print("visitor: of such days only the visitor map is left at the end.\n")
    print_weights(weights)
    last = weights[-1][1]
    print(
        f"\nWithout pages: {mb(last.without_pages)}. An event waiting in the stream: "
        f"{waiting:,.0f} bytes. Process: {mb(last.rss)}."
    )
    print(f"Exact: {exact}.")
    print(
        f"\nPlain SETBIT keys with the same life times: {mb(all_plain)}, those of events alone "
        f"{mb(some_plain)}."
    )
    # Plain keys hold neither who a visitor is nor which events came: bits are held against bits.
    bits = sum(last.bytes[name] for name in BITS_OF_EVENTS)
    print(
        f"Bits of events: {mb(bits)}; with the visitor map, event ids and counters beside them "
        f"{some_plain / last.without_pages:.1f} times less than plain keys without those."
    )
    print(
        f"A sample of them, loaded: {real / formula:.2f} times the formula. Minute keys without "
        f"an end, as they were: {mb(forever)} in {wanted.days} days.\n"
    )
    return all(
        [
            judged("all", last.used, BUDGET, wanted),
            judged("without pages", last.without_pages, BUDGET_WITHOUT_PAGES, wanted),
            judged("all, plain / 10", last.used, all_plain // TIMES_LESS, wanted),
            judged("bits of events, plain / 10", bits, some_plain // TIMES_LESS, wanted),
            judged("events, plain / 10", last.without_pages, some_plain // TIMES_LESS, wanted),
        ]
    )


def without_cookies(product: Product, wanted: wishes.Settings) -> bool:
    """The last days of a year in which every day brings new ids; those before have left."""
    from tests.instruments.memory import families
    from tests.instruments.memory.simulation import Simulation
    from tests.instruments.memory.traffic import DAY, Crowd
    from tracking.store import REMEMBER

    daily = round(ACTIVE * wanted.scale)
    before = daily * (YEAR - wanted.cookieless_days)
    with valkey_for(product.home / "cookieless") as (client, empty):
        record = record_of(product, "cookieless")
        REMEMBER.call(client, record.prefix, [record.version, before, 0])
        crowd = Crowd(record, 0, seed=2, cookieless=True)
        simulation = Simulation(client, crowd, say, first_number=before + 1)
        weights = []
        for day in range(YEAR - wanted.cookieless_days + 1, YEAR + 1):
            say(f"Day {day} of a cookieless year: {daily:,} new ids ...")
            simulation.full_day(BEGIN + day * DAY, crowd.newcomers(daily))
            simulation.go_online()
            simulation.empty_stream()
            weights.append((f"after day {day}", families.weigh(client, empty)))
        exact = simulation.check()
    print(
        f"\nCookieless: {daily:,} new ids and {5 * daily:,} events a day. Numbers begin at "
        f"{before:,}, as\nafter {YEAR - wanted.cookieless_days} such days; nothing else of those "
        "days would be left.\n"
    )
    print_weights(weights)
    print(f"\nExact: {exact}.\n")
    return judged("cookieless", weights[-1][1].used, BUDGET, wanted)


def in_postgres(product: Product, wanted: wishes.Settings) -> None:
    from tests.instruments.memory.stored import store_a_day
    from tests.instruments.memory.traffic import Crowd

    say(f"A day of {wanted.stored:,} events into Postgres ...")
    crowd = Crowd(record_of(product, "stored"), 0, seed=3)
    sent, grown = store_a_day(crowd, wanted.stored, say)
    print(f"\nPostgres, indexes included, after a day of {sent:,} events:\n")
    print("| table | MB of this day | bytes an event |\n| --- | ---: | ---: |")
    for name, size in sorted(grown.items(), key=lambda one: -one[1]):
        print(f"| {name} | {size / MB:.1f} | {size / sent:,.0f} |")
    total = sum(grown.values())
    print(f"| all | {total / MB:.1f} | {total / sent:,.0f} |\n")


def print_weights(weights: Sequence[tuple[str, Any]]) -> None:
    from tests.instruments.memory.families import TABLES

    names = {name for _, weight in weights for name in weight.bytes}
    last = weights[-1][1]
    heads = [head for head, _ in weights]
    print(f"| family of keys | {' | '.join(f'MB {head}' for head in heads)} | keys |")
    print("| --- |" + " ---: |" * (len(heads) + 1))
    for name in sorted(names, key=lambda one: -last.bytes[one]):
        cells = [f"{weight.bytes[name] / MB:.2f}" for _, weight in weights]
        print(f"| {name} | {' | '.join(cells)} | {last.keys[name]:,} |")
    for name, of in ((TABLES, "tables"), ("all", "used")):
        cells = [f"{getattr(weight, of) / MB:.2f}" for _, weight in weights]
        count = f"{sum(last.keys.values()):,}" if of == "used" else ""
        print(f"| {name} | {' | '.join(cells)} | {count} |")


def judged(what: str, used: int, budget: int, wanted: wishes.Settings) -> bool:
    """Says whether the budget holds; a smaller run is not held against it."""
    if not wanted.is_full:
        print(f"{what}: {mb(used)}; not judged, this is not the full run")
        return True
    holds = used <= budget
    print(f"{what}: {mb(used)} of {mb(budget)}: {'within' if holds else 'OVER'} the budget")
    return holds


def mb(size: float) -> str:
    return f"{size / MB:,.1f} MB"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
