"""`python -m tests.instruments.bench`, or `make bench`: runs the parts, prints the table.

Environment: ROWS=yardsticks,collect,overload,drain,realtime,query (all), SECONDS= for a row (3),
REPEAT= of which the median is shown (3), EVENTS= sizes of the histories that are asked (1000000).
Exit code 1 when a request was answered otherwise than it must be.
"""

import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from aktivat.servers.children import ServerError
from tests.instruments.bench import asking, collecting, reading, settings, storing, table
from tests.instruments.bench.measuring import Failed
from tests.instruments.bench.settings import Settings
from tests.instruments.bench.table import Row
from tests.instruments.product import Product, running_product

Part = Callable[[Product, Settings], Iterator[Row]]
PARTS: dict[str, Part] = {
    "yardsticks": collecting.yardsticks,
    "collect": collecting.collecting,
    "overload": collecting.overload,
    "drain": storing.storing,
    "realtime": reading.realtime,
    "query": asking.query,
}


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def machine() -> str:
    """Cores, memory and what else is going on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GB, Python {platform.python_version()}, "
        f"load of the machine {Path('/proc/loadavg').read_text().split()[0]}"
    )


def main() -> int:
    if len(sys.argv) > 1:  # --help, or a part named where it does nothing
        print(__doc__)
        return 0 if sys.argv[1:] == ["--help"] else 2
    wanted = settings.from_environment(tuple(PARTS))
    rows: list[Row] = []
    began, failed = time.monotonic(), ""
    before = machine()
    try:
        with running_product(say) as product:
            for name in wanted.rows:
                for row in PARTS[name](product, wanted):
                    rows.append(row)
                    say(f"  {row.name}: {row.per_second:,.0f}/s, {row.total:.0f} us")
            storing.balance(product, wanted)
    except (Failed, ServerError) as error:
        failed = str(error)
    except KeyboardInterrupt:
        failed = "Stopped."
    print(f"\n{before}; CPU in microseconds for one unit\n")
    print("\n".join(table.lines(rows)))
    print(f"\n{time.monotonic() - began:.0f} s")
    if failed:
        print(f"FAILED: {failed}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
