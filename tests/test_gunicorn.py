"""How gunicorn serves the product, as far as its own defaults would not do."""

import os
import signal
import socket
import sys
from contextlib import ExitStack

from aktivat.servers.children import spawn
from aktivat.servers.supervisor import GUNICORN, ROOT
from aktivat.servers.valkey import free_ports
from tests.servers import wait_until_it_answers

BURST = 400  # more than asyncio's backlog of 100, fewer than ours


def test_a_burst_of_new_connections_is_queued(tmp_path):
    """While the worker does something else, nobody's connection is dropped by the kernel."""
    with free_ports(1) as ports:
        port = ports[0]
    options = ["--workers", "1", "--bind", f"127.0.0.1:{port}"]
    application = "tests.instruments.bench.yardsticks:asgi"
    child = spawn(
        [sys.executable, "-m", "gunicorn", "--config", GUNICORN, *options, application],
        name="web",
        log=tmp_path / "web.log",
        cwd=ROOT,
    )
    try:
        wait_until_it_answers(child, f"http://127.0.0.1:{port}/")
        os.killpg(child.pid, signal.SIGSTOP)
        with ExitStack() as stack:
            for _ in range(BURST):
                # A dropped one would be tried again by the kernel after a second.
                made = socket.create_connection(("127.0.0.1", port), timeout=0.9)
                stack.enter_context(made)
    finally:
        os.killpg(child.pid, signal.SIGCONT)
        child.stop()
