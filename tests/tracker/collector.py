"""Two small servers on loopback for the tracker's tests: the customer's site and a collector.

The site answers every path with a page that carries the snippet of the test. The collector serves
the tracker and its configuration, keeps every request that it gets and answers as the test says:
202 unless `answer_with` or `hold` was called. They stand on different ports, so browsers treat
every event as a cross-origin request. No database; `tests/tracker/conftest.py` starts them.
"""

import contextlib
import json
import sys
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

KEY = "AK-TEST0001"
PATIENCE = 15.0  # seconds until a test gives up waiting; passing tests never wait that long
GIF = bytes.fromhex(
    "47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b"
)
FRONTEND = Path(__file__).resolve().parents[2] / "frontend"
SOURCE = FRONTEND / "tracker" / "trackr.js"
BUILT = FRONTEND / "dist" / "js" / "trackr.js"


@dataclass(frozen=True)
class Request:
    """One request as the collector got it; `body` is parsed JSON, `status` what was answered."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any
    status: int

    @property
    def events(self) -> list[dict[str, Any]]:
        """The queued events in it: a batch, or nothing for a ping."""
        return self.body.get("events", []) if isinstance(self.body, dict) else []


class Listener(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A page that is closed cuts its connections: not worth a line."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class Server:
    """An HTTP server in threads on a free loopback port."""

    def __init__(self, answer: Callable[[BaseHTTPRequestHandler], None]) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                answer(self)

            do_GET = do_POST = do_OPTIONS = handle_any

            def log_message(self, *_: object) -> None: ...

        self._server = Listener(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def reply(handler: BaseHTTPRequestHandler, status: int, body: bytes, **headers: str) -> None:
    """Answer and keep the connection; header names are written with underscores."""
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


@dataclass
class Site:
    """The customer's site: every path answers `html`, or what `pages` holds for that path, with
    200 or what `statuses` holds."""

    html: str = ""
    pages: dict[str, str] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._server = Server(self._answer)
        self.url = self._server.url
        self.stop = self._server.stop

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = urlsplit(handler.path).path
        html = self.pages.get(path, self.html)
        reply(
            handler,
            self.statuses.get(path, 200),
            html.encode(),
            Content_Type="text/html; charset=utf-8",
        )


class Collector:
    """Keeps what it gets. Tests ask it what came, and wait for what should come."""

    def __init__(self) -> None:
        self.script = SOURCE
        # What every account's configuration says; None: there is no such property.
        self.configuration: dict[str, Any] | None = {
            "property": KEY,
            "mode": "granted",
            "signals": "cookieless",
            "capture": [],
            "more": None,
            "vitals": None,
        }
        self.configured: list[str] = []  # the addresses at which configurations were asked for
        self.configuration_status = 200
        self.requests: list[Request] = []
        self._changed = threading.Condition()
        self._answers: deque[tuple[int, dict[str, str]]] = deque()
        self._always: tuple[int, dict[str, str]] | None = None
        self._open = threading.Event()
        self._open.set()
        self._configuring = threading.Event()
        self._configuring.set()
        self._server = Server(self._answer)
        self.url = self._server.url

    def stop(self) -> None:
        self._open.set()
        self._configuring.set()
        self._server.stop()

    # What it shall do

    def answer_with(self, status: int, times: int = 0, **headers: str) -> None:
        """Answer the next `times` event requests (0: all from now on) with this status."""
        if times:
            self._answers.extend([(status, headers)] * times)
        else:
            self._always = (status, headers)

    def recover(self) -> None:
        """Answer 202 again."""
        self._answers.clear()
        self._always = None

    def hold(self) -> None:
        """Take requests and answer none until `release`."""
        self._open.clear()

    def release(self) -> None:
        self._open.set()

    def configure(self, **changes: Any) -> None:
        """Let the configuration of every account say this, too."""
        self.configuration = {**(self.configuration or {}), **changes}

    def hold_configuration(self) -> None:
        """Let the tracker wait for its configuration until `release_configuration`."""
        self._configuring.clear()

    def release_configuration(self) -> None:
        self._configuring.set()

    # What it got

    @property
    def batches(self) -> list[Request]:
        return [request for request in self.requests if request.events]

    def sent(self, name: str = "") -> list[dict[str, Any]]:
        """Every sending of an event of this name (of all events), repeated ones too."""
        events = [event for request in self.requests for event in request.events]
        return [event for event in events if name in ("", event["name"])]

    def accepted(self, name: str = "") -> list[dict[str, Any]]:
        """The events that were answered with 202, each id once, as the real collector counts."""
        kept = {
            event["event_id"]: event
            for request in self.requests
            if request.status == 202
            for event in request.events
        }
        return [event for event in kept.values() if name in ("", event["name"])]

    def pings(self) -> list[dict[str, Any]]:
        bodies = [request.body for request in self.requests if isinstance(request.body, dict)]
        return [body for body in bodies if body.get("name") == "ping"]

    def states(self) -> list[str]:
        return [ping["state"] for ping in self.pings()]

    def wait(self, true: Callable[[], object], what: str) -> None:
        """Until `true()` is, or fail with what came instead."""
        with self._changed:
            if not self._changed.wait_for(true, PATIENCE):
                came = [
                    (r.method, r.path, r.status, r.query or r.body) for r in self.requests[-12:]
                ]
                raise AssertionError(f"{what} did not come; the last that came: {came}")

    def wait_for(self, name: str, count: int = 1) -> list[dict[str, Any]]:
        """The accepted events of this name as soon as there are `count`."""
        self.wait(lambda: len(self.accepted(name)) >= count, f"{count} accepted {name}")
        return self.accepted(name)

    def wait_for_ping(self, state: str, count: int = 1) -> None:
        self.wait(lambda: self.states().count(state) >= count, f"{count} pings {state}")

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit("/" + handler.path.lstrip("/"))
        raw = handler.rfile.read(int(handler.headers["Content-Length"] or 0))
        if parts.path.endswith(".js"):
            script = self.script if parts.path == "/js/trackr.js" else self._file(parts.path)
            reply(handler, 200, script.read_bytes(), Content_Type="text/javascript")
            return
        if parts.path.startswith("/js/"):
            self._answer_configuration(handler)
            return
        try:
            body = json.loads(raw) if raw else None
            status, headers = self._next_answer(parts.path, body)
        except ValueError:
            body, status, headers = raw.decode(), 400, {}
        with self._changed:
            self.requests.append(
                Request(
                    handler.command,
                    parts.path,
                    dict(parse_qsl(parts.query, keep_blank_values=True)),
                    {name.lower(): value for name, value in handler.headers.items()},
                    body,
                    status,
                )
            )
            self._changed.notify_all()
        self._open.wait()
        pixel = parts.path == "/track/it"
        with contextlib.suppress(OSError):  # the page may be closed before its answer comes
            reply(
                handler,
                status,
                GIF if pixel else b'{"accepted": 1, "duplicate": 0, "rejected": []}',
                Content_Type="image/gif" if pixel else "application/json",
                Access_Control_Allow_Origin="*",
                Access_Control_Expose_Headers="Retry-After",
                **headers,
            )

    def _file(self, path: str) -> Path:
        """/js/more.js and the like: where the real collector's addresses hold a hash."""
        return self.script.parent / Path(path).name

    def _answer_configuration(self, handler: BaseHTTPRequestHandler) -> None:
        with self._changed:
            self.configured.append(handler.path)
            self._changed.notify_all()
        self._configuring.wait()
        status = 404 if self.configuration is None else self.configuration_status
        with contextlib.suppress(OSError):
            reply(
                handler,
                status,
                json.dumps(self.configuration or {}).encode(),
                Content_Type="application/json",
                Access_Control_Allow_Origin="*",
                Cache_Control="no-store",
            )

    def _next_answer(self, path: str, body: Any) -> tuple[int, dict[str, str]]:
        usual: tuple[int, dict[str, str]] = (200 if path == "/track/it" else 202, {})
        if body and body.get("name") == "ping":
            return usual
        if self._answers:
            return self._answers.popleft()
        return self._always or usual
