"""`/healthz`: this process is alive. `/readyz`: everything it stands on works, and how far behind
drain and rollup are.

In: a GET of a load balancer or a person. Out: JSON, 200 or 503, within seconds also while a
server hangs. Routes are in urls.py.
"""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from django.conf import settings
from django.db import connections
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from aktivat import checks

Answer = dict[str, Any]
SECONDS = 4.0  # for the whole page
BEHIND = 120  # seconds; drain and rollup have their turns every few seconds
# Bounded: while a server hangs, at most this many threads of a process hang with it.
POOL = ThreadPoolExecutor(max_workers=8, thread_name_prefix="readyz")


@require_safe
@never_cache
def healthz(request: HttpRequest) -> HttpResponse:
    """No dependencies: a restart of this process would not help what it stands on."""
    return JsonResponse({"status": "ok"})


@require_safe
@never_cache
def readyz(request: HttpRequest) -> HttpResponse:
    """200 when events can be accepted, stored and read; else 503 naming what is wrong."""
    begin = time.monotonic()
    asked = {name: POOL.submit(ask, question) for name, question in QUESTIONS.items()}
    answer = {
        name: wait_for(asking, begin + SECONDS - time.monotonic()) for name, asking in asked.items()
    }
    ready = all(part["ok"] for part in answer.values())
    body = {"status": "ready" if ready else "not ready", **answer}
    return JsonResponse(body, status=200 if ready else 503)


def ask(question: Callable[[], Answer]) -> Answer:
    """The answer with `ok` and the milliseconds it took; what went wrong instead of a raise.

    Only the kind of an error is shown: its text can hold addresses and users.
    """
    begin = time.monotonic()
    try:
        answer = question()
    except Exception as error:  # whatever breaks, this page has to say so
        answer = {"ok": False, "error": type(error).__name__}
    finally:
        connections.close_all()  # this thread's; the pool keeps the socket
    return {"ok": True, **answer, "ms": round((time.monotonic() - begin) * 1000, 1)}


def wait_for(asking: "Future[Answer]", seconds: float) -> Answer:
    """The answer, or that there is none: a server that is stopped answers no question at all."""
    try:
        return asking.result(max(seconds, 0))
    except TimeoutError:
        asking.cancel()
        return {"ok": False, "error": "TimeoutError"}


def database() -> Answer:
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT 1")
    return {}


def events() -> Answer:
    """Answers, and is set up so that it keeps what it accepts."""
    with checks.Masters(settings.EVENTS_URL) as masters:
        faults = [fault for master in masters for fault in checks.faults_of_events(master)]
    return {"ok": not faults, "faults": [fault.msg for fault in faults]}


def broker() -> Answer:
    with checks.Masters(settings.BROKER_URL) as masters:
        for master in masters:
            master.ping()
    return {}


def lag() -> Answer:
    """Seconds that stored events and rollups are behind; told, not judged: a worker that is away
    loses nothing, and taking the web away for it would. `behind` is what an alarm watches."""
    from tracking.lag import measure

    found = dict(measure())
    found["behind"] = max(found["drain_seconds"], found["rollup_seconds"]) > BEHIND
    return found


QUESTIONS: dict[str, Callable[[], Answer]] = {
    "database": database,
    "events": events,
    "broker": broker,
    "lag": lag,
}
