"""Questions about a long history: 1, 30 and 365 days, with and without a filter, at any size.

In: EVENTS=1000000,10000000 (sizes; 1 M by default, for 10 M takes a while to make the first time).
Out: rows. The histories are generated once and kept (../generated.py); each size is asked in a
process of its own, `python -m tests.instruments.bench.asking SIZE`, which starts PostgreSQL anew,
so that nothing is in its buffers, and prints one line of JSON.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from random import Random
from typing import Any

from aktivat.servers.supervisor import ROOT
from tests.instruments.bench.measuring import Failed
from tests.instruments.bench.settings import Settings
from tests.instruments.bench.table import Row
from tests.instruments.product import Product, clean_environment

DAYS = (1, 30, 365)
QUESTIONS = 40


def query(product: Product, settings: Settings) -> Iterator[Row]:
    """The histories have servers of their own; those of the product only stand by."""
    for size in sizes(os.environ.get("EVENTS", "")):
        with subprocess.Popen(
            [sys.executable, "-m", "tests.instruments.bench.asking", str(size)],
            cwd=ROOT,
            env=clean_environment(os.environ),
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                lines = process.communicate()[0].splitlines()
            finally:
                process.kill()
        if process.returncode or not lines:
            raise Failed(f"The questions about {size:,} events failed; the error stands above.")
        yield from (Row(**row) for row in json.loads(lines[-1]))


def sizes(given: str) -> list[int]:
    """Raises SystemExit with what to write instead."""
    words = given.replace(" ", "").replace("_", "").split(",") if given.strip() else ["1000000"]
    if not all(word.isdecimal() and int(word) >= 1_000 for word in words):
        raise SystemExit(f"EVENTS={given} must be sizes like 1000000,10000000.")
    return [int(word) for word in words]


# -- in the process of one size --------------------------------------------------------------


def rows(events: int) -> Iterator[Row]:
    from tests.instruments import generated
    from tests.instruments.questions import METRICS, draw_filter, draw_range, measure, quantile

    history = generated.History(events)
    with generated.servers(say=say) as kept:
        place = kept.place(history)
        for days in DAYS:
            for filtered in (False, True):
                dice = Random(days)

                def bodies(
                    days: int = days, filtered: bool = filtered, dice: Random = dice
                ) -> Iterator[dict[str, Any]]:
                    for _ in range(QUESTIONS):
                        more = {"filters": draw_filter(dice)} if filtered else {}
                        yield {
                            "metrics": METRICS,
                            "range": draw_range(dice, history, days),
                            **more,
                        }

                asked = f"{days} days" if days > 1 else "a day"
                name = f"query, {asked}, {'a' if filtered else 'no'} filter, {events:,} events"
                found = measure(name, place, history, bodies())
                cpu = {"web": found.python, "postgres": found.postgres}
                yield Row(
                    name,
                    len(found.times) / sum(found.times),
                    "question",
                    quantile(found.times, 0.5),
                    quantile(found.times, 0.99),
                    {part: sum(seconds) / len(seconds) * 1e6 for part, seconds in cpu.items()},
                    note=", ".join(f"{route} {n}" for route, n in found.routes.most_common()),
                )


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    print(json.dumps([asdict(row) for row in rows(int(sys.argv[1]))]))


if __name__ == "__main__":
    main()
