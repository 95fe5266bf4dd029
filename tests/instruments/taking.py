"""What a large table costs of memory when it is taken away as CSV.

In: numbers of rows. Out: for each way by which a table is counted, and each number, by how many
megabytes the process that makes the file grew at most, and what that is a row. Every file is made
by a process of its own, which has answered the same question about one day without rows before, so
that nothing but the table counts. The table is one of pages, each with one visitor who saw it once
on one of twenty days; a year of a large site has as many. Run as

    python -m tests.instruments.taking [--rows 20000 200000 1000000]

Ways: `rolled` from rollups and bitmaps (a table of pages), `raw` from events and sessions (the same
by device), `columns` from days that are packed (the same), which may leave it to `raw`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.instruments import generated

DAY, EMPTY_DAY = datetime(2025, 3, 5, tzinfo=UTC), "2025-03-04"
DAYS = {"from": "2025-03-05", "to": "2025-03-24"}
METRICS = ["visitors", "pageviews"]
WAYS = {"rolled": ["page"], "raw": ["page", "device"], "columns": ["page", "device"]}
SIZES = (20_000, 200_000, 1_000_000)

ROLLED = """
INSERT INTO rollups (account_id, property_id, grain, starts_at, dimension, value, measure, number)
SELECT %(account)s, %(place)s, 'd', %(day)s::timestamptz + n %% 20 * interval '1 day', 'page',
    '/articles/' || n, measure, 1
FROM generate_series(1, %(rows)s) AS n, unnest(ARRAY['pageviews', 'events']) AS measure
"""
DAYS_COUNTED = """
INSERT INTO rollups (account_id, property_id, grain, starts_at, dimension, value, measure, number)
SELECT %(account)s, %(place)s, 'd', %(day)s::timestamptz + n * interval '1 day', '', '', 'events',
    %(rows)s / 20
FROM generate_series(0, 19) AS n
"""
BITS = """
INSERT INTO bitmaps (account_id, property_id, grain, starts_at, dimension, value, bits)
SELECT %(account)s, %(place)s, 'd', %(day)s::timestamptz + n %% 20 * interval '1 day', 'page',
    '/articles/' || n, %(bits)s
FROM generate_series(1, %(rows)s) AS n
"""
EMPTY = tuple(name for name in generated._OF_SESSION if name != "device")  # texts of both tables
EMPTY_OF_EVENTS = ("title", "query", "browser_version", "user", "currency", *EMPTY)
EVENTS = """
INSERT INTO events (account_id, property_id, time, received_at, event_id, visitor, name, bot,
    sanitized, page, device, {names})
SELECT %(account)s, %(place)s, %(day)s::timestamptz + n %% 20 * interval '1 day'
        + n * interval '50 milliseconds', %(day)s, gen_random_uuid(),
    n, 'pageview', false, false, '/articles/' || n, 'desktop', {texts}
FROM generate_series(1, %(rows)s) AS n
"""
SESSIONS = """
INSERT INTO sessions (account_id, property_id, visitor, started_at, ended_at, bot, pageviews,
    events, interactions, engaged_ms, entry_page, exit_page, device, {names})
