"""The short way of the usual request: what takes it, what must not, and that nobody can tell."""

import json
import socket
import time
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.people import new_property

BROWSER = (
    b"Host: collect.example",
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    b"Accept: */*",
    b"Accept-Language: en-GB,en;q=0.5",
    b"Accept-Encoding: gzip, deflate, br, zstd",
    b"Content-Type: text/plain;charset=UTF-8",
    b"Origin: https://shop.example",
    b"Connection: keep-alive",
    b"Sec-Fetch-Mode: no-cors",
)


def head(*more: bytes, without: bytes = b"\0", line: bytes = b"POST /track HTTP/1.1") -> bytes:
    fields = [field for field in BROWSER if not field.startswith(without)]
    return b"\r\n".join([line, *fields, *more])


def test_what_browsers_and_proxies_send_is_usual() -> None:
    from tracking.usual import head_of

    found = head_of(head(b"Content-Length: 90", b"X-Forwarded-For: 203.0.113.9"))
    assert found is not None
    assert (found.length, found.forwarded_for, found.is_prefetch) == (90, "203.0.113.9", False)
    assert found.agent.startswith("Mozilla/5.0")
    assert head_of(head(b"content-length: 5", without=b"Connection")) is not None
    assert head_of(head(b"Content-Length: 5", b"Sec-Purpose: prefetch")).is_prefetch  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "unusual",
    [
        head(),
        head(b"Content-Length: 5", without=b"Host"),
        head(b"Content-Length: 5", b"Content-Length: 5"),
        head(b"Content-Length: 5", b"content-length: 6"),
        head(b"Content-Length: 5", b"Host: other.example"),
        head(b"Content-Length: 5", b"Transfer-Encoding: chunked"),
        head(b"Content-Length: +5"),
        head(b"Content-Length: 5_0"),
        head(b"Content-Length: 5, 5"),
        head(b"Content-Length: 10000000"),
        head(b"Content-Length : 5"),
        head(b"Content-Length:5"),
        head(b"Content-Length: 5", b"X-Folded: a\r\n b"),
        head(b"Content-Length: 5", b"X-Bare: a\nTransfer-Encoding: chunked"),
        head(b"Content-Length: 5", b"X-Bare: a\rb"),
        head(b"Content-Length: 5", b"X-Null: a\0"),
        head(b"Content-Length: 5", b"X-High: \xe9"),
        head(b"Content-Length: 5", b"X_Forwarded_For: 203.0.113.9"),
        head(b"Content-Length: 5", b"No colon"),
        head(b"Content-Length: 5", b": no name"),
        head(b"Content-Length: 5", b"X-Empty:"),
        head(b"Content-Length: 5", b"Expect: 100-continue"),
        head(b"Content-Length: 5", b"Upgrade: h2c"),
        head(b"Content-Length: 5", b"Authorization: Bearer ak_x"),
        head(b"Content-Length: 5", b"Content-Encoding: gzip"),
        head(b"Content-Length: 5", b"Connection: close", without=b"Connection"),
        head(b"Content-Length: 5", b"Content-Type: image/gif", without=b"Content-Type"),
        head(b"Content-Length: 5", b"X-Long: " + b"x" * 4_096),
        head(b"Content-Length: 5", line=b"POST /track HTTP/1.0"),
        head(b"Content-Length: 5", line=b"POST /track?x HTTP/1.1"),
        head(b"Content-Length: 5", line=b"POST  /track HTTP/1.1"),
        head(b"Content-Length: 5", line=b"POST http://x/track HTTP/1.1"),
        head(b"Content-Length: 5", line=b"\r\nPOST /track HTTP/1.1"),
        head(b"Content-Length: 5", line=b"PUT /track HTTP/1.1"),
    ],
    ids=lambda unusual: ascii(unusual.removeprefix(head())[:40]) or "no length",
)
def test_all_else_is_left_to_the_web_server(unusual: bytes) -> None:
    from tracking.usual import head_of

    assert head_of(unusual) is None


