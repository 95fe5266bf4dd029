"""The answers to 400, 403, 404 and 500: a page for people, the API's JSON below /api/.

Wired in urls.py. Nothing here tells what the address named or whether it exists: the 404 of a
stranger equals that of a thing that does not exist.
"""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.template import loader

API = "/api/"
NOT_FOUND = "There is nothing here, or it is not yours to see."


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if request.path.startswith(API):
        return _json(400, "bad_request", "The request cannot be read. Check its address and body.")
    return render(request, "400.html", status=400)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """A member without the right: the door's sentence says which one is missing."""
    reason = str(exception) or "You may not do this."
    if request.path.startswith(API):
        return _json(403, "forbidden", reason)
    return render(request, "403.html", {"reason": reason}, status=403)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if request.path.startswith(API):
        return _json(404, "not_found", NOT_FOUND)
    return render(request, "404.html", status=404)


def server_error(request: HttpRequest) -> HttpResponse:
    """Without context processors: the database may be what is broken."""
    if request.path.startswith(API):
        return _json(500, "error", "Something broke on our side. Try again in a minute.")
    return HttpResponse(loader.get_template("500.html").render(), status=500)


def _json(status: int, code: str, message: str) -> HttpResponse:
    return JsonResponse({"error": {"code": code, "message": message}}, status=status)
