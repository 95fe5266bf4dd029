"""`python -m tests.instruments.fuzz`, or `make fuzz`: does any input crash the collector?

MINUTES= (2), SEED= (of the clock; printed). Half of the time mutations of the corpus of bad input
and payloads made from the protocol's words go through the parser and the judge in this process;
the other half, as raw bytes over many connections, to a real server. Prints inputs a second, the
different answers, and each crash with the fewest bytes that still cause it. Exit code 1 on a crash,
an input that takes a second, a 5xx, a server that ended or grew, or books that do not close.
"""

import asyncio
import os
import random
import re
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import psutil

from aktivat.servers.children import ServerError
from aktivat.servers.supervisor import ROOT
from tests.corpus import CASES, mutation
from tests.corpus.case import PLACES, filled, pageview, post
from tests.instruments.product import Product, running_product

SECONDS = 1.0  # of CPU that one input may take
GROWTH = 200_000_000  # bytes of the web process; what it remembers of pages and agents is bounded
CONNECTIONS = 24
GIVES_UP = 0.25  # seconds of a sender whose request is not whole, and who gets no answer
KEY = "AK-FUZZFUZZ"
NAMES: Mapping[str, str] = dict.fromkeys((*PLACES, "REPLACED", "RETIRED", "SLUG"), KEY) | {
    "ID": "6f1d5b0c-2b7e-4a5d-9d1f-0a4e6c9f0a11",
    "VISITOR": "0d5c3f1e-7a0b-4f77-8f65-2f3e0d5c3f1e",
}
ANSWERED_BY_HTTP = (501, 505)  # what the request asks of HTTP, not a failure
SHRINKING = 400  # tries


@dataclass
class Found:
    """What a part of the run has seen."""

    inputs: int = 0
    seconds: float = 0.0
    answers: Counter[str] = field(default_factory=Counter)
    crashes: dict[str, bytes] = field(default_factory=dict)  # where and what -> input
    slowest: float = 0.0
    slowest_input: bytes = b""

    def faults(self) -> list[str]:
        faults = [f"{what}\n    {shown(data)}" for what, data in self.crashes.items()]
        if self.slowest > SECONDS:
            faults.append(f"{self.slowest:.1f} s for\n    {shown(self.slowest_input)}")
        return faults

    def line(self, name: str) -> str:
        rate = self.inputs / self.seconds if self.seconds else 0.0
        return (
            f"{name:<12} {self.inputs:>10,} {rate:>9,.0f} {len(self.answers):>8}"
            f" {len(self.crashes):>8} {1_000 * self.slowest:>10.0f}"
        )


HEADING = (
    f"{'':<12} {'inputs':>10} {'a second':>9} {'answers':>8} {'crashes':>8} {'slowest ms':>10}"
)


def shown(data: bytes) -> str:
    text = repr(data)
    return text if len(text) <= 1_500 else f"{text[:1_000]} ... ({len(data):,} bytes)"


# -- in this process -------------------------------------------------------------------------------

Try = Callable[[bytes], str]  # an input -> the answer; whatever it raises is a crash


def hunt(inputs: Iterator[tuple[Try, bytes]], until: float) -> Found:
    """Try them until that moment of the monotonic clock."""
    found, began = Found(), time.monotonic()
    for attempt, data in inputs:
        if time.monotonic() >= until:
            break
        start = time.thread_time()
        try:
            answer = attempt(data)
        except Exception as error:
            answer = "crash"
            place = where(error)
            if place not in found.crashes:
                same = partial(fails_there, attempt, place)
                found.crashes[place] = shrunk(data, same)
        seconds = time.thread_time() - start
        if seconds > found.slowest and answer != "crash":
            found.slowest, found.slowest_input = seconds, data
        found.inputs += 1
        found.answers[answer] += 1
    found.seconds = time.monotonic() - began
    return found


