"""The event that the judge lets through, and the row it becomes.

intake.py makes an Event, store.py sends `row(event)` through Valkey's stream, drain.py copies it
into Postgres as it is. The row is a line of Postgres' text COPY format: built once by the
collector, it costs the drain nothing to read. COLUMNS is the contract between the two; while
workers of two versions run side by side, the stream entry's `v` field names the layout.
"""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

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


class Event(NamedTuple):
    """One accepted event: COLUMNS in their order, then what Valkey alone needs.

    Times are epoch milliseconds, ids UUIDs as text; strings are bounded and clean.
    """

    event_id: str
    time: int
    received_at: int
    fingerprint: int  # crc32 of the payload as sent, signed 32 bit: tells a retry from a conflict
    visitor_uuid: str
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
    tab: str | None
    session: str | None
    user: str
    engaged_ms: int | None
    scroll: int | None
    load_ms: int | None
    revenue: str | None
    currency: str
    props: bytes | None  # JSON

    # Not part of the row.
    live: bool = False  # from a browser, now: shows its visitor as online
    cookieless: bool = False


_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})
_NULL = r"\N"
_FIRST, _END = 3, len(COLUMNS)


def row(event: Event) -> bytes:
    """The event as one line of text COPY, without the line's end and without visitor number."""
    own = event[_FIRST:_END]
    rest = "\t".join([value if type(value) is str else _plain(value) for value in own])
    # Nearly no text holds one of the four characters that COPY escapes: look once, at all of them.
    if (
        rest.count("\\") != own.count(None)
        or rest.count("\t") != _END - _FIRST - 1
        or "\n" in rest
        or "\r" in rest
    ):
        rest = "\t".join(
            [value.translate(_ESCAPES) if type(value) is str else _plain(value) for value in own]
        )
    time = _timestamp(event.time)
    received_at = time if event.received_at == event.time else _timestamp(event.received_at)
    return f"{event.event_id}\t{time}\t{received_at}\t{rest}".encode()


def _timestamp(ms: int) -> str:
    return f"{_second(ms // 1000)}.{ms % 1000:03d}+00:00"


@lru_cache(maxsize=1_000)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _plain(value: Any) -> str:
    if value is None:
        return _NULL
    if value is False:
        return "f"
    if value is True:
        return "t"
    if type(value) is bytes:
        return value.decode().translate(_ESCAPES)
    return str(value)


_UNESCAPES = {"\\": "\\", "t": "\t", "n": "\n", "r": "\r"}


def _unescape(field: str) -> str | None:
    if field == _NULL:
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
