"""What a case of the corpus is: requests as they go over the wire, and the answers to them.

Bytes may name what is only known when they are sent: a property by its key (PLACES says which
ones there are), `$SLUG` (the account of `$KEY`), `$ID` and `$VISITOR` (new for each sending, the
same within it), `$NOW`, `$NOW+1000`, `$NOW-1000` (epoch milliseconds). Used by the tables beside
this file, by tests/test_corpus.py and by `make fuzz`.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

CHROME = b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/120.0.0.0 Safari/537.36"
HEADERS: Mapping[bytes, bytes] = {
    b"Host": b"collect.example",
    b"User-Agent": CHROME,
    b"Accept": b"*/*",
    b"Content-Type": b"text/plain;charset=UTF-8",
    b"Origin": b"https://shop.example",
}
# Says nothing, but is not the plainest spelling: the short way leaves it to the web server.
LONG_WAY = b"TE: trailers"
# The properties that requests name, and what is special about them.
PLACES: Mapping[str, Mapping[str, Any]] = {
    "KEY": {},
    "OTHER": {},
    "COOKIELESS": {"privacy": "cookieless"},
    "REQUIRED": {"privacy": "required"},
    "DROPPING": {"signals": "drop"},
    "IGNORING": {"signals": "ignore"},
    "STRICT": {"strict_origin": True},
}
_NAMES = "|".join((*PLACES, "REPLACED", "RETIRED", "SLUG", "ID", "VISITOR"))
_NAMED = re.compile(rf"\$({_NAMES}|NOW(?:[+-][0-9]+)?)\b".encode())


@dataclass(frozen=True)
class Request:
    """One HTTP request. `pack` changes the body after names in it are filled in (gzip)."""

    line: bytes = b"POST /track HTTP/1.1"
    headers: tuple[bytes, ...] = tuple(b"%s: %s" % field for field in HEADERS.items())
    body: bytes = b""
    pack: Callable[[bytes], bytes] = bytes
    says_length: bool = True
    hangs_up: bool = False  # the sender says that nothing more will come

    def wire(self, names: Mapping[str, str], now: int, *more: bytes) -> bytes:
        body = self.pack(filled(self.body, names, now))
        headers = [filled(header, names, now) for header in self.headers]
        if self.says_length:
            headers.append(b"Content-Length: %d" % len(body))
        return b"\r\n".join([filled(self.line, names, now), *headers, *more, b"", body])

    @property
    def is_post(self) -> bool:
        """Whether another header changes nothing about it."""
        return self.line == Request.line and self.says_length


def filled(text: bytes, names: Mapping[str, str], now: int) -> bytes:
    def known(match: re.Match[bytes]) -> bytes:
        name = match[1].decode()
        if name.startswith("NOW"):
            return b"%d" % (now + int(name[3:] or 0))
        return names[name].encode()

    return _NAMED.sub(known, text)


@dataclass(frozen=True)
class Answer:
    """What must come back: one of `status`, and whatever else is given.

    `code`: of the fault, or of the pixel's header. `rejected`: (reason, field) of each refusal.
    `kept`: fields of the event as it is stored under `$ID`. `closed`: the connection ends.
    """

    status: tuple[int, ...] = (202,)
    code: str = ""
    accepted: int | None = None
    duplicate: int = 0
    rejected: tuple[tuple[str, str | None], ...] = ()
    kept: Mapping[str, Any] = field(default_factory=dict)
    lacks_text: str = ""  # what must stand nowhere in the stored event
    headers: Mapping[str, str] = field(default_factory=dict)
    lacks: tuple[str, ...] = ()  # headers that must not be there
    closed: bool = False


@dataclass(frozen=True)
class Case:
    """Steps on one connection. `proxied`: it comes from a configured proxy."""

    row: str
    name: str
    steps: tuple[tuple[Request, Answer], ...]
    proxied: bool = False

    @property
    def id(self) -> str:
        return f"{self.row}-{self.name}"


# -- requests --------------------------------------------------------------------------------------


def post(body: Any, **headers: bytes | None) -> Request:
    """A POST /track as a browser sends it; `content_type=None` leaves a header out."""
    own = {name.replace("_", "-").title().encode(): value for name, value in headers.items()}
    lines = {**HEADERS, **own}
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    return Request(
        headers=tuple(b"%s: %s" % pair for pair in lines.items() if pair[1] is not None), body=body
    )


def packed(request: Request, pack: Callable[[bytes], bytes], encoding: bytes) -> Request:
    return replace(request, pack=pack, headers=(*request.headers, b"Content-Encoding: " + encoding))


def pageview(**fields: Any) -> dict[str, Any]:
    own = {"property": "$KEY", "name": "pageview", "url": "https://shop.example/p"}
    return {**own, "event_id": "$ID", "visitor": "$VISITOR", **fields}


def written(event: Mapping[str, Any], /, **raw: bytes) -> bytes:
    """The event as JSON with some fields in bytes of one's own, as json.dumps writes none."""
    line = json.dumps(event)[:-1].encode()
    return line + b"".join(b', "%s": %s' % (k.encode(), v) for k, v in raw.items()) + b"}"


def batch(*events: Any, **fields: Any) -> dict[str, Any]:
    return {"property": "$KEY", "events": list(events), **fields}


def get(path: bytes, **headers: bytes) -> Request:
    lines = {**HEADERS, **{k.replace("_", "-").title().encode(): v for k, v in headers.items()}}
    return Request(
        b"GET %s HTTP/1.1" % path,
        tuple(b"%s: %s" % pair for pair in lines.items()),
        says_length=False,
    )


def with_method(method: bytes, path: bytes = b"/track", *headers: bytes) -> Request:
    return Request(
        b"%s %s HTTP/1.1" % (method, path), (*Request.headers, *headers), says_length=False
    )


# -- answers ---------------------------------------------------------------------------------------


def fault(status: int, code: str = "") -> Answer:
    """The request as a whole is refused, and counted for the instance."""
    return Answer((status,), code)


def accepted(count: int = 1, duplicate: int = 0, /, **kept: Any) -> Answer:
    return Answer((202,), accepted=count, duplicate=duplicate, kept=kept)


def refused(reason: str, name: str | None = None) -> Answer:
    """A single event that is refused."""
    return Answer((422,), accepted=0, rejected=((reason, name),))


def turned_away(*status: int) -> Answer:
    """By the web server, before there is a request to answer; it may hang up without a word."""
    return Answer((*status, 0))


def case(row: str, name: str, request: Request, answer: Answer, *, proxied: bool = False) -> Case:
    return Case(row, name, ((request, answer),), proxied)


def events(row: str, answer: Answer, /, **named: Mapping[str, Any]) -> list[Case]:
    """Cases that differ in the fields of a pageview: name=fields."""
    return [
        case(row, name.replace("_", " "), post(pageview(**fields)), answer)
        for name, fields in named.items()
    ]
