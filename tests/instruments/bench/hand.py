"""A process that does what the worker's ticks do, when it is told to: so that their CPU is theirs.

`python -m tests.instruments.bench.hand`. In: a word a line on stdin ("drain", "roll_up"), for some
with a property's key after it ("snapshot AK-..."). Out: one line of JSON for each, {"seconds",
"count"}; the first line, "ready", says that Django is set up and the database connected. Used
through `Hand` below, in the bench's own process.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from aktivat.servers.supervisor import ROOT
from tests.instruments.bench.measuring import Failed, said, spent
from tests.instruments.product import Product


@dataclass
class Work:
    """What was done, in how many seconds, and the seconds of CPU of each part."""

    count: int
    seconds: float
    cpu: dict[str, float]


class Hand:
    """The bench's end of the process."""

    def __init__(self, product: Product, process: "subprocess.Popen[str]") -> None:
        self._product, self._process = product, process

    def do(self, word: str) -> Work:
        """Raises Failed when the process does."""
        before = self._product.cpu()
        done = json.loads(said(self._process, word))
        return Work(done["count"], done["seconds"], spent(before, self._product.cpu()))


@contextmanager
def hand(product: Product) -> Iterator[Hand]:
    """A worker's process; its CPU counts under "worker"."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.instruments.bench.hand"],
        cwd=ROOT,
        env=product.environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        product.roots["worker"] = [process.pid]
        try:
            assert process.stdout
            if process.stdout.readline() != "ready\n":
                raise Failed("The worker's process does not start; its error stands above.")
            yield Hand(product, process)
        finally:
            del product.roots["worker"]
            process.kill()


# -- in the process itself -------------------------------------------------------------------


def works() -> dict[str, Callable[..., int]]:
    from django.utils import timezone

    from properties.models import Property
    from reports import rollups
    from tracking import drain, live
    from tracking.collecting import now_ms

    def snapshot(key: str) -> int:
        place = Property.objects.across_accounts().using("worker").get(key=key)
        return int(live.snapshot(place, now_ms())["open"])

    def arrive(key: str, count: str, pages: str) -> int:
        """So many visitors come online, twenty minutes ahead of the clock: so that all of them are
        still there when the last one has come, however long that takes."""
        from random import Random

        from tests.instruments.bench.messages import ping, somebody
        from tracking.collecting import collect

        place = Property.objects.across_accounts().using("worker").get(key=key)
        ahead = now_ms() + 1_200_000
        for start in range(0, int(count), 500):
            numbers = range(start, min(start + 500, int(count)))
            beats = [ping(somebody(n), Random(n), 60_000, int(pages)) for n in numbers]
            collect(place, beats, now=ahead)
        return int(count)

    def beats(key: str, visitors: str) -> int:
        """As many heartbeats as the script takes at once, of visitors who go on as they arrived."""
        from random import Random

        from tests.instruments.bench.messages import ping, somebody
        from tracking.collecting import collect

        place = Property.objects.across_accounts().using("worker").get(key=key)
        dice = Random()
        numbers = [dice.randrange(int(visitors)) for _ in range(256)]
        collect(place, [ping(somebody(n), Random(n), 60_000) for n in numbers])
        return len(numbers)

    def looks(key: str) -> int:
        """How many differ in what they show: what the price of a count goes by."""
        from tracking import keys, store

        place = Property.objects.across_accounts().using("worker").get(key=key)
        prefix = keys.prefix(place.account_id, place.pk)
        return int(store.events_client().hlen(keys.online_looks(prefix)))

    return {
        "arrive": arrive,
        "beats": beats,
        "looks": looks,
        "drain": lambda: drain.drain_all().stored,
        "roll_up": lambda: rollups.roll_up_all(timezone.now()).hours,
        "snapshot": snapshot,
    }


def main() -> None:
    import django

    os.environ["DJANGO_SETTINGS_MODULE"] = "aktivat.settings"
    django.setup()
    known = works()
    known["roll_up"]()  # nothing to do yet: connects, and imports what is imported late
    print("ready", flush=True)
    for line in sys.stdin:
        began = time.perf_counter()
        word, *rest = line.split()
        count = known[word](*rest)
        print(json.dumps({"count": count, "seconds": time.perf_counter() - began}), flush=True)


if __name__ == "__main__":
    main()
