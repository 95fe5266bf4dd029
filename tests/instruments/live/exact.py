"""Held against the truth at every second, in process: the real script on a real Valkey, a clock
that is an argument.

In: a property, dice, how many visitors and for how long. Out: what is found at each second, and
what is true. The tests call it with few visitors; `make live` with many, in a process of its own,
`python -m tests.instruments.live.exact KEY SEED VISITORS MS`.
"""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from aktivat.servers.supervisor import ROOT
from tests.instruments.bench.measuring import Failed
from tests.instruments.live import visitors
from tests.instruments.live.truth import NUMBERS, Plainly
from tests.instruments.product import Product

Numbers = dict[str, dict[str, int]]  # "" for all of them, or a page -> the three numbers


def seconds(
    place: Any, dice: Random, count: int, length: int
) -> Iterator[tuple[int, Numbers, Numbers]]:
    """Every second of `length` ms: which one, what is found, what is true."""
    from tracking.collecting import collect, now_ms
    from tracking.live import snapshot

    start, plain = now_ms() // 1_000 * 1_000, Plainly()
    ids = Random(dice.random())
    coming = [ping for ping in visitors.pings(dice, count, length) if ping.received is not None]
    names: dict[tuple[int, int], str] = {}

    def name(who: int, tab: int) -> str:
        return names.setdefault((who, tab), str(uuid.UUID(int=ids.getrandbits(128), version=4)))

    at = second = 0
    while second <= length or at < len(coming) or plain.numbers(second - 1_000)["open"]:
        while at < len(coming) and (coming[at].received or 0) <= second:
            ping, at = coming[at], at + 1
            received = ping.received or 0
            plain.ping(received, ping.who, ping.tab, ping.state, ping.next_ms, ping.page)
            sent = visitors.payload(ping, name(ping.who, -1), name(ping.who, ping.tab), start)
            collect(place, [sent], now=start + received)
        found = snapshot(place, start + second)
        yield second, _numbers(found), {"": plain.numbers(second)} | plain.pages(second)
        second += 1_000


def _numbers(found: dict[str, Any]) -> Numbers:
    rows = {row["page"]: row for row in found["pages"]} | {"": found}
    return {page: {name: row[name] for name in NUMBERS} for page, row in rows.items()}


# -- by itself -------------------------------------------------------------------------------------


def run(product: Product, say: Callable[[str], None], seed: int, count: int, length: int) -> bool:
    """Whether every second is right."""
    key = product.make_property("exact")
    command = [sys.executable, "-m", __name__, key, str(seed), str(count), str(length)]
    done = subprocess.run(
        command, cwd=ROOT, env=product.environ, check=False, stdout=subprocess.PIPE, text=True
    )
    if done.returncode:
        raise Failed("The simulation ended early; its error stands above.")
    found = json.loads(done.stdout.splitlines()[-1])
    say(
        f"In process: {found['seconds']} seconds with at most {found['most']:,} of {count:,} "
        f"visitors online, {found['wrong']} of them wrong in any number of any page."
    )
    return not found["wrong"]


def main() -> None:
    import django

    os.environ["DJANGO_SETTINGS_MODULE"] = "aktivat.settings"
    django.setup()
    from properties.models import Property

    key, seed, count, length = sys.argv[1:]
    place = Property.objects.across_accounts().using("worker").get(key=key)
    looked = wrong = most = 0
    for _, found, true in seconds(place, Random(int(seed)), int(count), int(length)):
        looked += 1
        wrong += found != true
        most = max(most, true[""]["open"])
    print(json.dumps({"seconds": looked, "wrong": wrong, "most": most}))


if __name__ == "__main__":
    main()
