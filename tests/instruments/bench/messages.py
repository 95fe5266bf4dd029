"""Requests as bytes, made before the clock runs; only the event ids are written in between.

In: a kind of request and its parameters. Out: `Message`s as a browser would send them, drawn from
4,000 visitors, 300 pages and a few user agents, with the fields and headers of the tracker.
"""

import json
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

VISITORS, PAGES, TEMPLATES = 4_000, 300, 1_000
ID_MARK = "00000000-1111-4222-8333-444444444444"
AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/141.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.5 Safari/605.1.15",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/141.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0",
)
REFERRERS = ("", "", "", "https://www.google.com/", "https://news.example.org/item?id=4")
SCREENS = ("1440x900", "1920x1080", "390x844", "412x915")
LANGUAGES = ("en-GB", "de-DE", "fr-FR", "es-MX")
HOST = "shop.example"


@dataclass(frozen=True, slots=True)
class Message:
    """The parts between which a new event id goes: n ids for n + 1 parts. `size`: its events."""

    parts: tuple[bytes, ...]
    size: int = 1


class Ids:
    """UUIDs of version 4's form that differ all: random beginnings, then a number, scattered.

    The number is multiplied by an odd constant modulo 2^48, which meets every value once.
    """

    def __init__(self, dice: Random) -> None:
        made = (str(uuid.UUID(int=dice.getrandbits(128), version=4)) for _ in range(4_096))
        self._beginnings = [one[:24].encode() for one in made]
        self._number = dice.getrandbits(48)

    def new(self) -> bytes:
        self._number = number = (self._number + 1) & 0xFFFFFFFFFFFF
        scattered = number * 0x5851F42D4C957F2D & 0xFFFFFFFFFFFF
        return self._beginnings[number & 4_095] + b"%012x" % scattered


def known_uuid(kind: str, number: int) -> str:
    """The same in every process, so that visitors are known ones after the first run."""
    return str(uuid.UUID(int=Random(f"{kind} {number}").getrandbits(128), version=4))


@dataclass(frozen=True, slots=True)
class Somebody:
    """A visitor with one tab."""

    visitor: str
    session: str
    tab: str
    agent: str
    language: str
    screen: str


def somebody(number: int) -> Somebody:
    return Somebody(
        visitor=known_uuid("visitor", number),
        session=known_uuid("session", number),
        tab=known_uuid("tab", number),
        agent=AGENTS[number % len(AGENTS)],
        language=LANGUAGES[number % len(LANGUAGES)],
        screen=SCREENS[number % len(SCREENS)],
    )


def page(number: int) -> str:
    return f"https://{HOST}/catalogue/section-{number % 17}/article-{number}"


def pageview(who: Somebody, dice: Random) -> dict[str, Any]:
    """What the tracker sends for a page view, but for the property."""
    number = min(int(dice.paretovariate(0.7)), PAGES) - 1
    return {
        "name": "pageview",
        "event_id": ID_MARK,
        "time": time.time_ns() // 1_000_000,
        "visitor": who.visitor,
        "session": who.session,
        "tab": who.tab,
        "url": page(number),
        "referrer": dice.choice(REFERRERS),
        "title": f"Article {number} of the catalogue",
        "screen": who.screen,
        "language": who.language,
        "load_ms": dice.randrange(80, 4_000),
    }


def ping(who: Somebody, dice: Random, next_ms: int = 5_000, pages: int = 0) -> dict[str, Any]:
    """`pages`: any of so many, instead of a few that most read."""
    number = dice.randrange(pages) if pages else min(int(dice.paretovariate(0.7)), PAGES) - 1
    return {
        "name": "ping",
        "visitor": who.visitor,
        "tab": who.tab,
        "url": page(number),
        "state": dice.choice(("engaged", "visible", "visible", "hidden")),
        "next_ms": next_ms,
    }


