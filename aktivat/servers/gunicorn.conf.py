"""How gunicorn runs the web processes: under `make run`, in the tests and in docker/ alike."""

import ctypes
import os
import signal
from functools import partial
from typing import Any

PR_SET_PDEATHSIG = 1

wsgi_app = "aktivat.asgi:application"
worker_class = "asgi"
workers = int(os.environ.get("WEB_WORKERS") or 2)
bind = f"{os.environ.get('BIND') or '127.0.0.1'}:{os.environ.get('PORT') or 8000}"
control_socket_disable = True
http_parser = "python"  # the C parser that can be had is older than the fixes gunicorn needs
timeout = 60
graceful_timeout = 8  # streams are open for hours; a stop does not wait for them
keepalive = 15
backlog = 2048
preload_app = False  # workers open their own connections


def post_fork(server: object, worker: Any) -> None:
    """A worker whose master is killed must not go on listening on the port."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != worker.ppid:  # killed between the fork and the line above
        os._exit(1)


def post_worker_init(worker: Any) -> None:
    """The application may bring a protocol of its own (aktivat/asgi.py). And the asgi worker
    listens anew with asyncio's backlog of 100: a burst of new visitors would wait a second for
    the kernel's next try."""
    loop = getattr(worker, "loop", None)
    if loop is not None:
        loop.create_server = partial(_listen, loop.create_server, worker)


def _listen(create_server: Any, worker: Any, factory: Any, **options: Any) -> Any:
    own = getattr(worker.asgi, "protocol", None)
    return create_server(
        partial(own, worker) if own else factory, backlog=worker.cfg.backlog, **options
    )
