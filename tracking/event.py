"""The event that the judge lets through, and the row it becomes.

intake.py makes an Event, store.py sends `row(event)` through Valkey's stream, drain.py copies it
into Postgres as it is. The row is a line of Postgres' text COPY format: built once by the
collector, it costs the drain nothing to read. COLUMNS is the contract between the two; while
workers of two versions run side by side, the stream entry's `v` field names the layout.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any
from uuid import UUID

LAYOUT = b"1"

# In the order of the row. account_id, property_id and visitor (the number) stand in front of it
# and are added by the drain.
COLUMNS = (
    "event_id", "time", "received_at", "fingerprint", "visitor_uuid", "name", "bot", "sanitized",
    "hostname", "page", "query", "title", "referrer", "source", "medium", "campaign", "term",
    "content", "channel", "country", "device", "browser", "browser_version", "os", "language",
    "screen", "tab", "session", "user", "engaged_ms", "scroll", "load_ms", "revenue", "currency",
    "props",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Event:
    """One accepted event. Times are epoch milliseconds; strings are bounded and clean."""

    event_id: UUID
    time: int
    received_at: int
    fingerprint: int  # crc32 of the payload as sent, signed 32 bit: tells a retry from a conflict
    visitor_uuid: UUID
    name: str
    bot: bool
    sanitized: bool
    hostname: str
    page: str
    query: str
    title: str
    referrer: str
    source: str
    medium: str
    campaign: str
    term: str
    content: str
    channel: str
    country: str
    device: str
    browser: str
    browser_version: str
    os: str
    language: str
    screen: str
    tab: UUID | None
    session: UUID | None
    user: str
    engaged_ms: int | None
    scroll: int | None
    load_ms: int | None
    revenue: str | None
    currency: str
    props: bytes | None  # JSON

    # Not part of the row: what Valkey alone needs.
    live: bool = False  # from a browser, now: shows its visitor as online
    cookieless: bool = False


_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})


_values_of = attrgetter(*COLUMNS[3:])
_UNSAFE = re.compile(r"[\\\t\n\r]")


def row(event: Event) -> bytes:
    """The event as one line of text COPY, without the line's end and without visitor number."""
    values = [value.decode() if type(value) is bytes else value for value in _values_of(event)]
    # Nearly no text holds one of the four characters that COPY escapes: look once, at all of them.
    if _UNSAFE.search("".join([value for value in values if type(value) is str])):
        values = [value.translate(_ESCAPES) if type(value) is str else value for value in values]
    return "\t".join(
        [
            str(event.event_id),
            _timestamp(event.time),
            _timestamp(event.received_at),
            *[value if type(value) is str else _plain(value) for value in values],
        ]
    ).encode()


def _timestamp(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")


def _plain(value: Any) -> str:
    if value is None:
        return r"\N"
    if value is True:
        return "t"
    if value is False:
        return "f"
    return str(value)


_UNESCAPES = {"\\": "\\", "t": "\t", "n": "\n", "r": "\r"}


def _unescape(field: str) -> str | None:
    if field == r"\N":
        return None
    if "\\" not in field:
        return field
    out, chars = [], iter(field)
    for char in chars:
        out.append(_UNESCAPES.get(next(chars, ""), "") if char == "\\" else char)
    return "".join(out)


def read_row(line: bytes) -> dict[str, str | None]:
    """`row` backwards: column -> text as Postgres would read it (None for NULL).

    Raises ValueError when the line has not one field for each column.
    """
    fields = line.decode().split("\t")
    return {name: _unescape(field) for name, field in zip(COLUMNS, fields, strict=True)}