class Connection:
    """Bytes to the collector and whole answers back."""

    def __init__(self, web: str) -> None:
        address = urlsplit(web)
        self.socket = socket.create_connection((address.hostname, address.port), timeout=20)
        self.came = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answer(self) -> tuple[int, dict[str, str], dict[str, Any]]:
        while b"\r\n\r\n" not in self.came:
            self._read()
        lines, self.came = self.came.split(b"\r\n\r\n", 1)
        first, *fields = lines.decode().split("\r\n")
        headers = dict(field.lower().split(": ", 1) for field in fields)
        length = int(headers["content-length"])
        while len(self.came) < length:
            self._read()
        body, self.came = self.came[:length], self.came[length:]
        return int(first.split()[1]), headers, json.loads(body)

    def _read(self) -> None:
        part = self.socket.recv(65_536)
        assert part, "the connection was closed"
        self.came += part


@pytest.fixture
def connection(web_server: str) -> Iterator[Connection]:
    opened = Connection(web_server)
    yield opened
    opened.socket.close()


@pytest.fixture
def place(connection: Connection) -> Any:
    """A property that the web process knows: its first request takes the long way."""
    known = new_property()
    connection.send(request(known))
    assert connection.answer()[0] == 202
    return known


def event(place: Any, **fields: Any) -> dict[str, Any]:
    ids = {"event_id": str(uuid.uuid4()), "visitor": str(uuid.uuid4())}
    own = {"property": place.key, "name": "pageview", "url": "https://shop.example/p"}
    return own | ids | fields


def request(place: Any, *more: bytes, **fields: Any) -> bytes:
    body = json.dumps(event(place, **fields)).encode()
    return head(b"Content-Length: %d" % len(body), *more) + b"\r\n\r\n" + body


UNUSUAL = b"TE: trailers"


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"name": "ping", "state": "visible"},
        {"name": ""},
        {"property": "AK-NOTTHERE"},
        {"url": "nonsense"},
        {"event_id": "00000000-0000-0000-0000-000000000000"},
    ],
    ids=["event", "ping", "refused", "unknown", "url", "nil"],
)
def test_both_ways_give_the_same_answer(
    connection: Connection, place: Any, fields: dict[str, Any]
) -> None:
    connection.send(request(place, **fields))
    short = connection.answer()
    connection.send(request(place, UNUSUAL, **fields))
    long = connection.answer()
    for _, headers, _ in (short, long):
        del headers["date"]
    assert short == long


def test_retries_are_duplicates_whichever_way_they_come(connection: Connection, place: Any) -> None:
    sent = event(place)
    for more, accepted in (((), 1), ((UNUSUAL,), 0), ((), 0)):
        connection.send(request(place, *more, **sent))
        status, _, body = connection.answer()
        assert (status, body["accepted"], body["duplicate"]) == (202, accepted, 1 - accepted)


def test_ids_made_here_are_returned(connection: Connection, place: Any) -> None:
    connection.send(request(place, event_id=None))
    status, _, body = connection.answer()
    assert (status, body["accepted"]) == (202, 1)
    assert str(uuid.UUID(body["event_ids"][0])) == body["event_ids"][0]


def test_requests_may_come_in_pieces_and_many_at_once(connection: Connection, place: Any) -> None:
    """Every cut of a request, between requests that come whole; then five in one piece."""
    whole = request(place)
    end = whole.index(b"\r\n\r\n")
    connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for cut in (1, 4, 19, 21, 60, end, end + 2, end + 4, end + 5, len(whole) - 1):
        data = request(place)
        connection.send(data[:cut])
        connection.socket.settimeout(0.02)
        with pytest.raises(TimeoutError):
            connection.socket.recv(1)
        connection.socket.settimeout(20)
        connection.send(data[cut:] + request(place))
        for _ in range(2):
            status, _, body = connection.answer()
            assert (status, body["accepted"]) == (202, 1)
        connection.send(request(place))
        assert connection.answer()[2]["accepted"] == 1
    connection.send(b"".join(request(place, title=str(n)) for n in range(5)))
    assert [connection.answer()[2]["accepted"] for _ in range(5)] == [1] * 5


