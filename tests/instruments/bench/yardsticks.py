"""What everything is compared with: the least that gunicorn, and Django, can do with a request.

Served by the product's own gunicorn configuration in place of the product (`python -m gunicorn
... tests.instruments.bench.yardsticks:asgi`), with the same requests sent to them.
"""

from collections.abc import Callable, Iterable
from typing import Any

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

BODY = b'{"accepted":1,"duplicate":0,"rejected":[]}'
HEADERS = [
    (b"content-type", b"application/json"),
    (b"content-length", str(len(BODY)).encode()),
]


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    """Reads the body, throws it away, answers the same to all."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 202, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """The same for gunicorn's threads."""
    environ["wsgi.input"].read()
    headers = [(name.decode(), value.decode()) for name, value in HEADERS]
    start_response("202 Accepted", headers)
    return [BODY]


@csrf_exempt
def view(request: HttpRequest) -> HttpResponse:
    """The same as a Django view."""
    assert request.body is not None
    return HttpResponse(BODY, status=202, content_type="application/json")


urlpatterns = [path("track", view)]


def configure() -> None:
    """The settings of a new Django project, so far as a request meets them."""
    if not settings.configured:
        settings.configure(
            SECRET_KEY="of no use elsewhere",
            ALLOWED_HOSTS=["*"],
            ROOT_URLCONF=__name__,
            INSTALLED_APPS=[
                "django.contrib.auth",
                "django.contrib.contenttypes",
                "django.contrib.sessions",
                "django.contrib.messages",
            ],
            MIDDLEWARE=[
                "django.middleware.security.SecurityMiddleware",
                "django.contrib.sessions.middleware.SessionMiddleware",
                "django.middleware.common.CommonMiddleware",
                "django.middleware.csrf.CsrfViewMiddleware",
                "django.contrib.auth.middleware.AuthenticationMiddleware",
                "django.contrib.messages.middleware.MessageMiddleware",
                "django.middleware.clickjacking.XFrameOptionsMiddleware",
            ],
        )


def django_asgi() -> Any:
    configure()
    return get_asgi_application()


def django_wsgi() -> Any:
    configure()
    return get_wsgi_application()
