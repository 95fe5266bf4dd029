"""From the bytes of a request to a list of payloads: encodings, sizes, JSON, shape.

In: the body and the headers that describe it. Out: an `Envelope`. Whatever cannot be read raises
a Fault with the HTTP status that tells the sender what to change. Called by views.py and, for
the checks of shape, by nobody else: from here on there are only Python values.
"""

import json
import zlib
from dataclasses import dataclass
from typing import Any

import orjson

from tracking.refusals import Fault

MAX_BODY = 1_000_000  # bytes, on the wire and inflated
MAX_EVENTS = 1_000
_TYPES = ("application/json", "text/plain", "")


@dataclass(frozen=True, slots=True)
class Envelope:
    """`property` as given by the envelope or the single event; sent_at unread."""

    property: Any
    payloads: list[Any]
    is_batch: bool
    sent_at: Any = None


def read(body: bytes, content_type: str, content_encoding: str) -> Envelope:
    """The envelope of a POST /track. Raises Fault."""
    check_type(content_type)
    return shape(parse(inflate(body, content_encoding)))


def check_type(content_type: str) -> None:
    kind, _, rest = content_type.lower().partition(";")
    if kind.strip() not in _TYPES:
        raise Fault(
            415, "content_type", "Send JSON, with content type application/json or text/plain."
        )
    if "charset" in rest:
        charset = rest.split("charset=", 1)[-1].split(";")[0].strip(' "')
        if charset not in ("utf-8", "utf8", "us-ascii"):
            raise Fault(415, "charset", "Send the body as UTF-8.")


def inflate(body: bytes, content_encoding: str) -> bytes:
    """The body without its gzip, never more than MAX_BODY of it in memory."""
    encoding = content_encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding != "gzip":
        raise Fault(415, "content_encoding", "Send the body plain, or with one gzip around it.")
    inflater = zlib.decompressobj(wbits=31)
    try:
        plain = inflater.decompress(body, MAX_BODY + 1)
    except zlib.error as error:
        raise Fault(400, "gzip", f"The body is not readable gzip ({error}).") from error
    if len(plain) > MAX_BODY:
        raise too_large()
    if not inflater.eof or inflater.unused_data:
        raise Fault(400, "gzip", "The gzip body is cut off, or something follows it.")
    return plain


def too_large() -> Fault:
    return Fault(
        413, "too_large", f"A request holds at most {MAX_BODY:,} bytes; send less at once."
    )


def parse(body: bytes) -> Any:
    """JSON as strict as the standard, but for lone surrogates (they become U+FFFD later)."""
    body = body.removeprefix(b"\xef\xbb\xbf").strip()
    if not body:
        raise Fault(400, "empty", "The body is empty; send one event as a JSON object.")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        return _parse_slowly(body, error)


def _parse_slowly(body: bytes, fast_error: orjson.JSONDecodeError) -> Any:
    """What the fast parser refuses is either broken, which this names, or a lone surrogate."""
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise Fault(400, "encoding", f"The body is not UTF-8 at byte {error.start}.") from error
    try:
        return json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError as error:
        raise Fault(
            400, "depth", "The JSON is nested too deeply; 20 levels are allowed."
        ) from error
    except _NumberRange as error:
        raise Fault(400, "number_range", str(error)) from error
    except ValueError as error:
        # json's own error knows line and column; a number of 5,000 digits is a plain ValueError.
        where = error if isinstance(error, json.JSONDecodeError) else fast_error
        raise Fault(400, "malformed", f"The body is not JSON: {where}.") from error


class _NumberRange(Exception):
    pass


def _refuse_constant(name: str) -> float:
    raise _NumberRange(f"{name} is not a JSON number; leave the field out.")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise _NumberRange(f"{text[:20]} is too large for a number.")
    return number


def shape(data: Any) -> Envelope:
    """One event or a batch of up to MAX_EVENTS of one property."""
    if not isinstance(data, dict):
        raise Fault(
            400, "shape", 'Send one event as an object, or {"property": ..., "events": [...]}.'
        )
    if "events" not in data:
        return Envelope(data.get("property"), [data], is_batch=False, sent_at=data.get("sent_at"))
    events = data["events"]
    if not isinstance(events, list):
        raise Fault(400, "shape", '"events" must be a list of events.', "events")
    if len(events) > MAX_EVENTS:
        raise Fault(
            413, "too_many_events", f"A batch holds at most {MAX_EVENTS:,} events.", "events"
        )
    key = data.get("property")
    if key is None:
        # A batch may name its property in each event instead; the first one rules.
        key = next((e["property"] for e in events if isinstance(e, dict) and "property" in e), None)
    return Envelope(key, events, is_batch=True, sent_at=data.get("sent_at"))