def test_one_request_after_the_other_is_answered_in_order(
    connection: Connection, place: Any
) -> None:
    """Sent ahead, without waiting for answers, the two ways in turn."""
    kinds = [{}, {"name": ""}, {}, {}, {"url": "nonsense"}, {}]
    for number, fields in enumerate(kinds):
        connection.send(request(place, *([UNUSUAL] if number % 3 == 2 else []), **fields))
    answers = [connection.answer() for _ in kinds]
    assert [answer[0] for answer in answers] == [202, 422, 202, 202, 422, 202]


def test_a_changed_property_is_judged_anew_on_the_short_way_too(
    connection: Connection, place: Any
) -> None:
    place.hostnames = ["elsewhere.example"]
    place.save()
    connection.send(request(place))
    status, _, body = connection.answer()
    assert status == 422
    assert [refusal["reason"] for refusal in body["rejected"]] == ["hostname"]


def test_what_is_judged_anew_is_charged_once(connection: Connection) -> None:
    place = new_property(rate_limit=1)  # and ten at once, where the installation has no limit
    connection.send(request(place))
    assert connection.answer()[0] == 202
    place.save()
    connection.send(request(place, events=[event(place) for _ in range(8)]))
    assert connection.answer()[0] == 202


def test_a_visitor_beyond_the_limit_is_refused_on_both_ways_alike(connection: Connection) -> None:
    place = new_property(visitor_limit=1)
    connection.send(request(place))
    assert connection.answer()[0] == 202
    answers = []
    for more in ((), (UNUSUAL,)):
        connection.send(request(place, *more))
        status, _, body = connection.answer()
        answers.append((status, [refusal["reason"] for refusal in body["rejected"]]))
    assert answers == [(422, ["visitor_limit"])] * 2


def test_what_a_plan_does_not_hold_is_refused_on_both_ways_alike(connection: Connection) -> None:
    from tracking import keys
    from tracking.store import events_client

    place = new_property()
    connection.send(request(place))
    assert connection.answer()[0] == 202
    meta = keys.meta(keys.prefix(place.account_id, place.pk))
    ends = (time.time() + 3600) * 1000
    events_client().hset(meta, "q", f"{int(time.time()) // 3600} 1 {ends:.0f}")
    answers = []
    for more in ((), (UNUSUAL,)):
        connection.send(request(place, *more))
        status, _, body = connection.answer()
        answers.append((status, [refusal["reason"] for refusal in body["rejected"]]))
    assert answers == [(422, ["quota"])] * 2


def test_a_sender_that_goes_away_harms_nobody(web_server: str, place: Any) -> None:
    from tests.test_store import ledger

    before = ledger(place)["accepted"]
    for _ in range(20):
        gone = Connection(web_server)
        gone.send(request(place))
        gone.socket.close()
    last = Connection(web_server)
    last.send(request(place))
    assert last.answer()[0] == 202
    assert before < ledger(place)["accepted"] <= before + 21


