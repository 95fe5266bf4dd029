"""The collector's HTTP: an ASGI application in front of Django's handler.

In: POST and OPTIONS /track, GET /track/it, GET /js/... Out: answers as docs/collecting.md has
them. Body, headers and the clock are read here, once; everything after works on plain values.
A 2xx leaves only after Valkey has answered; when that is not sure, it is 503.
"""

import asyncio
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import orjson
import structlog
from django.conf import settings
from rest_framework.exceptions import AuthenticationFailed

from accounts.addresses import visitor_address
from properties.access import Actor
from properties.authentication import key_of
from properties.models import Property
from tracking import collecting, directory, envelope, pixel, script, store
from tracking.agents import PREFETCH_HEADERS, is_prefetch
from tracking.collecting import Answer, now_ms, status_of
from tracking.configuration import configuration
from tracking.consent import signal_of
from tracking.directory import Record
from tracking.gather import gatherer
from tracking.intake import Origin, site_of
from tracking.limits import limits, too_many
from tracking.refusals import Fault, Reason
from tracking.sampling import sampler

Scope = Any  # the dict of the ASGI specification
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

log = structlog.get_logger()

READ_ON = 10_000_000  # bytes: who is cut off while sending does not hear why
BODY_WITHIN = 10.0  # seconds a sender may take for its body
BUSY_FOR = 1.0  # seconds until those who find no room hear so
RETRY_AFTER = (b"retry-after", b"2")
GIF = (
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\xff\xff\x00\x00\x00!\xf9\x04\x01\x00\x00\x00\x00"
    b",\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
)
# Anybody's page may send events; nothing secret is ever answered, and no cookie is read.
OPEN: Headers = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", b"retry-after, x-aktivat-reason"),
    (b"cross-origin-resource-policy", b"cross-origin"),
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
]
PREFLIGHT: Headers = [
    (b"access-control-allow-methods", b"POST, OPTIONS"),
    (b"access-control-allow-headers", b"content-type, authorization, content-encoding"),
    (b"access-control-max-age", b"86400"),
]


@dataclass(slots=True)
class Reply:
    status: int
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    content_type: bytes = b"application/json"


def json_reply(status: int, data: object, *headers: tuple[bytes, bytes]) -> Reply:
    return Reply(status, orjson.dumps(data), headers)


def gif_reply(reason: str = "") -> Reply:
    headers = ((b"x-aktivat-reason", reason.encode()),) if reason else ()
    return Reply(200, GIF, headers, b"image/gif")


def _plain(path: str) -> str:
    return "/" + path.lstrip("/") if path.startswith("//") else path