def where(error: BaseException) -> str:
    """A crash is known by its kind and by our last line on the way to it."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(ROOT)]
    last = (ours or frames)[-1]
    return f"{type(error).__name__} in {Path(last.filename).name}:{last.lineno}"


def fails_there(attempt: Try, place: str, data: bytes) -> bool:
    """Whether that input crashes at that place."""
    try:
        attempt(data)
    except Exception as error:
        return where(error) == place
    return False


def shrunk(data: bytes, still: Callable[[bytes], bool]) -> bytes:
    """Fewer bytes of which it is still true."""
    tries, size = 0, len(data) // 2
    while size and tries < SHRINKING:
        at = 0
        while at < len(data) and tries < SHRINKING:
            fewer = data[:at] + data[at + size :]
            tries += 1
            if still(fewer):
                data = fewer
            else:
                at += size
        size //= 2
    return data


class Parser:
    """The collector's way from bytes to what goes to Valkey, without a network."""

    def __init__(self) -> None:
        from properties.models import Property
        from tracking.directory import Record
        from tracking.intake import Origin
        from tracking.refusals import Reason

        def record(**special: Any) -> Record:
            own = {
                "hostnames": ["shop.example"],
                "excluded_addresses": ["203.0.113.0/24"],
            } | special
            return Record.of(Property(account_id=1, pk=2, key=KEY, first_key=KEY, **own))

        self.now = 1_774_000_000_000
        self.records = [record(**special) for special in PLACES.values()]
        self.records.append(record(hostnames=["*"], timezone="America/St_Johns", currency="JPY"))
        self.origins = [
            Origin("81.2.69.142", "Mozilla/5.0 (X11; Linux) Firefox/140.0", visitor_salt=b"s"),
            Origin("", "", prefetch=True),
            Origin("2001:db8::1", "\xff" * 600, signal=Reason.GPC, site="evil.example"),
            Origin("203.0.113.9", "curl/8", signal=Reason.DNT, site="shop.example"),
            Origin("10.0.0.1", "x", privileged=True),
        ]

    def body(self, data: bytes) -> str:
        from tracking import envelope
        from tracking.refusals import Fault

        encoding = "gzip" if data.startswith(b"\x1f\x8b") else ""
        try:
            sent = envelope.read(data, "text/plain", encoding)
        except Fault as fault:
            orjson.dumps(fault.as_json())
            return f"{fault.status} {fault.code}"
        return self._judged(sent.payloads, sent.sent_at)

    def query(self, data: bytes) -> str:
        from tracking import pixel
        from tracking.refusals import Fault

        try:
            hit = pixel.read(data, "https://shop.example/")
        except Fault as fault:
            orjson.dumps(fault.as_json())
            return f"{fault.status} {fault.code}"
        return self._judged([hit.payload], None)

    def head(self, data: bytes) -> str:
        from tracking.usual import head_of

        return "usual" if head_of(data) else "unusual"

    def _judged(self, payloads: list[Any], sent_at: Any) -> str:
        """By every property and some of the senders; which, the input decides."""
        from tracking.collecting import hear
        from tracking.items import arguments

        answers = []
        for number, record in enumerate(self.records):
            origin = self.origins[(len(payloads) + number) % len(self.origins)]
            hearing = hear(payloads[:20], record, origin, self.now, sent_at)
            arguments(self.now, 1, 10, hearing.refusals, hearing.items)
            orjson.dumps(hearing.answer.as_json())
            for item in hearing.items:
                check_row(item[8])
            answers += sorted(hearing.refusals) or ["accepted"]
        return " ".join(sorted(set(answers)))


def check_row(line: bytes) -> None:
    """What Postgres and the drain take for granted of an event. Raises AssertionError."""
    from tracking.event import read_row

    if not line:  # a ping
        return
    row = read_row(line)
    for name, text in row.items():
        assert text is None or not any(c == "\0" or "\ud800" <= c <= "\udfff" for c in text), name
    assert 0 < len(row["name"] or "") <= 200, "name"
    assert len((row["page"] or "").encode()) <= 1_000, "page"
    assert len(row["title"] or "") <= 512, "title"
    if row["props"] is not None:
        assert len(row["props"]) <= 32_000, "props"
        assert isinstance(orjson.loads(row["props"]), dict), "props"


def inputs(parser: Parser, rng: random.Random) -> Iterator[tuple[Try, bytes]]:
    """Without an end: bodies, queries and heads, made or mutated."""
    requests = [request for case in CASES for request, _ in case.steps]
    bodies = [request.pack(filled(request.body, NAMES, parser.now)) for request in requests]
    bodies = [body for body in set(bodies) if len(body) < 50_000]
    bodies.sort()
    queries = sorted({request.line.split(b" ")[1].partition(b"?")[2] for request in requests
                      if b"?" in request.line})  # fmt: skip
    heads = [
        request.wire(NAMES, parser.now).partition(b"\r\n\r\n")[0][:6_000] for request in requests
    ]
    while True:
        kind = rng.random()
        if kind < 0.4:
            made = filled(mutation.body(rng), NAMES, parser.now)
            yield parser.body, made if rng.random() < 0.7 else mutation.mutated(rng, made, bodies)
        elif kind < 0.65:
            yield parser.body, mutation.mutated(rng, rng.choice(bodies), bodies)
        elif kind < 0.9:
            made = filled(mutation.query(rng), NAMES, parser.now)
            yield parser.query, made if rng.random() < 0.7 else mutation.mutated(rng, made, queries)
        else:
            yield parser.head, mutation.mutated(rng, rng.choice(heads), heads)


# -- over the network ------------------------------------------------------------------------------


def wires(rng: random.Random, names: Mapping[str, str]) -> Iterator[bytes]:
    """Requests as bytes, most of them broken."""
    now = time.time_ns() // 1_000_000
    whole = [request.wire(names, now) for case in CASES for request, _ in case.steps]
    whole = [data for data in whole if len(data) < 20_000]
    while True:
        if rng.random() < 0.3:
            request = post(filled(mutation.body(rng), names, now))
            yield request.wire(names, now)
        elif rng.random() < 0.2:
            yield b"GET /track/it?%s HTTP/1.1\r\nHost: x\r\n\r\n" % filled(
                mutation.query(rng), names, now
            )
        else:
            yield mutation.mutated(rng, rng.choice(whole), whole)