class Transport:
    """A connection without a network."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = False

    def get_extra_info(self, name: str) -> Any:
        return ("203.0.113.9", 4_000) if name in ("peername", "sockname") else None

    def set_write_buffer_limits(self, **limits: int) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    def can_write_eof(self) -> bool:
        return False


async def opened(monkeypatch: pytest.MonkeyPatch, alive: bool = True) -> tuple[Any, Any]:
    """A protocol and the list of the bodies that took the short way."""
    import asyncio
    import sys
    from types import SimpleNamespace

    from gunicorn.config import Config
    from gunicorn.glogging import Logger

    from aktivat.protocol import CollectorProtocol
    from tracking import usual

    taken: list[Any] = []

    def take(head: Any, peer: str, body: bytes, tell: Any) -> bool:
        taken.append((peer, body, tell))
        return body != b"leave"

    monkeypatch.setattr(usual, "take", take)
    config = Config()
    worker = SimpleNamespace(
        cfg=config, log=Logger(config), asgi=None, loop=asyncio.get_running_loop(), nr=0,
        max_requests=sys.maxsize, alive=alive, nr_conns=0, state={},
    )  # fmt: skip
    protocol = CollectorProtocol(worker)
    protocol.connection_made(Transport())  # type: ignore[arg-type]
    await asyncio.sleep(0)
    return protocol, taken


def bytes_with(body: bytes) -> bytes:
    return head(b"Content-Length: %d" % len(body)) + b"\r\n\r\n" + body


def test_the_usual_request_takes_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.test_gather import in_a_loop

    async def talk() -> None:
        protocol, taken = await opened(monkeypatch)
        protocol.data_received(bytes_with(b"{}"))
        protocol.data_received(bytes_with(b"[]"))  # ahead of the answer: waits for its turn
        ((peer, body, tell),) = taken
        assert (peer, body) == ("203.0.113.9", b"{}")
        tell(202, b'{"yes": 1}', None)
        assert protocol.transport.written.startswith(b"HTTP/1.1 202 Accepted\r\n")
        assert protocol.transport.written.endswith(b'\r\n\r\n{"yes": 1}')
        assert [body for _, body, _ in taken] == [b"{}", b"[]"]
        taken[1][2](202, b"{}", None)
        assert protocol.transport.written.count(b"HTTP/1.1 202") == 2
        # Half a request: from there on it is gunicorn's, until it is answered.
        protocol.data_received(bytes_with(b"leave")[:-1])
        protocol.data_received(bytes_with(b"{}"))
        assert len(taken) == 2
        protocol.connection_lost(None)

    in_a_loop(talk())


def test_who_finds_no_room_hears_503_and_not_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.test_gather import in_a_loop

    async def talk() -> None:
        import asyncio

        from aktivat import protocol as module
        from tracking.store import Busy, Unavailable

        monkeypatch.setattr(module, "BUSY_FOR", 0.01)
        protocol, taken = await opened(monkeypatch)
        for error in (Busy(), Unavailable()):
            protocol.transport.written = b""
            protocol.data_received(bytes_with(b"{}"))
            taken[-1][2](503, b"", error)
            assert isinstance(error, Busy) == (protocol.transport.written == b"")
            while not protocol.transport.written:
                await asyncio.sleep(0.01)
            assert protocol.transport.written.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
            assert b"\r\nretry-after: 2\r\n" in protocol.transport.written
        protocol.connection_lost(None)

    in_a_loop(talk())


def test_a_worker_that_is_told_to_stop_closes_after_its_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tests.test_gather import in_a_loop

    async def talk() -> None:
        protocol, taken = await opened(monkeypatch)
        protocol.data_received(bytes_with(b"{}"))
        protocol.worker.alive = False
        taken[0][2](202, b"{}", None)
        assert b"\r\nConnection: close\r\n" in protocol.transport.written
        assert protocol.transport.closed
        protocol.connection_lost(None)

    in_a_loop(talk())


def test_who_drips_a_head_is_told_so_and_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.test_gather import in_a_loop

    async def talk() -> None:
        import asyncio

        from aktivat import protocol as module

        monkeypatch.setattr(module, "HEAD_WITHIN", 0.05)

        async def reads_on(scope: Any, receive: Any, send: Any) -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        async def after(*parts: bytes) -> Any:
            protocol, _ = await opened(monkeypatch)
            protocol.app = reads_on
            for part in parts:
                protocol.data_received(part)
            await asyncio.sleep(0.2)
            found = protocol.transport
            protocol.connection_lost(None)
            return found

        whole = bytes_with(b"leave")
        for cut in (1, 15, 22, whole.index(b"\r\n\r\n") + 2):
            dripping = await after(whole[:cut])
            assert dripping.closed, cut
            assert dripping.written.startswith(b"HTTP/1.1 408 Request Timeout\r\n"), cut
        silent = await after()
        assert (silent.closed, silent.written) == (True, b"")
        # A whole head in time, by either way: the body has a limit of its own, in views.py.
        for parts in ((bytes_with(b"{}"),), (whole[:30], whole[30:-1])):
            assert not (await after(*parts)).closed

    in_a_loop(talk())