class Request:
    """The few things that the collector reads of a request."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.method: str = scope["method"]
        self.path = _plain(scope["path"])
        self.query: bytes = scope.get("query_string", b"")
        self.headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        client = scope.get("client")
        self._peer = client[0] if client else ""
        self._receive = receive

    def header(self, name: str) -> str:
        return self.headers.get(name, "")

    def origin(self, now: int, privileged: bool = False) -> Origin:
        return Origin(
            address=self.address,
            agent=self.header("user-agent"),
            prefetch=any(name in self.headers for name in PREFETCH_HEADERS)
            and is_prefetch(self.headers),
            signal=None if privileged else signal_of(self.headers),
            site=site_of(self.header("origin")),
            privileged=privileged,
            visitor_salt=store.visitor_salt(now),
        )

    @property
    def address(self) -> str:
        return visitor_address(
            self._peer, self.headers.get("x-forwarded-for"), settings.TRUSTED_PROXIES
        )

    async def body(self) -> bytes:
        """The whole body, bounded in size and time. Raises Fault."""
        length = self.headers.get("content-length")
        if length is None and "transfer-encoding" not in self.headers:
            raise Fault(411, "length", "Say how long the body is: send Content-Length.")
        if length is not None and (not length.isdecimal() or int(length) > READ_ON):
            raise envelope.too_large()
        try:
            async with asyncio.timeout(BODY_WITHIN):
                return await self._read()
        except TimeoutError:
            raise Fault(
                408, "slow", f"The body did not arrive within {BODY_WITHIN:.0f} seconds."
            ) from None

    async def _read(self) -> bytes:
        """Of a body that is too large nothing is kept, but it is read."""
        parts: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Fault(400, "cut_off", "The connection ended before the body did.")
            part = message.get("body", b"")
            size += len(part)
            if size <= envelope.MAX_BODY:
                parts.append(part)
            else:
                parts.clear()
            ends = not message.get("more_body")
            if size > READ_ON or (ends and size > envelope.MAX_BODY):
                raise envelope.too_large()
            if ends:
                return b"".join(parts)


async def find(name: str, hostname: str = "", within: float = directory.KEEP) -> Record | None:
    """The property's record: from memory when warm (and at most `within` seconds old), else from
    Postgres."""
    try:
        return directory.recall(name, hostname, within)
    except directory.Unknown:
        try:
            return await store.in_thread(directory.load, name, hostname)
        except Exception as error:  # Postgres away: unknown is not "does not exist"
            raise store.Unavailable(str(error)) from error


async def find_named(account: str, hostname: str, within: float = directory.KEEP) -> Record | None:
    """By a property's key, or by an account's slug and the hostname of the page."""
    return await find(account, _beside(account, hostname), within)


def _beside(account: str, hostname: str) -> str:
    """A key needs no hostname, and a slug cannot go without."""
    return "" if account.startswith("AK-") else hostname[:253].lower() or "-"


async def keep(
    record: Record, payloads: list[Any], origin: Origin, now: int, sent_at: Any = None
) -> Answer:
    """Judge and keep; judges again when the property has changed meanwhile."""
    for _ in range(collecting.ATTEMPTS):
        hearing = collecting.hear(payloads, record, origin, now, sent_at)
        try:
            verdicts = await gatherer().submit(record, hearing.refusals, hearing.items, now)
            answer = hearing.conclude(verdicts)
            if sampler.watched or answer.rejected:
                sampler.note(hearing, payloads, verdicts, origin, now)
            return answer
        except store.Stale as stale:
            fresh = await store.in_thread(collecting.renew, record, stale.version)
            if fresh is None:
                await count_nameless(Reason.UNKNOWN_PROPERTY, len(payloads))
                raise unknown_property() from None
            record = fresh
    raise store.Unavailable("The property is changing all the time.")


def unknown_property() -> Fault:
    return Fault(
        401,
        "unknown_property",
        "There is no property with this key; copy it from the property's snippet page.",
        "property",
    )


async def track(request: Request) -> Reply:
    """POST /track: one event, or a batch."""
    if request.method == "OPTIONS":
        return Reply(204, b"", tuple(PREFLIGHT))
    if request.method != "POST":
        raise Fault(405, "method", "Send events with POST.")
    now = now_ms()
    check_address(request)
    body = await request.body()
    if gatherer().turns_away(body):
        raise store.Busy
    sent = envelope.read(body, request.header("content-type"), request.header("content-encoding"))
    if sent.property is None:
        if sent.is_batch and not sent.payloads:
            return json_reply(202, Answer().as_json())
        raise Fault(400, "property", 'Name the property: "property": "AK-...".', "property")
    record = None
    if isinstance(sent.property, str):
        record = await find_named(sent.property, hostname_of(sent.payloads))
    if record is None:
        await count_nameless(Reason.UNKNOWN_PROPERTY, len(sent.payloads))
        raise unknown_property()
    privileged = await is_privileged(request, record)
    charge(request, record, len(sent.payloads), privileged)
    origin = await origin_of(request, now, privileged)
    answer = await keep(record, sent.payloads, origin, now, sent.sent_at)
    return json_reply(status_of(answer, sent.is_batch), answer.as_json())


def hostname_of(payloads: list[Any]) -> str:
    """Where the first event happened: with an account's slug it says which property is meant."""
    url = payloads[0].get("url") if payloads and isinstance(payloads[0], dict) else None
    return site_of(url) if isinstance(url, str) else ""


def check_address(request: Request) -> None:
    """Whether the address may be heard at all. Raises Fault."""
    with_key = bool(request.header("authorization"))
    seconds = limits().wait_to_read(request.address, with_key, time.monotonic())
    if seconds:
        raise too_many(seconds)


def charge(request: Request, record: Record, events: int, privileged: bool = False) -> None:
    """The events to the property, and to the address unless an API key speaks for it. Raises
    Fault."""
    address, now = "" if privileged else request.address, time.monotonic()
    seconds = limits().admit(address, record, events, now)
    if seconds:
        sampler.note_limited(record, events)
        raise too_many(seconds)


async def origin_of(request: Request, now: int, privileged: bool = False) -> Origin:
    if not store.knows_salt(now):
        await store.in_thread(store.visitor_salt, now)
    return request.origin(now, privileged)