async def attack(port: int, requests: Iterator[bytes], until: float) -> Found:
    """Send them over many connections at once, each answered or given up soon."""
    found, began = Found(), time.monotonic()

    async def sender() -> None:
        for data in requests:
            if time.monotonic() >= until:
                return
            answer = await exchange(port, data)
            found.inputs += 1
            found.answers[answer] += 1
            if is_crash(answer):
                found.crashes.setdefault(f"answer {answer}", data)

    await asyncio.gather(*(sender() for _ in range(CONNECTIONS)))
    found.seconds = time.monotonic() - began
    return found


def is_crash(answer: str) -> bool:
    """A 5xx that says nothing about the request, or a connection that could not be made."""
    status = answer.split(" ")[0]
    return answer == "refused" or (status.startswith("5") and int(status) not in ANSWERED_BY_HTTP)


async def exchange(port: int, data: bytes) -> str:
    """Status and code of the first answer."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return "refused"
    try:
        writer.write(data)
        return answer_of(await asyncio.wait_for(reader.read(4_096), GIVES_UP))
    except TimeoutError:
        return "waits"
    except OSError:
        return "closed"
    finally:
        writer.transport.abort()


def answer_of(data: bytes) -> str:
    if not data.startswith(b"HTTP/1.1 "):
        return "closed" if not data else "no HTTP"
    status = data[9:12].decode("latin-1")
    code = re.search(rb'(?:"code":"|"reason":"|x-aktivat-reason: )([a-z_]+)', data)
    return f"{status} {code[1].decode()}" if code else status


def assault(product: Product, rng: random.Random, seconds: float) -> tuple[Found, list[str], int]:
    """A real server: what it answered, what is wrong with it, and by how much it grew."""
    port, key = product.start_web(), product.make_property("fuzz")
    (worker,) = psutil.Process(product.roots["web"][0]).children()
    names = NAMES | dict.fromkeys(("KEY", "OTHER"), key)
    warm = post(pageview()).wire(names, time.time_ns() // 1_000_000)
    asyncio.run(attack(port, iter([warm] * 500), time.monotonic() + 10))
    before = worker.memory_info().rss
    found = asyncio.run(attack(port, wires(rng, names), time.monotonic() + seconds))
    faults = []
    if not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE:
        return found, ["The web process has ended."], 0
    grown = worker.memory_info().rss - before
    if grown > GROWTH:
        faults.append(f"The web process has grown by {grown / 1e6:.0f} MB.")
    event = pageview(event_id="$VISITOR")
    last = asyncio.run(exchange(port, post(event).wire(names, time.time_ns() // 1_000_000)))
    if last != "202":
        faults.append(f"Afterwards an event is answered with {last}.")
    faults += complaints((product.home / "logs" / "web.log").read_text(errors="replace"))
    product.stop_part("web")
    if not product.manage("reconcile")["adds_up"]:
        faults.append("The ledger does not add up.")
    return found, faults, grown


def complaints(log: str) -> list[str]:
    """Exceptions in the log of the web server, each kind once."""
    seen = {}
    for line in log.splitlines():
        if '"exception"' in line or "Traceback" in line:
            last = line.rstrip('}" ').rsplit("\\n", 1)[-1]
            seen.setdefault(last[:60], f"In the log: {line[:200]} ... {last[-300:]}")
    return list(seen.values())


# -- the run ---------------------------------------------------------------------------------------


def run(product: Product, minutes: float, seed: int) -> list[str]:
    import django

    os.environ |= product.environ | {"DJANGO_SETTINGS_MODULE": "aktivat.settings"}
    django.setup()
    half = minutes * 30
    parsed = hunt(inputs(Parser(), random.Random(seed)), time.monotonic() + half)
    served, faults, grown = assault(product, random.Random(seed), half)
    print(HEADING)
    print(parsed.line("in process"))
    print(served.line("over HTTP"))
    print(f"The web process grew by {grown / 1e6:.1f} MB. The most frequent answers over HTTP:")
    for answer, count in served.answers.most_common(12):
        print(f"  {answer:<28}{count:>9,}")
    print(f"SEED={seed} makes the same inputs again.")
    return [*parsed.faults(), *served.faults(), *faults]


def main() -> int:
    minutes = float(os.environ.get("MINUTES", "2"))
    seed = int(os.environ.get("SEED") or time.time())
    try:
        with running_product(lambda line: print(line, file=sys.stderr)) as product:
            found = run(product, minutes, seed)
    except ServerError as error:
        found = [str(error)]
    except KeyboardInterrupt:
        found = ["Stopped."]
    for fault in found:
        print(f"FAILED: {fault}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
