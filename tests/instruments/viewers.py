"""How many can look at live numbers at once, and what a viewer costs: the product with one web
process, VIEWERS streams of one property, ONLINE visitors on it, SECONDS long.

Out: a table of the CPU of each part in a second, without and with the viewers, and how late
snapshots came. `make viewers`; docs/performance.md keeps what it printed.
"""

import asyncio
import contextlib
import os
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import orjson

from tests.instruments.product import Product, running_product

VIEWERS = int(os.environ.get("VIEWERS", "500"))
ONLINE = [int(count) for count in os.environ.get("ONLINE", "10,100000").split(",")]
SECONDS = float(os.environ.get("SECONDS", "10"))
STARTS_WITHIN = 120.0
COMING = 10  # viewers who come at once
AT_ONCE = 1_000  # pings of a request
CHANGES = 20  # visitors a second who come, so that there is something to tell


@dataclass
class Heard:
    """What the viewers got."""

    began: int = 0  # viewers that had a snapshot
    snapshots: int = 0
    events: int = 0
    bytes: int = 0
    late: list[float] = field(default_factory=list)  # seconds from the count to its coming
    open: int = 0  # what was shown last
    dropped: list[bytes] = field(default_factory=list)  # how streams ended that should not


async def view(port: int, path: str, heard: Heard, door: asyncio.Semaphore) -> None:
    """One viewer, until cancelled; they come one after the other, as people do."""
    await door.acquire()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
    writer.write(f"GET {path}live/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    is_first, end = True, b""
    try:
        async for line in reader:
            heard.bytes += len(line)
            end = (end + line)[-200:]
            if line.startswith(b"event: snapshot"):
                data = await reader.readline()
                heard.bytes += len(data)
                heard.snapshots += 1
                if is_first:
                    heard.began += 1
                    door.release()
                if not is_first and heard.snapshots % 50 == 0:
                    found = orjson.loads(data[6:])
                    at = datetime.fromisoformat(found["at"]).timestamp()
                    heard.late.append(time.time() - at)
                    heard.open = found["open"]
                is_first = False
            elif line.startswith(b"event: feed"):
                heard.events += 1
        heard.dropped.append(end)
    finally:
        if is_first:
            door.release()
        writer.close()


async def post(port: int, body: dict[str, Any]) -> None:
    text = orjson.dumps(body)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = (
        "POST /track HTTP/1.1", "Host: a", "Content-Type: application/json",
        f"Content-Length: {len(text)}", "Connection: close",
    )  # fmt: skip
    writer.write("\r\n".join([*lines, "", ""]).encode() + text)
    answer = await reader.read()
    writer.close()
    assert b" 202 " in answer.split(b"\r\n", 1)[0], answer[:300]


async def ask(port: int, path: str, secret: str) -> str:
    """The path of a new share link, which may have 500 viewers."""
    text = orjson.dumps({"name": "all", "modules": ["realtime"]})
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = (
        f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {secret}",
        "Content-Type: application/json", f"Content-Length: {len(text)}", "Connection: close",
    )  # fmt: skip
    writer.write("\r\n".join([*lines, "", ""]).encode() + text)
    answer = await reader.read()
    writer.close()
    return urlsplit(orjson.loads(answer.split(b"\r\n\r\n", 1)[1])["address"]).path


def _id(kind: int, number: int) -> str:
    return f"{kind:08x}-0000-4000-8000-{number:012x}"


async def fill(port: int, key: str, online: int) -> None:
    """Let so many visitors be online for two minutes, on 300 pages."""
    for start in range(0, online, AT_ONCE):
        pings = [
            {
                "name": "ping",
                "state": ("engaged", "visible", "hidden")[number % 3],
                "next_ms": 60_000,
                "visitor": _id(1, number),
                "tab": _id(2, number),
                "url": f"https://a.example/{number % 300}",
            }
            for number in range(start, min(start + AT_ONCE, online))
        ]
        await post(port, {"property": key, "events": pings})


async def come(port: int, key: str) -> None:
    """New visitors, second by second, until cancelled."""
    number = 0
    while True:
        views = [
            {
                "name": "pageview",
                "visitor": _id(3, number + more),
                "tab": _id(4, number + more),
                "url": "https://a.example/new",
            }
            for more in range(CHANGES)
        ]
        await post(port, {"property": key, "events": views})
        number += CHANGES
        await asyncio.sleep(1)


async def measure(product: Product, port: int, key: str, path: str, viewers: int) -> str:
    """CPU milliseconds a second of each part, and what came."""
    door = asyncio.Semaphore(COMING)
    heard, coming = Heard(), asyncio.create_task(come(port, key))
    looking = [asyncio.create_task(view(port, path, heard, door)) for _ in range(viewers)]
    until = time.monotonic() + STARTS_WITHIN
    while heard.began < viewers and time.monotonic() < until:
        await asyncio.sleep(0.1)
    before, began = product.cpu(), time.monotonic()
    heard.snapshots, heard.events, heard.bytes = 0, 0, 0
    heard.late.clear()
    await asyncio.sleep(SECONDS)
    lasted, after = time.monotonic() - began, product.cpu()
    for task in (coming, *looking):
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(coming, *looking, return_exceptions=True)
    parts = ("web", "valkey", "postgres")
    spent = [1_000 * (after[part] - before[part]) / lasted for part in parts]
    for end in heard.dropped:
        print(f"dropped: {end!r}")
    late = sorted(heard.late) or [0.0]
    return (
        "| "
        + " | ".join(
            [
                f"{heard.began:,} of {viewers:,}",
                *(f"{each:,.0f}" for each in spent),
                f"{heard.snapshots / lasted:,.0f}",
                f"{heard.events / lasted:,.0f}",
                f"{heard.bytes / lasted / 1_000:,.0f}",
                f"{1_000 * late[len(late) // 2]:,.0f}",
                f"{1_000 * late[-1]:,.0f}",
                f"{heard.open:,}",
            ]
        )
        + " |"
    )


async def run(product: Product) -> None:
    port = product.start_web()
    secret = product.make_api_key("realtime:view", "property:manage", "audience:view")
    key = product.make_property("shop")
    link = await ask(port, f"/api/v1/properties/{key}/share-links", secret)
    names = ("viewers", "web", "Valkey", "Postgres", "snapshots/s", "events/s", "kB/s")
    print(f"| online | {' | '.join(names)} | median ms late | most ms late | shown last |")
    print("| --- " * 11 + "|")
    for online in ONLINE:
        for viewers in (0, VIEWERS):
            await fill(port, key, online)
            print(f"| {online:,} {await measure(product, port, key, link, viewers)}", flush=True)


def main() -> None:
    with running_product(print) as product:
        asyncio.run(run(product))


if __name__ == "__main__":
    main()
