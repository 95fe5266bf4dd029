"""Is an answer whole, and how many events does it acknowledge?

In: the bytes that have come over a connection. Out: None while something is missing, else a short
name of the answer and the events that count. Only what says so itself counts as accepted.
"""

from collections.abc import Callable

Reading = tuple[str, int]  # ("202", 1); ("503", 0); ("202 not accepted", 0)


def read_http(data: bytes) -> tuple[bytes, bytes, bytes] | None:
    """(status, head in small letters, body) of a whole answer with a Content-Length."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = data[:end].lower()
    at = head.find(b"\r\ncontent-length:")
    if at < 0:
        raise ValueError(f"An answer without Content-Length: {head[:200]!r}")
    length = int(head[at + 17 :].split(b"\r", 1)[0])
    body = data[end + 4 :]
    if len(body) < length:
        return None
    if len(body) > length:
        raise ValueError(f"More than one answer to one request: {body[length : length + 80]!r}")
    return head[9:12], head, body


def number_after(word: bytes, body: bytes) -> int:
    """The number that follows a word in JSON; 0 without the word."""
    at = body.find(word)
    if at < 0:
        return 0
    at += len(word)
    end = at
    while body[end : end + 1].isdigit():
        end += 1
    return int(body[at:end] or 0)


def of_events(data: bytes, size: int) -> Reading | None:
    """202 with "accepted": as many events as it says."""
    parts = read_http(data)
    if parts is None:
        return None
    status, head, body = parts
    if status != b"202":
        return refusal(status, head), 0
    accepted = number_after(b'"accepted":', body)
    return ("202" if accepted == size else "202 not accepted"), min(accepted, size)


def refusal(status: bytes, head: bytes) -> str:
    """The status; whoever is turned away for now has to be told for how long."""
    said = status.decode()
    if said in ("429", "503") and b"\r\nretry-after:" not in head:
        return f"{said} without Retry-After"
    return said


def of_pings(data: bytes, size: int) -> Reading | None:
    """202 that rejects none; pings are not "accepted", for they are not kept."""
    parts = read_http(data)
    if parts is None:
        return None
    status, _, body = parts
    if status != b"202":
        return status.decode(), 0
    return ("202", size) if b'"rejected":[]' in body else ("202 not accepted", 0)


def of_pixels(data: bytes, size: int) -> Reading | None:
    """A GIF without a reason against it."""
    parts = read_http(data)
    if parts is None:
        return None
    status, head, body = parts
    if status == b"200" and body.startswith(b"GIF89a"):
        return ("200 not accepted", 0) if b"\r\nx-aktivat-reason:" in head else ("200", 1)
    return status.decode(), 0


def of_questions(data: bytes, size: int) -> Reading | None:
    """Any whole 2xx."""
    parts = read_http(data)
    if parts is None:
        return None
    status = parts[0].decode()
    return status, int(status.startswith("2"))


def of_appends(data: bytes, size: int) -> Reading | None:
    """The id of a stream entry (RESP's bulk string), or the server's error."""
    if not data.endswith(b"\r\n"):
        return None
    if data.startswith(b"$"):
        return ("id", 1) if data.count(b"\r\n") == 2 else None
    return data[:40].decode(errors="replace").strip(), 0


KINDS: dict[str, Callable[[bytes, int], Reading | None]] = {
    "events": of_events,
    "pings": of_pings,
    "pixels": of_pixels,
    "questions": of_questions,
    "appends": of_appends,
}
