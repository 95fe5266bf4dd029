"""How a case is sent to a running collector, and what comes back.

In: the address of a server and the properties that PLACES asks for. Out: replies, and the events
as they were stored. Called by tests/test_corpus.py and `make fuzz`.
"""

import json
import socket
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from tests.corpus.case import PLACES, Case

# The server is told to trust the first as a proxy; whoever comes from the second is a stranger.
PROXY, STRANGER = "127.0.0.1", "127.0.0.2"
SETTINGS = {
    "TRUSTED_PROXIES": PROXY,
    "ALLOWED_HOSTS": "127.0.0.1",
    "ADDRESS_RATE": "0",
    "KEY_RATE": "0",
}
PATIENCE = 20.0  # seconds; how long an answer may take is for the caller to judge


@dataclass
class Reply:
    """One answer; status 0: the connection ended without one."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    closed: bool = False
    seconds: float = 0.0

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """Of a fault, or of the pixel's header."""
        if "x-aktivat-reason" in self.headers:
            return self.headers["x-aktivat-reason"]
        try:
            return str(self.json["error"]["code"])
        except (ValueError, KeyError, TypeError):
            return ""


class Connection:
    """Bytes to the collector and whole answers back."""

    def __init__(self, web: str, proxied: bool = False) -> None:
        address = urlsplit(web)
        self._socket = socket.create_connection(
            (address.hostname or "", address.port or 80),
            timeout=PATIENCE,
            source_address=(PROXY if proxied else STRANGER, 0),
        )
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._came = b""
        self._ended = False

    def ask(self, data: bytes, *, is_head: bool = False, hangs_up: bool = False) -> Reply:
        began = time.monotonic()
        try:
            self._socket.sendall(data)
            if hangs_up:
                self._socket.shutdown(socket.SHUT_WR)
        except OSError:  # a server that has refused need not read on
            self._ended = True
        reply = self._answer(is_head)
        reply.seconds = time.monotonic() - began
        return reply

    def _answer(self, is_head: bool) -> Reply:
        while b"\r\n\r\n" not in self._came:
            if not self._read():
                return Reply(closed=True, body=self._came)
        lines, self._came = self._came.split(b"\r\n\r\n", 1)
        first, *named = lines.decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (n.partition(":") for n in named)
        }
        reply = Reply(int(first.split()[1]), headers)
        if is_head or reply.status in (204, 304):
            length = 0
        elif "content-length" in headers:
            length = int(headers["content-length"])
        else:  # in chunks, or until the connection ends
            while b"0\r\n\r\n" not in self._came and self._read():
                pass
            length = len(self._came)
        while len(self._came) < length and self._read():
            pass
        reply.body, self._came = self._came[:length], self._came[length:]
        reply.closed = self._ended or headers.get("connection", "").lower() == "close"
        return reply

    def _read(self) -> bool:
        try:
            part = self._socket.recv(65_536)
        except ConnectionError:
            part = b""
        self._came += part
        self._ended = not part
        return bool(part)

    def is_ended(self) -> bool:
        """Whether the server has hung up, or does so now."""
        self._socket.settimeout(1)
        try:
            return self._ended or not self._read()
        except TimeoutError:
            return False

    def close(self) -> None:
        self._socket.close()


@contextmanager
def connected(web: str, proxied: bool = False) -> Iterator[Connection]:
    connection = Connection(web, proxied)
    try:
        yield connection
    finally:
        connection.close()


class World:
    """A running collector with the properties that requests name."""

    def __init__(self, web: str) -> None:
        from tests.people import new_account, new_property, new_user

        self.web = web
        account = new_account(new_user("owner"))
        fixed = {"hostnames": ["shop.example"], "excluded_addresses": ["203.0.113.7"]}
        self.places = {
            name: new_property(account, **{**fixed, **special}) for name, special in PLACES.items()
        }
        self.keys = {name: place.key for name, place in self.places.items()}
        self.keys |= replaced_keys(self.places["OTHER"]) | {"SLUG": account.slug}
        self.keys["OTHER"] = self.places["OTHER"].key

    def names(self) -> dict[str, str]:
        """What `$...` stands for in one sending."""
        return self.keys | {"ID": str(uuid.uuid4()), "VISITOR": str(uuid.uuid4())}

    def send(self, case: Case, names: Mapping[str, str], *more: bytes) -> list[Reply]:
        """The replies to its steps; `more` are headers for all of them."""
        replies = []
        # Before there is a connection: to make a bomb may take longer than a server waits.
        now = time.time_ns() // 1_000_000
        made = [request.wire(names, now, *more) for request, _ in case.steps]
        with connected(self.web, case.proxied) as connection:
            for (request, answer), data in zip(case.steps, made, strict=True):
                reply = connection.ask(
                    data, is_head=request.line.startswith(b"HEAD"), hangs_up=request.hangs_up
                )
                if answer.closed:
                    reply.closed = reply.closed or connection.is_ended()
                replies.append(reply)
        return replies

    def kept(self, event_id: str) -> dict[str, Any] | None:
        """The event as it waits for the drain, among the newest of all properties."""
        from tracking import keys
        from tracking.event import read_row
        from tracking.store import events_client

        for place in self.places.values():
            stream = keys.stream(keys.prefix(place.account_id, place.pk))
            for _, fields in events_client().xrevrange(stream, count=5):
                if b"k" in fields:  # a conflict: what the same id said the second time
                    continue
                row = read_row(fields[b"d"])
                if row["event_id"] == event_id:
                    return row
        return None


def replaced_keys(place: Any) -> dict[str, str]:
    """Two earlier keys of the property: one that is still accepted and one that is not."""
    from django.utils import timezone

    now = timezone.now()
    old = [place.replace_key(7, now), place.replace_key(7, now)]
    place.end_key(old[0], now - timedelta(seconds=1))
    place.refresh_from_db()
    return {"RETIRED": old[0].key, "REPLACED": old[1].key}