async def is_privileged(request: Request, record: Record) -> bool:
    """Whether an API key that may manage the property's events stands beside the property."""
    authorization = request.header("authorization")
    if not authorization:
        return False
    return await store.in_thread(_may_manage_events, authorization, record, request.address)


def _may_manage_events(authorization: str, record: Record, address: str) -> bool:
    try:
        key = key_of(authorization, address)
    except AuthenticationFailed as error:
        raise Fault(401, "api_key", str(error.detail)) from error
    if key is None:
        raise Fault(401, "api_key", "Authorization must be: Bearer ak_...")
    # None: deleted a moment ago, and this collector has not heard of it.
    place = Property.objects.across_accounts().filter(pk=record.property_id).first()
    if place is None or not Actor(key).may("manage", "events", place):
        raise Fault(
            403, "forbidden", "This API key may not manage the events of this property: grant "
            "it events:manage, or leave the Authorization header out.",
        )  # fmt: skip
    return True


async def track_pixel(request: Request) -> Reply:
    """GET /track/it: a GIF whatever happens, but 503 when the event is not safe."""
    if request.method not in ("GET", "HEAD"):
        raise Fault(405, "method", "The pixel is fetched with GET.")
    if request.method == "HEAD":  # programs that look where links lead
        return gif_reply()
    now = now_ms()
    check_address(request)
    hit = pixel.read(request.query, request.header("referer"))
    record = await find_named(hit.account, hit.hostname or "") if hit.account else None
    if record is None:
        await count_nameless(Reason.UNKNOWN_PROPERTY, 1)
        return gif_reply(Reason.UNKNOWN_PROPERTY)
    charge(request, record, 1)
    answer = await keep(record, [hit.payload], await origin_of(request, now), now)
    return gif_reply(answer.rejected[0]["reason"] if answer.rejected else "")


async def count_nameless(code: str, count: int) -> None:
    """Count what names no known property in the instance-wide ledger."""
    await gatherer().submit(None, Counter({str(code): count}), [], now_ms())


JAVASCRIPT = b"text/javascript; charset=utf-8"
BY_NAME = b"public, max-age=3600, stale-while-revalidate=86400"
BY_HASH = b"public, max-age=31536000, immutable"
FRESH = 20.0  # seconds; no event tells the worker of a silent property that it was changed
CONFIGURED = b"public, max-age=60, stale-while-revalidate=600"


async def tracker(request: Request) -> Reply:
    """GET /js/...: the tracker's files and the configurations of properties.

    Nothing here depends on who asks, so every cache between may keep it.
    """
    if request.method not in ("GET", "HEAD"):
        raise Fault(405, "method", "The tracker is fetched with GET.")
    name = request.path.removeprefix("/js/")
    if name == script.CORE:
        return _file(request, script.files()[name], BY_NAME)
    if name.endswith(".json"):
        return await _configuration(request, name.removesuffix(".json"))
    file = script.at(request.path)
    if file is None:
        return _missing("not_found", "There is no such script; ask for /js/trackr.js.")
    return _file(request, file, BY_HASH)


_GZIP = re.compile(r"gzip(?!\s*;\s*q=0(\.0*)?\s*(,|$))", re.IGNORECASE)


def _file(request: Request, file: script.File, caching: bytes) -> Reply:
    """A file of the tracker, packed for whoever can unpack it: all browsers, not every program."""
    takes_gzip = bool(_GZIP.search(request.header("accept-encoding")))
    text, etag = (file.packed, "-gzip") if takes_gzip else (file.text, "")
    reply = _cached(request, text, f'"{file.digest}{etag}"', caching, JAVASCRIPT)
    vary = (b"vary", b"accept-encoding")
    packed = ((b"content-encoding", b"gzip"),) if takes_gzip and reply.body else ()
    return Reply(reply.status, reply.body, (*reply.headers, vary, *packed), reply.content_type)


async def _configuration(request: Request, account: str) -> Reply:
    """`account` is a property's key, or an account's slug: then `host` says which property."""
    host = dict(parse_qsl(request.query.decode("latin-1"))).get("host", "")
    try:
        record = directory.recall(account, _beside(account, host), FRESH)
    except directory.Unknown:  # a question to Postgres: strangers can invent names without end
        if seconds := _charge_lookup(request):
            return _later(seconds)
        record = await _fresh(account, host)
    if record is None:
        fault = unknown_property()
        return _missing(fault.code, fault.message)
    made = configuration(record)
    return _cached(request, made.text, made.etag, CONFIGURED, b"application/json")