SELECT account_id, property_id, visitor, time, time, false, 1, 1, 0, 0, page, page, device, {texts}
FROM events WHERE property_id = %(place)s
"""


@dataclass
class File:
    """What a file cost: bytes by which the process grew at most, its rows and bytes, the way that
    counted it in the end, and seconds of CPU (of this process) and by the clock."""

    grown: int
    rows: int
    size: int
    way: str
    cpu: float
    took: float

    @property
    def a_row(self) -> float:
        return self.grown / max(self.rows, 1)


def made(rows: int, say: Any = print) -> Any:
    """The property with that many pages, made at the first time."""
    from properties.models import Property
    from tests.people import new_account, new_property, new_user

    name = f"{rows} pages"
    found = Property.objects.across_accounts().using("worker").filter(name=name).first()
    if found is not None:
        return found
    say(f"Making a table of {rows:,} rows ...")
    place = new_property(new_account(new_user("owner")), name="unfinished", timezone="UTC")
    fill(place, rows)
    place.name, place.first_event_at = name, DAY
    place.save()
    return place


def fill(place: Any, rows: int) -> None:
    """Give a property that many pages: in rollups, events and sessions, and in packed days."""
    from psycopg import sql
    from pyroaring import BitMap

    from reports.packing import list_days, pack_all
    from tracking.working import transaction_of_worker

    values = {"account": place.account_id, "place": place.pk, "day": DAY, "rows": rows}
    values["bits"] = BitMap([1]).serialize()  # whoever it is, it takes as much
    with transaction_of_worker() as cursor:
        for number in range(20):
            cursor.execute("SELECT ensure_events_partition(%s)", [DAY.date() + timedelta(number)])
        for text in (ROLLED, DAYS_COUNTED, BITS):
            cursor.execute(text, values)
        for text, empty in ((EVENTS, EMPTY_OF_EVENTS), (SESSIONS, EMPTY)):
            names = sql.SQL(", ").join(map(sql.Identifier, empty))
            texts = sql.SQL(", ").join(sql.SQL("''") for _ in empty)
            cursor.execute(sql.SQL(text).format(names=names, texts=texts), values)
    now = datetime(2025, 4, 20, tzinfo=UTC)
    with transaction_of_worker() as cursor:
        list_days(cursor, place, now)
    assert pack_all(now, place) == 20


def take(key: str, way: str) -> File:
    """Make the file in this process. Raises AssertionError if another way is asked first."""
    from unittest.mock import patch

    from accounts.tenancy import tenant
    from properties.models import Property
    from properties.streaming import csv_lines
    from reports import columnar, queries, raw, rolled
    from reports.files import _blocks

    place = Property.objects.across_accounts().using("worker").get(key=key)
    asked = {"rolled": rolled, "raw": raw, "columns": columnar}[way]
    ways: list[Any] = [rolled, columnar, raw]
    came: list[str] = []

    def made(days: dict[str, str]) -> tuple[int, int]:
        body = {"metrics": METRICS, "dimensions": WAYS[way], "range": days}
        question = queries.parse_question(place, body, DAY + timedelta(30))
        with tenant(place.account_id):
            rows, found = queries.ask_rows(place, question)
        blocks = _blocks((*question.dimensions, *METRICS), found)
        return rows, sum(len(csv_lines(block).encode()) for block in blocks)

    def noticed(name: str, each: Any) -> Any:
        def noticing(*args: Any, **kwargs: Any) -> Any:
            came.append(name)
            return each(*args, **kwargs)

        return noticing

    with ExitStack() as patches:
        for name, module in {"rolled": rolled, "columns": columnar, "raw": raw}.items():
            is_before = ways.index(module) < ways.index(asked)
            each = (lambda *_, **__: None) if is_before else noticed(name, module.each)
            patches.enter_context(patch.object(module, "each", each))
        made({"from": EMPTY_DAY, "to": EMPTY_DAY})
        assert came.pop(0) == way, came
        came.clear()
        before, cpu, clock = _highest(), time.process_time(), time.monotonic()
        rows, size = made(DAYS)
    assert came[0] == way, came
    taken = time.process_time() - cpu, time.monotonic() - clock
    return File(_highest() - before, rows, size, came[-1], *taken)


def _highest() -> int:
    """The most that this process has held, in bytes; getrusage would count its parent, too."""
    [line] = (at for at in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in at)
    return int(line.split()[1]) * 1024


def _child(environment: dict[str, str], key: str, way: str, answer: Any) -> None:
    os.environ.update(environment)
    import django

    django.setup()
    from django.conf import settings

    settings.QUESTION_TIMEOUT = settings.FILE_TIMEOUT = 600  # this is about memory
    answer.send(take(key, way))


def in_fresh_process(environment: dict[str, str], key: str, way: str) -> File:
    here, there = multiprocessing.Pipe()
    child = multiprocessing.get_context("spawn").Process(
        target=_child, args=(environment, key, way, there)
    )
    child.start()
    there.close()
    found: File = here.recv()
    child.join()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=SIZES)
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    parser.add_argument("--home", type=Path, help="where it is kept")
    asked = parser.parse_args()
    with generated.servers(asked.home) as kept:
        places = {rows: made(rows).key for rows in asked.rows}
        print(
            "| way | rows | file, MB | memory, MB | bytes a row | seconds, CPU of them |\n"
            "| --- | --- | --- | --- | --- | --- |"
        )
        for way in asked.ways:
            for rows, key in places.items():
                found = in_fresh_process(kept.environment, key, way)
                assert found.rows == rows
                ways = dict.fromkeys([way, found.way])
                print(
                    f"| {', then '.join(ways)} | {rows:,} "
                    f"| {found.size / 1e6:.1f} | {found.grown / 1e6:.1f} "
                    f"| {found.a_row:,.0f} | {found.took:.1f}, {found.cpu:.1f} |",
                    flush=True,
                )
    return 0


if __name__ == "__main__":
    sys.exit(main())
