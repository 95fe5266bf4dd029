"""`python -m tests.instruments.live`, or `make live`: is it exact, and what do 100,000 online cost?

Environment: PARTS=exact,http,online (all); SEED= of the simulation (1), VISITORS= in it (400),
SECONDS= for which they come (60) and for a row of the table (3), REPEAT= of which the median is
shown (3). Exit code 1 when a number is wrong: in process by anything at any second, over HTTP by
more than one per cent.
"""

import os
import sys
from collections.abc import Callable

from aktivat.servers.children import ServerError
from tests.instruments.bench import table
from tests.instruments.bench.measuring import Failed
from tests.instruments.live import exact, online, over_http
from tests.instruments.product import Product, running_product

PARTS: dict[str, Callable[[Product], bool]] = {
    "exact": lambda product: exact.run(product, say, *simulated()),
    "http": lambda product: over_http.run(product, say, *simulated()),
    "online": lambda product: show(product),
}


def say(line: str) -> None:
    print(line, flush=True)


def simulated() -> tuple[int, int, int]:
    """Seed, visitors and milliseconds of a simulation."""
    given = [int(os.environ.get(*one)) for one in (("SEED", "1"), ("VISITORS", "400"))]
    return given[0], given[1], int(os.environ.get("SECONDS", "60")) * 1_000


def show(product: Product) -> bool:
    rows = []
    for row in online.rows(product):
        rows.append(row)
        say(f"  {row.name}: {row.per_second:,.0f}/s, {row.total:,.0f} us")
    say("\n".join(table.lines(rows)))
    return True


def main() -> int:
    if len(sys.argv) > 1:
        print(__doc__)
        return 0 if sys.argv[1:] == ["--help"] else 2
    wanted = os.environ.get("PARTS", ",".join(PARTS)).split(",")
    if unknown := set(wanted) - PARTS.keys():
        print(f"PARTS names {', '.join(sorted(unknown))}; there are: {', '.join(PARTS)}.")
        return 2
    try:
        with running_product(say) as product:
            right = [PARTS[name](product) for name in wanted]
    except (Failed, ServerError, KeyboardInterrupt) as error:
        say(f"FAILED: {error or 'Stopped.'}")
        return 1
    return 0 if all(right) else 1


if __name__ == "__main__":
    sys.exit(main())