def post(body: str, who: Somebody, keep_alive: bool) -> bytes:
    """The request that a browser makes of the tracker's beacon."""
    lines = [
        "POST /track HTTP/1.1",
        "Host: collect.example",
        f"Connection: {'keep-alive' if keep_alive else 'close'}",
        f"Content-Length: {len(body.encode())}",
        "Content-Type: text/plain;charset=UTF-8",
        *browser_headers(who),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def get(path: str, who: Somebody, keep_alive: bool) -> bytes:
    """The request that a browser makes for the pixel."""
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: collect.example",
        f"Connection: {'keep-alive' if keep_alive else 'close'}",
        *browser_headers(who),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def browser_headers(who: Somebody) -> list[str]:
    return [
        f"User-Agent: {who.agent}",
        f"Accept-Language: {who.language},en;q=0.8",
        "Accept: */*",
        "Accept-Encoding: gzip, deflate, br, zstd",
        f"Origin: https://{HOST}",
        f"Referer: https://{HOST}/",
        "Sec-Fetch-Dest: empty",
        "Sec-Fetch-Mode: no-cors",
        "Sec-Fetch-Site: cross-site",
    ]


def compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def cut(request: bytes, size: int = 1) -> Message:
    return Message(tuple(request.split(ID_MARK.encode())), size)


# -- kinds -----------------------------------------------------------------------------------

Given = Mapping[str, Any]


def single_events(given: Given, dice: Random) -> list[Message]:
    """One page view a request."""
    made = []
    for _ in range(TEMPLATES):
        who = somebody(dice.randrange(given.get("visitors", VISITORS)))
        event = {"property": given["property"], **pageview(who, dice)}
        made.append(cut(post(compact(event), who, given["keep_alive"])))
    return made


def batches(given: Given, dice: Random) -> list[Message]:
    """`size` page views of as many visitors a request; `count` requests, if it matters.

    `since` and `until` (epoch ms): when they happened; now without.
    """
    size = given["size"]
    made = []
    for _ in range(given.get("count") or max(TEMPLATES // size, 20)):
        people = [somebody(dice.randrange(VISITORS)) for _ in range(size)]
        events = [pageview(who, dice) for who in people]
        if "since" in given:
            for event in events:
                event["time"] = dice.randrange(given["since"], given["until"])
        body = compact({"property": given["property"], "events": events})
        made.append(cut(post(body, people[0], given["keep_alive"]), size))
    return made


def pixels(given: Given, dice: Random) -> list[Message]:
    """The first tracker's page view: everything in the query."""
    from urllib.parse import urlencode

    made = []
    for _ in range(TEMPLATES):
        who = somebody(dice.randrange(VISITORS))
        event = pageview(who, dice)
        query = {
            "config_account": given["property"],
            "config_cookies_v_visitor": who.visitor,
            "config_cookies_visitor": "undefined",
            "config_tab": who.tab,
            "config_screen_width": who.screen.split("x")[0],
            "config_screen_height": who.screen.split("x")[1],
            "trackr_event_type": "trackr_pageloaded_event",
            "trackr_page_loadtime": event["load_ms"],
            "hostname": HOST,
            "path": event["url"].removeprefix(f"https://{HOST}"),
            "referrer": event["referrer"],
            "title": event["title"],
            "language": who.language,
            "event_id": ID_MARK,
        }
        made.append(cut(get(f"/track/it?{urlencode(query)}", who, given["keep_alive"])))
    return made


def pings(given: Given, dice: Random) -> list[Message]:
    """One heartbeat a request, of a visitor who is online already after the first round.

    `visitors` and `count`: of how many visitors, and how many requests differ. `same`: each goes on
    as she arrived (see arrivals), as somebody does who reads; else most change page or state.
    `next_ms`: until when each is here.
    """
    made = []
    for _ in range(given.get("count", TEMPLATES)):
        number = dice.randrange(given.get("visitors", VISITORS))
        who = somebody(number)
        beat = {"property": given["property"]}
        own = Random(number) if given.get("same") else dice
        beat |= ping(who, own, given.get("next_ms", 5_000))
        made.append(Message((post(compact(beat), who, given["keep_alive"]),)))
    return made


def arrivals(given: Given, dice: Random) -> list[Message]:
    """Pings of visitors `first` to `last`, one each, 500 a request: they are online for 2 min."""
    made = []
    for start in range(given["first"], given["last"], 500):
        numbers = range(start, min(start + 500, given["last"]))
        pages = given.get("pages", 0)
        beats = [ping(somebody(n), Random(n), 60_000, pages) for n in numbers]
        body = compact({"property": given["property"], "events": beats})
        made.append(Message((post(body, somebody(start), True),), len(beats)))
    return made


def fetches(given: Given, dice: Random) -> list[Message]:
    """GET of a path, with no more headers than given."""
    lines = [f"GET {given['path']} HTTP/1.1", "Host: collect.example", *given.get("headers", ())]
    return [Message((("\r\n".join(lines) + "\r\n\r\n").encode(),))]


def asks(given: Given, dice: Random) -> list[Message]:
    """POST of each of these bodies to a path, in their order."""
    made = []
    for body in map(compact, given["bodies"]):
        lines = [
            f"POST {given['path']} HTTP/1.1",
            "Host: collect.example",
            "Content-Type: application/json",
            f"Content-Length: {len(body.encode())}",
            *given.get("headers", ()),
        ]
        made.append(Message((("\r\n".join(lines) + "\r\n\r\n" + body).encode(),)))
    return made


def appends(given: Given, dice: Random) -> list[Message]:
    """XADD of a row of an event's size to the stream `key`, for the yardstick."""
    made = []
    for _ in range(TEMPLATES):
        row = compact(pageview(somebody(dice.randrange(VISITORS)), dice)).encode()
        words = [b"XADD", given["key"].encode(), b"*", b"v", b"1", b"n", b"12345", b"d", row]
        sent = b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
        made.append(cut(b"*%d\r\n" % len(words) + sent))
    return made


KINDS: dict[str, Callable[[Given, Random], list[Message]]] = {
    "single_events": single_events,
    "batches": batches,
    "pixels": pixels,
    "pings": pings,
    "arrivals": arrivals,
    "fetches": fetches,
    "asks": asks,
    "appends": appends,
}
