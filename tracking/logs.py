r"""What a line of an access log says: Apache's and nginx's combined format.

In comes one line as bytes, out comes a `Line`, or `BadLine` with the reason; `skipped(line)` says
why a line is no pageview. Pure: files, properties and the collector are importing.py's business.

A pageview is a well-formed GET that was answered with 200 and asks for no static file. The other
lines have a class, the first that fits: `request` (the request field is not `METHOD target
HTTP/x.y`), `method`, `status`, `static`.

What servers really write: escapes (\" \\ \n \xe9), bytes in any encoding, a last field that was
cut off before its closing quote, more quoted fields after the agent (nginx's `main` format), two
lines melted into one (the first counts).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple

LINE_LIMIT: Final = 65_536  # bytes; servers refuse requests long before that

# What belongs to a page and is none itself. Part of the product's definition of a pageview.
STATIC_EXTENSIONS: Final = (
    "css|js|mjs|map|png|jpe?g|gif|ico|svg|webp|avif|bmp|woff2?|ttf|eot|otf|mp3|mp4|webm|ogg|wav|"
    "swf|pdf|zip|gz|tgz|rar|7z|exe|dmg|iso|xml|txt|json|rss|atom|conf|sh|rpm|deb|bz2|tar|psd|mov|"
    "avi|wmv|class|jar|cur|htc"
)
_STATIC: Final = re.compile(rf"\.({STATIC_EXTENSIONS})\Z", re.IGNORECASE)

# Possessive (*+, ++): a hostile line must not be tried in every possible way.
_FIELD: Final = rb'"([^"\\]*+(?:\\.[^"\\]*+)*+)'
_LINE: Final = re.compile(
    # The user is what stands before the first [ and may hold spaces.
    rb"(\S++) \S++ [^\[]*+\[(\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] "
    + _FIELD
    + rb'" (\d{3}) (?:\d++|-) '
    + _FIELD
    + rb'" '
    + _FIELD
    # Closed, perhaps with further fields or with the next line, when two were written at once; or
    # cut off, perhaps in the middle of an escape.
    + rb'(?:".*|(\\?))',
    re.DOTALL,
)
_REQUEST: Final = re.compile(r"([A-Z][A-Z-]*) (\S+) HTTP/\d(?:\.\d)?")
_ESCAPE: Final = re.compile(rb"\\(?:x([0-9A-Fa-f]{2})|(.))", re.DOTALL)
_LETTERS: Final = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"b": b"\b", b"v": b"\v"}
_MONTHS: Final = {
    name: number
    for number, name in enumerate(
        b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), start=1
    )
}


class Skip(StrEnum):
    """Why a parsed line is no pageview, in the order in which it is asked."""

    REQUEST = "request"
    METHOD = "method"
    STATUS = "status"
    STATIC = "static"


class BadLine(ValueError):
    """The line cannot be parsed; the message says what is missing and quotes nothing of it."""


class Line(NamedTuple):
    """`time` and `offset` (of the zone as written) are seconds; `method` and `target` are "" when
    the request field is not well-formed; `referrer` and `agent` are "" where the log says "-"."""

    address: str
    time: int
    offset: int
    method: str
    target: str
    status: int
    referrer: str
    agent: str

    @property
    def path(self) -> str:
        """The target without its query, as sent."""
        return self.target.partition("?")[0]


def parse(line: bytes) -> Line:
    """The line, with or without its end; raises BadLine."""
    line = line.rstrip(b"\r\n")
    if len(line) > LINE_LIMIT:
        raise BadLine(f"longer than {LINE_LIMIT:,} bytes")
    found = _LINE.fullmatch(line)
    if found is None:
        raise BadLine(_what_is_wrong(line))
    address, when, request, status, referrer, agent, cut = found.groups()
    time, offset = _instant(when)
    asked = _REQUEST.fullmatch(_text(request))
    method, target = asked.groups() if asked else ("", "")
    return Line(
        address=_text(address),
        time=time,
        offset=offset,
        method=method,
        target=target,
        status=int(status),
        referrer=_said(referrer),
        agent=_said(agent + (cut or b"")),
    )


def skipped(line: Line) -> Skip | None:
    """Why the line is no pageview; None if it is one."""
    if not line.method:
        return Skip.REQUEST
    if line.method != "GET":
        return Skip.METHOD
    if line.status != 200:
        return Skip.STATUS
    if _STATIC.search(line.path):
        return Skip.STATIC
    return None


def _said(field: bytes) -> str:
    return "" if field == b"-" else _text(field)


def _text(field: bytes) -> str:
    """Escapes resolved, then read as UTF-8; what is none (Latin-1) is replaced, not refused."""
    if b"\\" in field:
        field = _ESCAPE.sub(_unescaped, field)
    return field.decode("utf-8", "replace")


def _unescaped(found: re.Match[bytes]) -> bytes:
    code, letter = found.groups()
    return bytes([int(code, 16)]) if code else _LETTERS.get(letter, letter)


@lru_cache(maxsize=1024)  # lines of one second follow each other
def _instant(text: bytes) -> tuple[int, int]:
    """`17/May/2015:10:05:03 +0200` -> epoch seconds and the zone's offset in seconds."""
    sign = -1 if text[21:22] == b"-" else 1
    offset = sign * (int(text[22:24]) * 3600 + int(text[24:26]) * 60)
    try:
        shown = datetime(
            int(text[7:11]),
            _MONTHS[text[3:6]],
            int(text[:2]),
            int(text[12:14]),
            int(text[15:17]),
            int(text[18:20]),
            tzinfo=UTC,
        )
    except (KeyError, ValueError) as error:
        raise BadLine("its time is no date and time") from error
    return int(shown.timestamp()) - offset, offset


def _what_is_wrong(line: bytes) -> str:
    if not line.strip():
        return "empty"
    if b"[" not in line or line.count(b'"') < 2:
        return "not the combined format: address, [time] and a quoted request are expected"
    return "not the combined format: a referrer or a user agent is missing, or the line was cut off"
