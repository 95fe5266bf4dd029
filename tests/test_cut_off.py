"""Requests that are cut off: by a stop of the server, by the sender, in the middle of a body."""

import contextlib
import json
import signal
import socket
import sys
import time
import uuid
from pathlib import Path
from urllib.parse import urlsplit

from aktivat.servers.children import spawn
from aktivat.servers.valkey import free_ports
from tests.people import new_property
from tests.servers import GUNICORN, ROOT, wait_until_it_answers
from tests.test_collector import CHROME, pageview, post


def as_request(body: bytes) -> bytes:
    head = (
        f"POST /track HTTP/1.1\r\nHost: x\r\nUser-Agent: {CHROME}\r\nContent-Type: text/plain\r\n"
    )
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def test_a_stop_answers_the_request_that_is_under_way(tmp_path: Path) -> None:
    """A request that lacks its last byte when the server is asked to end."""
    with free_ports(1) as ports:
        port = ports[0]
    bind = ["--workers", "1", "--bind", f"127.0.0.1:{port}"]
    command = [sys.executable, "-m", "gunicorn", "--config", GUNICORN, *bind]
    web = spawn(command, name="web", log=tmp_path / "web.log", cwd=ROOT)
    try:
        wait_until_it_answers(web, f"http://127.0.0.1:{port}/healthz")
        event = {"property": new_property().key} | pageview()
        request = as_request(json.dumps(event).encode())
        with socket.create_connection(("127.0.0.1", port), timeout=10) as pipe:
            pipe.sendall(request[:-1])
            time.sleep(0.3)
            web.process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            pipe.sendall(request[-1:])
            answer = pipe.recv(1_000)
        assert answer.startswith((b"HTTP/1.1 202", b"HTTP/1.1 503")), answer
        assert web.process.wait(12) == 0
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=2).close()
            raise AssertionError("the port is still open")
    finally:
        web.stop()


def test_a_sender_that_hangs_up_and_comes_back_counts_once(web_server: str) -> None:
    place = new_property()
    port = urlsplit(web_server).port
    total = {"accepted": 0, "duplicate": 0}
    for _ in range(10):
        event = {"property": place.key, "time": int(time.time() * 1000)} | pageview()
        with socket.create_connection(("127.0.0.1", port), timeout=5) as pipe:
            pipe.sendall(as_request(json.dumps(event).encode()))
        answers = [post(web_server, event).json for _ in range(2)]
        assert answers[1]["duplicate"] == 1
        for word in total:
            total[word] += answers[0][word]
    assert sum(total.values()) == 10

    from tracking.drain import drain_property
    from tracking.models import Event

    drain_property(place)
    assert Event.objects.using("worker").filter(property_id=place.pk).count() == 10


def test_half_a_body_counts_nothing(web_server: str) -> None:
    place = new_property()
    event_id = str(uuid.uuid4())
    event = {"property": place.key} | pageview(event_id=event_id)
    request = as_request(json.dumps(event).encode())
    with socket.create_connection(("127.0.0.1", urlsplit(web_server).port), timeout=5) as pipe:
        pipe.sendall(request[:-20])
    assert post(web_server, event).json["accepted"] == 1
