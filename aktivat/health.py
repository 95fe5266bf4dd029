"""`/healthz`: this process is alive. `/readyz`: everything it stands on works, and how far behind
drain and rollup are.

In: a GET of a load balancer or a person. Out: JSON, 200 or 503. Routes are in urls.py. Every
question has a short time limit, and none of them needs a table to exist.
"""

import time
from collections.abc import Callable
from typing import Any

import redis
from django.conf import settings
from django.db import DatabaseError, connections
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from aktivat import checks

Answer = dict[str, Any]


@require_safe
@never_cache
def healthz(request: HttpRequest) -> HttpResponse:
    """No dependencies: a restart of this process would not help what it stands on."""
    return JsonResponse({"status": "ok"})


@require_safe
@never_cache
def readyz(request: HttpRequest) -> HttpResponse:
    """200 when events can be accepted, stored and read; else 503 naming what is wrong."""
    answer: Answer = {name: ask(question) for name, question in QUESTIONS.items()}
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
    except (redis.RedisError, DatabaseError, OSError) as error:
        answer = {"ok": False, "error": type(error).__name__}
    return {"ok": True, **answer, "ms": round((time.monotonic() - begin) * 1000, 1)}


def database() -> Answer:
    with connections["default"].cursor() as cursor:
        cursor.execute("SET statement_timeout = 2000")
        cursor.execute("SELECT 1")
        cursor.execute("RESET statement_timeout")
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
    loses nothing, and taking the web away for it would."""
    from tracking.lag import measure

    return dict(measure())


QUESTIONS: dict[str, Callable[[], Answer]] = {
    "database": database,
    "events": events,
    "broker": broker,
    "lag": lag,
}