async def _fresh(account: str, host: str) -> Record | None:
    try:
        return await find_named(account, host, FRESH)
    except store.Unavailable:  # Postgres is away: what was right a while ago is better than nothing
        return await find_named(account, host)


def _charge_lookup(request: Request) -> float:
    """Seconds until the address may ask for what is not in memory; 0: it costs as much as an
    event."""
    now = time.monotonic()
    seconds = limits().wait_to_read(request.address, False, now)
    if not seconds:
        limits().charge_unread(request.address, False, now)
    return seconds


def _later(seconds: float) -> Reply:
    """429, and not in the ledger: nothing was to be collected."""
    fault = too_many(seconds)
    return json_reply(429, fault.as_json(), (b"retry-after", str(fault.retry_after).encode()))


def _cached(request: Request, text: bytes, etag: str, caching: bytes, kind: bytes) -> Reply:
    headers = ((b"etag", etag.encode()), (b"cache-control", caching))
    known = request.header("if-none-match").split(",")  # a proxy that packs makes it W/"..."
    if any(tag.strip().removeprefix("W/") == etag for tag in known):
        return Reply(304, b"", headers, kind)
    return Reply(200, text, headers, kind)


def _missing(code: str, message: str) -> Reply:
    """404, and not in the ledger: nothing was collected."""
    return json_reply(404, Fault(404, code, message).as_json())


ROUTES: dict[str, Callable[[Request], Awaitable[Reply]]] = {
    "/track": track,
    "/track/it": track_pixel,
}


def route(path: str) -> Callable[[Request], Awaitable[Reply]] | None:
    """Who answers a path; None: it is not the collector's.

    The tracker adds its paths to an address as it was given, be it with a slash at its end.
    """
    path = _plain(path)
    return ROUTES.get(path) or (tracker if path.startswith("/js/") else None)


async def collector(scope: Scope, receive: Receive, send: Send) -> None:
    """The ASGI application of these routes; every way out is one of these answers."""
    request = Request(scope, receive)
    answering = route(request.path)
    assert answering is not None, "asgi.py sends here what route() knows"
    try:
        reply = await answering(request)
    except Fault as fault:
        if fault.status not in (405, 429) and not request.path.startswith("/js/"):
            with_key = bool(request.header("authorization"))
            limits().charge_unread(request.address, with_key, time.monotonic())
        reply = await _faulty(fault, request.path)
    except store.Busy:
        await asyncio.sleep(BUSY_FOR)  # who comes back at once costs more than who is served
        reply = unsure()
    except store.Unavailable:
        reply = unsure()
    except Exception:
        log.exception("collector", path=request.path)
        reply = json_reply(
            500, {"error": {"code": "error", "message": "Our fault; try again later."}}
        )
    await _answer(reply, request, send)


async def _faulty(fault: Fault, path: str) -> Reply:
    headers: tuple[tuple[bytes, bytes], ...] = ()
    if fault.status == 405:
        headers = ((b"allow", b"POST, OPTIONS" if path == "/track" else b"GET, HEAD"),)
    elif fault.code != Reason.UNKNOWN_PROPERTY:  # that one is counted by its events
        try:
            await count_nameless(fault.code, 1)
        except store.Unavailable:
            return unsure()
    if fault.status == 408:
        headers = ((b"connection", b"close"),)
    if fault.retry_after:
        headers = ((b"retry-after", str(fault.retry_after).encode()),)
    if path == "/track/it" and fault.status == 400:
        return gif_reply(fault.code)
    return json_reply(fault.status, fault.as_json(), *headers)


def unsure() -> Reply:
    """Nothing may be acknowledged."""
    body = {"error": {"code": "unavailable", "message": "Not stored; send it again."}}
    return json_reply(503, body, RETRY_AFTER)


async def _answer(reply: Reply, request: Request, send: Send) -> None:
    own = {name for name, _ in reply.headers}
    headers = [
        *((name, value) for name, value in OPEN if name not in own),
        *reply.headers,
        (b"content-length", str(len(reply.body)).encode()),
    ]
    if reply.body:
        headers.append((b"content-type", reply.content_type))
    body = b"" if request.method == "HEAD" else reply.body
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
