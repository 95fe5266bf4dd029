"""The proxy of `make chaos` does to a connection what its mode says."""

import contextlib
import socket
import socketserver
import threading
import time

import pytest

from tests.instruments.chaos.proxy import Proxy


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        with contextlib.suppress(OSError):
            while piece := self.request.recv(65_536):
                self.server.got += piece
                self.request.sendall(piece)


@pytest.fixture
def echo():
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads, server.got = True, b""
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def proxy(echo):
    one = Proxy(echo.server_address[1])
    yield one
    one.stop()


def connect(proxy):
    pipe = socket.create_connection(("127.0.0.1", proxy.port), timeout=5)
    return pipe


def test_up_carries_both_ways(proxy):
    with connect(proxy) as pipe:
        pipe.sendall(b"hello")
        assert pipe.recv(100) == b"hello"


def test_down_refuses_and_ends_what_is_open(proxy):
    with connect(proxy) as pipe:
        pipe.sendall(b"a")
        assert pipe.recv(1) == b"a"
        proxy.set("down")
        assert pipe.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)
    proxy.set("up")
    test_up_carries_both_ways(proxy)


def test_reset_resets(proxy):
    with connect(proxy) as pipe:
        pipe.sendall(b"a")
        assert pipe.recv(1) == b"a"
        proxy.set("reset")
        with pytest.raises(ConnectionResetError):
            pipe.recv(1)


def test_half_open_holds_back_and_delivers_when_healed(proxy, echo):
    with connect(proxy) as pipe:
        pipe.sendall(b"a")
        assert pipe.recv(1) == b"a"
        proxy.set("half_open")
        pipe.sendall(b"late")
        pipe.settimeout(0.3)
        with pytest.raises(TimeoutError):
            pipe.recv(4)
        assert echo.got == b"a"
        proxy.set("up")
        pipe.settimeout(5)
        assert pipe.recv(4) == b"late"


def test_cut_lets_the_request_through_and_the_answer_begin(proxy, echo):
    proxy.set("cut", 3)
    with connect(proxy) as pipe:
        pipe.sendall(b"request")
        assert pipe.recv(100) + pipe.recv(100) == b"req"
        assert echo.got == b"request"


def test_cut_after_nothing_loses_the_whole_answer(proxy, echo):
    proxy.set("cut", 0)
    with connect(proxy) as pipe:
        pipe.sendall(b"request")
        assert pipe.recv(100) == b""
        assert echo.got == b"request"


def test_latency_and_slowness_delay(proxy):
    for mode, amount in (("latency", 100), ("slow", 50)):
        proxy.set(mode, amount)
        with connect(proxy) as pipe:
            begin = time.monotonic()
            pipe.sendall(b"12345")
            assert pipe.recv(5) == b"12345"
            assert time.monotonic() - begin >= 0.19  # there and back: never earlier
