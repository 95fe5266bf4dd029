"""The usual request, answered without ASGI: one `POST /track` of an honest sender.

In: the bytes of a request as they came off a kept connection (aktivat/protocol.py). Out: False,
before anything was done, when there is anything about it that views.py should look at: an unknown
property, something to refuse, too much at once, an API key, gzip, a header that is rare. Else the
events are kept and `tell` hears of it. The ordinary path costs three times more and gives the same
answers.
"""

import re
import time
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import orjson
from django.conf import settings

from accounts.addresses import visitor_address
from tracking import directory, envelope, store
from tracking.agents import PREFETCH_HEADERS, is_prefetch
from tracking.collecting import Answer, Hearing, hear, now_ms, status_of
from tracking.consent import signal_of
from tracking.gather import gatherer
from tracking.intake import Origin, site_of
from tracking.items import chunks
from tracking.limits import limits
from tracking.refusals import Fault, Reason
from tracking.sampling import sampler
from tracking.waiting import Ticket

REQUEST_LINE = b"POST /track HTTP/1.1"
LONGEST_HEAD = 4_096
MOST_FIELDS = 100  # of gunicorn, which refuses more

# Stricter than HTTP: what is spelt in any other way is for a whole HTTP parser.
_FIELD = re.compile(rb"([A-Za-z0-9-]{1,64}): ([\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)")
_UNUSUAL = frozenset(
    (
        "authorization",
        "content-encoding",
        "expect",
        "http2-settings",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        # Two that contradict each other are refused by the web server.
        "x-forwarded-protocol",
        "x-forwarded-ssl",
    )
)


class Head(NamedTuple):
    """What the lines before the body say."""

    length: int
    agent: str
    forwarded_for: str
    is_prefetch: bool
    signal: Reason | None
    site: str


@lru_cache(maxsize=4_096)
def head_of(lines: bytes) -> Head | None:
    """The head of a usual request, without the empty line after it; None for any other.

    Senders say the same with every request, so most heads have been read before.
    """
    first, *rest = lines.split(b"\r\n")
    if first != REQUEST_LINE or len(lines) > LONGEST_HEAD or len(rest) > MOST_FIELDS:
        return None
    headers: dict[str, str] = {}
    for line in rest:
        field = _FIELD.fullmatch(line)
        if field is None:
            return None
        name = field[1].decode().lower()
        if name in headers or name in _UNUSUAL:
            return None
        headers[name] = field[2].decode()
    length = headers.get("content-length", "")
    if "host" not in headers or not (length.isdecimal() and len(length) <= 7):
        return None
    if headers.get("connection", "keep-alive").lower() != "keep-alive":
        return None
    try:
        envelope.check_type(headers.get("content-type", ""))
    except Fault:
        return None
    return Head(
        int(length),
        headers.get("user-agent", ""),
        headers.get("x-forwarded-for", ""),
        any(name in headers for name in PREFETCH_HEADERS) and is_prefetch(headers),
        signal_of(headers),
        site_of(headers.get("origin", "")),
    )


def take(
    head: Head, peer: str, body: bytes, tell: Callable[[int, bytes, Exception | None], None]
) -> bool:
    """Keep the events of a usual request; `tell` gets status and body of the answer, or why there
    is none."""
    now = now_ms()
    if len(body) > envelope.MAX_BODY or not store.knows_salt(now):
        return False
    if gatherer().turns_away(body):
        tell(503, b"", store.Busy())
        return True
    try:
        sent = envelope.shape(orjson.loads(body))
        record = directory.recall(sent.property) if isinstance(sent.property, str) else None
    except (orjson.JSONDecodeError, Fault, directory.Unknown):
        return False
    if record is None:
        return False
    origin = _origin(peer, head, now)
    moment = time.monotonic()
    if limits().admit(origin.address, record, len(sent.payloads), moment):
        return False
    hearing = hear(sent.payloads, record, origin, now, sent.sent_at)
    if hearing.answer.rejected or len(chunks(hearing.items)) != 1:
        limits().give_back(origin.address, record, len(sent.payloads), moment)
        return False

    def conclude(verdicts: str, error: Exception | None) -> None:
        if error:
            if isinstance(error, store.Stale):  # it is judged again there, and charged again
                limits().give_back(origin.address, record, len(sent.payloads), moment)
            tell(503, b"", error)
        else:
            tell(*_reply_of(hearing, verdicts, sent.is_batch), None)
            if sampler.watched or hearing.answer.rejected:
                sampler.note(hearing, sent.payloads, verdicts, origin, now)

    try:
        # Nothing was refused, so `refusals` is empty.
        gatherer().offer(Ticket(record, hearing.refusals, hearing.items, now, conclude))
    except store.Busy as busy:
        tell(503, b"", busy)
    return True


_ALONE = {
    verdict: orjson.dumps(answer.as_json())
    for verdict, answer in {
        store.ACCEPTED: Answer(accepted=1),
        store.DUPLICATE: Answer(duplicate=1),
        store.CONFLICT: Answer(duplicate=1),
        store.PING: Answer(),
    }.items()
}


def _reply_of(hearing: Hearing, verdicts: str, is_batch: bool) -> tuple[int, bytes]:
    alone = None if hearing.answer.made_ids else _ALONE.get(verdicts)
    if alone:
        return 202, alone
    answer = hearing.conclude(verdicts)
    return status_of(answer, is_batch), orjson.dumps(answer.as_json())


def _origin(peer: str, head: Head, now: int) -> Origin:
    address = _address(peer, head.forwarded_for)
    return _origin_again(
        address, head.agent, head.is_prefetch, head.signal, head.site, store.visitor_salt(now)
    )


_origin_again = lru_cache(maxsize=4_096)(
    lambda address, agent, prefetch, signal, site, salt: Origin(
        address, agent, prefetch, signal, site, visitor_salt=salt
    )
)


@lru_cache(maxsize=4_096)
def _address(peer: str, forwarded_for: str) -> str:
    return visitor_address(peer, forwarded_for or None, settings.TRUSTED_PROXIES)
