"""The web: the collector's few paths in front, Django's handler for everything else, and streams,
which begin as an answer of Django's and go on without it.

Django through ASGI costs three to six times more a request; what is answered before its handler
costs almost nothing. Served by gunicorn's `asgi` worker.
"""

import gc
import os
from typing import Any

import django
from django.core.asgi import get_asgi_application
from django.urls import get_resolver

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aktivat.settings")
django.setup()

from aktivat.protocol import CollectorProtocol  # noqa: E402  after set-up
from reports import streams  # noqa: E402  after set-up
from reports.hub import hub  # noqa: E402  after set-up
from tracking.sampling import sampler  # noqa: E402  after set-up
from tracking.views import Receive, Scope, Send, collector, route  # noqa: E402  after set-up

django_application = get_asgi_application()


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        if route(scope["path"]):
            await collector(scope, receive, send)
        elif scope["path"].endswith(streams.PATHS):
            await streams.serve(django_application, scope, receive, send)
        else:
            await django_application(scope, receive, send)
    elif scope["type"] == "lifespan":
        await _lifespan(receive, send)


application.protocol = CollectorProtocol  # type: ignore[attr-defined]  # for gunicorn.conf.py


def settle() -> None:
    """What is imported lives as long as the process: the garbage collector need not go through it
    again and again. Every few hundred requests one of them would wait 130 ms for that."""
    get_resolver().url_patterns  # noqa: B018  imports every view
    gc.collect()
    gc.freeze()


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message: dict[str, Any] = await receive()
        if message["type"] == "lifespan.startup":
            settle()
            sampler.start()
        else:
            await sampler.stop()
            await hub().stop()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
