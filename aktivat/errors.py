"""The answers to 400, 403, 404, 422, 500 and 503: a page for people, the API's JSON below /api/.

Wired in urls.py. Nothing here tells what the address named or whether it exists: the 404 of a
stranger equals that of a thing that does not exist. 500 and 503 show the id of the request, under
which the log says more (request_ids.py).
"""

import sys

import redis.exceptions
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.template import loader

from aktivat.request_ids import id_of
from properties.access import Denied, note_denial
from reports.patience import TooSlow

API = "/api/"
# A server that we stand on is away, full or slow: no bug, and it passes.
AWAY = (
    OperationalError,
    InterfaceError,
    redis.exceptions.ConnectionError,
    redis.exceptions.TimeoutError,
)
NOT_FOUND = "There is nothing here, or it is not yours to see."


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if request.path.startswith(API):
        return _json(400, "bad_request", "The request cannot be read. Check its address and body.")
    return render(request, "400.html", status=400)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """A member without the right: the door's sentence says which one is missing."""
    if isinstance(exception, Denied):
        note_denial(request, exception)
    reason = str(exception) or "You may not do this."
    if request.path.startswith(API):
        return _json(403, "forbidden", reason)
    return render(request, "403.html", {"reason": reason}, status=403)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if request.path.startswith(API):
        return _json(404, "not_found", NOT_FOUND)
    return render(request, "404.html", status=404)


def server_error(request: HttpRequest) -> HttpResponse:
    """503 while a server that we stand on is away, else 500. Without context processors: the
    database may be what is broken."""
    error = sys.exc_info()[1]
    if isinstance(error, TooSlow):
        return _too_slow(request, error)
    status = 503 if isinstance(error, AWAY) else 500
    if request.path.startswith(API):
        code, message = ("error", "Something broke on our side. Try again in a minute.")
        if status == 503:
            code, message = ("unavailable", "The database does not answer. Try again in a minute.")
        response = _json(status, code, message, request_id=id_of(request))
    else:
        page = loader.get_template(f"{status}.html").render({"request_id": id_of(request)})
        response = HttpResponse(page, status=status)
    if status == 503:
        response["Retry-After"] = "5"
    return response


def _too_slow(request: HttpRequest, error: TooSlow) -> HttpResponse:
    """What a page asks for; the API answers by itself. Its transaction is lost: no frame."""
    page = loader.get_template("422.html").render({"reason": str(error)})
    return HttpResponse(page, status=error.status_code)


def _json(status: int, code: str, message: str, **more: str) -> HttpResponse:
    return JsonResponse({"error": {"code": code, "message": message, **more}}, status=status)
