"""HTTP of the web process: gunicorn's protocol, with a short way for the collector's usual request.

In: connections of gunicorn's asgi worker (aktivat/servers/gunicorn.conf.py). A `POST /track` that
comes whole, in the plainest spelling, on a connection on which nothing else is going on is
answered here (tracking/usual.py); all other bytes go to gunicorn as they came. A request is either
wholly ours or wholly gunicorn's, so there is one parser for whatever is unusual.
"""

import asyncio
import http
from functools import lru_cache
from typing import Any

from gunicorn.asgi.protocol import ASGIProtocol, _get_cached_date_header

from reports.streams import STOPPING
from tracking import usual
from tracking.store import Busy, Stale
from tracking.views import BUSY_FOR, OPEN, json_reply, unsure

_LINE_END = b"\r\n\r\n"
HEAD_WITHIN = 10.0  # seconds a sender may take for the lines before the body
MOST_WAITING = 65_536  # bytes that a sender may send ahead while a request is under way


class CollectorProtocol(ASGIProtocol):  # type: ignore[misc]  # gunicorn has no types
    """One connection."""

    def __init__(self, worker: Any) -> None:
        super().__init__(worker)
        self._request = b""  # the one under way here
        self._ahead = b""  # what came behind it
        self._peer = ""
        self._last = 0.0
        self._head_timer: asyncio.TimerHandle | None = None  # while a head is due

    def connection_made(self, transport: asyncio.Transport) -> None:
        peer = transport.get_extra_info("peername")
        self._peer = peer[0] if isinstance(peer, tuple) else ""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._request:
            self._ahead += data
            if len(self._ahead) > MOST_WAITING:
                self.transport.pause_reading()
        elif data.startswith(usual.REQUEST_LINE) and self._is_idle() and self._take(data):
            if self._head_timer is not None:
                self._head_came()
        else:
            super().data_received(data)
            if not self._is_amid_head():
                self._head_came()
            elif self._head_timer is None:
                self._await_head()

    def _build_http_scope(self, *args: Any) -> Any:
        """Streams, which are open for hours, end when the worker begins to."""
        scope = super()._build_http_scope(*args)
        scope[STOPPING] = self._is_stopping
        return scope

    def _is_stopping(self) -> bool:
        return not self.worker.alive

    def _is_amid_head(self) -> bool:
        """Some of a head lies in gunicorn's parser, and its end does not."""
        parser = self._callback_parser
        return (
            parser is not None
            and parser._state in ("request_line", "headers")
            and (bool(parser._buffer) or parser.method is not None)
        )

    # Who sends a byte a second holds a connection for as long as it likes, and costs nothing to it.

    def _await_head(self) -> None:
        self._head_timer = self.worker.loop.call_later(HEAD_WITHIN, self._head_is_late)

    def _head_came(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self._is_amid_head():
            self._send_error_response(408, f"The head took over {HEAD_WITHIN:.0f} seconds.")
        self._close_transport()
        self._request_ready.set()  # whoever waits for the request sees that there is none

    def _feed_callback_parser(self, data: bytes) -> bool:
        """gunicorn's parser, with an answer also where it stumbles: over a Content-Length of
        5,000 digits, which Python refuses to read."""
        try:
            return bool(super()._feed_callback_parser(data))
        except ValueError:
            self._send_error_response(400, "The request cannot be read.")
            self._close_transport()
            return False

    def _is_idle(self) -> bool:
        """Nothing of a request lies in gunicorn's parser, and none is being answered."""
        parser = self._callback_parser
        return (
            parser is not None
            and not parser._buffer
            and parser.method is None
            and not self._request_ready.is_set()
            and not self._finishing_calls
            and self.worker.alive
            and self.worker.nr + 1 < self.worker.max_requests
        )

    def _take(self, data: bytes) -> bool:
        end = data.find(_LINE_END, 0, usual.LONGEST_HEAD + 4)
        head = usual.head_of(data[:end]) if end > 0 else None
        if head is None or len(data) != end + 4 + head.length:
            return False
        self._request = data
        try:
            taken = usual.take(head, self._peer, data[end + 4 :], self._tell)
        except Exception:  # a bug of ours: the other way meets it too, and answers 500
            taken = False
        if not taken:
            self._request = b""
        return taken

    def _tell(self, status: int, body: bytes, error: Exception | None) -> None:
        if error is None:
            self._answer(status, body)
        elif isinstance(error, Busy):
            # Who is turned away and comes back at once costs more than who is served.
            self.worker.loop.call_later(BUSY_FOR, self._answer, 503, unsure().body)
        elif isinstance(error, Stale):
            self._hand_over(self._request)  # judged again there, by the new record
        else:
            self._answer(503, unsure().body)

    def _hand_over(self, data: bytes) -> None:
        self._request = b""
        data += self._ahead
        self._ahead = b""
        if not self._closed:
            super().data_received(data)
            self.transport.resume_reading()

    def _answer(self, status: int, body: bytes) -> None:
        self._request = b""
        self.worker.nr += 1
        if self._closed:
            return
        closing = not self.worker.alive
        head = _head_of(status, len(body), closing)
        self._safe_write(b"".join((head, _get_cached_date_header(), b"\r\n", body)))
        if closing:
            self._close_transport()
            return
        self._wait_for_the_next()
        if self._ahead:
            ahead, self._ahead = self._ahead, b""
            self.transport.resume_reading()
            self.data_received(ahead)

    def _wait_for_the_next(self) -> None:
        """Close the connection when nothing comes; one timer for many requests."""
        self._last = self.worker.loop.time()
        if self._keepalive_handle is None:
            self._arm_keepalive_timer()

    def _keepalive_timeout(self) -> None:
        self._keepalive_handle = None
        left = self._last + self._keepalive - self.worker.loop.time()
        if self._request or left > 0.1:
            self._keepalive_handle = self.worker.loop.call_later(
                max(left, 1.0), self._keepalive_timeout
            )
        else:
            super()._keepalive_timeout()


@lru_cache(maxsize=1_000)
def _head_of(status: int, length: int, closing: bool) -> bytes:
    """The lines of an answer but for its date, as gunicorn writes them."""
    reply = unsure() if status == 503 else json_reply(status, None)
    words = http.HTTPStatus(status).phrase.encode()
    headers = [
        *OPEN,
        *reply.headers,
        (b"content-length", b"%d" % length),
        (b"content-type", reply.content_type),
        (b"Server", b"gunicorn/asgi"),
        *([(b"Connection", b"close")] if closing else []),
    ]
    lines = b"".join(b"%s: %s\r\n" % header for header in headers)
    return b"HTTP/1.1 %d %s\r\n%s" % (status, words, lines)
