"""Who is here now, pushed: `.../stream` of the API, `.../live/stream` of pages and share links.

In: a request of somebody who may view it. Out: server-sent events for as long as she may and
listens. The view answers as any other, through THE DOOR and all middleware, and puts a viewer into
the request's scope; `serve`, which stands in front of Django (aktivat/asgi.py), goes on where that
answer ends, when neither thread nor connection of the request are needed any more. What is sent
says hub.py.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import structlog
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    OpenApiResponse,
    extend_schema,
)
from rest_framework import status
from rest_framework.exceptions import APIException
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request

from accounts.models import Account, User
from properties.access import Access, DoorView, SignedInView, actor_of, see_account
from properties.api import Invalid
from properties.models import Property, ShareLink
from properties.openapi import ERROR
from reports import realtime, room, schema
from reports.hub import hub
from reports.realtime import Asked
from reports.realtime_api import FILTER, FILTERS, places_of
from reports.room import ROOM
from reports.viewers import (
    BEAT,
    BEGINNING,
    ENDS_WITHIN,
    SLOW,
    Viewer,
    beginning,
    read_entry_id,
)

HEARTBEAT = 15.0  # seconds without anything, after which proxies would cut the line
SLOW_AFTER = 10.0  # seconds that a viewer's line may be full
WAIT: Final = 5  # seconds, for Retry-After

SCOPE = "aktivat.viewer"  # in a request's scope: the viewer whom the view let in
STOPPING = "aktivat.is_stopping"  # there, too: whether the worker shuts down (protocol.py)
PATHS = "/stream"  # every address of a stream ends so
CONTENT_TYPE = "text/event-stream"
# Proxies that gather an answer would keep it until it ends, which it does not.
HEADERS = {"Cache-Control": "private, no-store", "X-Accel-Buffering": "no"}

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

log = structlog.get_logger()


# -- views -----------------------------------------------------------------------------------------


class NoRoom(APIException):
    """503: this process has as many viewers as it can serve."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_code = room.FULL
    default_detail = "Too many are looking at live numbers here. Ask for .../realtime meanwhile."
    wait = WAIT


class TooManyStreams(APIException):
    """429: of one user, key or link."""

    status_code = status.HTTP_429_TOO_MANY_REQUESTS
    default_code = room.STREAMS
    default_detail = "You have as many live streams open as you may. Close one."
    wait = WAIT


class TooManyFilters(APIException):
    """429: of one account; each that differs is counted by itself."""

    status_code = status.HTTP_429_TOO_MANY_REQUESTS
    default_code = room.FILTERS
    default_detail = (
        f"Your account looks at live numbers by {room.MOST_FILTERS_OF_AN_ACCOUNT} filters already. "
        "Take one of those, or close some."
    )
    wait = WAIT


REFUSALS: Final = {each.default_code: each for each in (NoRoom, TooManyStreams, TooManyFilters)}


def begin(request: HttpRequest, place: Property | Account) -> HttpResponse:
    """The answer with which a stream begins. Raises Invalid, and one of REFUSALS."""
    actor = actor_of(request)
    assert actor is not None, "THE DOOR lets nobody in without an actor"
    asked = Asked(realtime.read_filter(request.GET))
    asked.check()
    holder = actor.holder
    session: Any = request.session if isinstance(holder, User) else None
    viewer = Viewer(
        actor,
        place,
        asked,
        session=session.session_key or "" if session else "",
        login=(int(session[SESSION_KEY]), session[HASH_SESSION_KEY]) if session else (0, ""),
        password=holder.password if isinstance(holder, ShareLink) else "",
        last=read_entry_id(
            request.headers.get("Last-Event-ID", "") or request.GET.get("last_event_id", "")
        ),
    )
    if refusal := ROOM.enter(viewer):
        raise REFUSALS[refusal]
    scope = getattr(request, "scope", None)
    if scope is not None and request.method == "GET":
        scope[SCOPE] = viewer
    else:
        ROOM.leave(viewer)
    return HttpResponse(BEGINNING, content_type=CONTENT_TYPE, headers=HEADERS)


@require_safe
def of_page(request: HttpRequest, place: Property | Account) -> HttpResponse:
    """For the live page: by its own right, by a share link too."""
    try:
        return begin(request, place)
    except (Invalid, *REFUSALS.values()) as error:
        body = {"error": {"code": error.get_codes(), "message": str(error.detail)}}
        answer = JsonResponse(body, status=error.status_code)
        if not isinstance(error, Invalid):
            answer["Retry-After"] = str(WAIT)
        return answer


@require_safe
def of_account(request: HttpRequest, account: Account) -> HttpResponse:
    """For the live page of an account, whose properties need `realtime` each."""
    actor = actor_of(request)
    assert actor is not None, "THE DOOR lets nobody in without an actor"
    places_of(actor, account)
    return of_page(request, account)


class EventStream(BaseRenderer):
    """What makes REST framework agree to the Accept header of browsers; errors are JSON."""

    media_type = CONTENT_TYPE
    format = "stream"

    def render(self, data: Any, *args: Any, **kwargs: Any) -> bytes:
        raise NotImplementedError("A stream is begun without rendering.")


class JsonErrors:
    """For a view that streams: whatever it was asked for, it refuses in JSON."""

    def handle_exception(self, error: Exception) -> Any:
        request: Any = self.request  # type: ignore[attr-defined]
        request.accepted_renderer = JSONRenderer()
        request.accepted_media_type = JSONRenderer.media_type
        return super().handle_exception(error)  # type: ignore[misc]


_ASKED = [
    FILTERS,
    FILTER,
    OpenApiParameter(
        "Last-Event-ID", str, OpenApiParameter.HEADER, description="The `id` that you saw last."
    ),
    OpenApiParameter("last_event_id", str, description="The same, for a new EventSource."),
]
_OF_STREAM: Final[dict[Any, Any]] = {
    (200, CONTENT_TYPE): OpenApiResponse(
        schema.STREAM, description="Server-sent events: `snapshot`, `feed`, `slow` and `gone`."
    ),
    503: ERROR,
}
_EXAMPLE = OpenApiExample(
    "A stream", value=schema.STREAM_EXAMPLE, media_type=CONTENT_TYPE, response_only=True
)


class Stream(JsonErrors, DoorView):
    """Who is here now, and the events as they come, pushed."""

    module = "realtime"
    renderer_classes = (JSONRenderer, EventStream)
    parameters = frozenset({"format", "filters", "filter", "last_event_id"})

    @extend_schema(
        operation_id="stream",
        tags=["reports"],
        parameters=_ASKED,
        responses=_OF_STREAM,
        examples=[_EXAMPLE],
    )
    def get(self, request: Request, key: str) -> HttpResponse:
        """Server-sent events, until the right ends or the connection does."""
        return begin(request._request, self.place)


class AccountStream(JsonErrors, SignedInView):
    """The same of all properties of an account that the caller may view."""

    access = Access("member")
    http_method_names = ["get", "head", "options"]  # noqa: RUF012  a class variable of Django's View
    renderer_classes = Stream.renderer_classes
    parameters = Stream.parameters

    @extend_schema(
        operation_id="account_stream",
        tags=["reports"],
        parameters=_ASKED,
        responses=_OF_STREAM,
        examples=[_EXAMPLE],
    )
    def get(self, request: Request, account: str) -> HttpResponse:
        """Server-sent events, until the last right ends or the connection does."""
        place = see_account(self.actor, account)
        places_of(self.actor, place)
        return begin(request._request, place)


# -- a connection ----------------------------------------------------------------------------------


async def serve(application: Any, scope: Any, receive: Receive, send: Send) -> None:
    """Let Django answer, and go on as a stream where its view let a viewer in."""
    head: Any = None

    async def held(answer: Any) -> None:
        nonlocal head
        if answer["type"] == "http.response.start" and SCOPE in scope and answer["status"] == 200:
            head = answer
        elif head is None:
            await send(answer)

    try:
        await application(scope, _without_end(receive), held)
        if head is not None:
            ROOM.stay(scope[SCOPE])
            await _run(scope[SCOPE], scope.get(STOPPING, _never), head, receive, send)
    finally:
        if SCOPE in scope:
            ROOM.leave(scope[SCOPE])


def _without_end(receive: Receive) -> Receive:
    """What Django hears. It listens for the end of the connection and stops when it has answered,
    after which the server would tell us at once that all is over."""
    is_read = False

    async def read() -> Any:
        nonlocal is_read
        if is_read:
            await asyncio.get_running_loop().create_future()
        got = await receive()
        is_read = not got.get("more_body")
        return got

    return read


def _never() -> bool:
    """A server that does not say whether it stops cuts connections by itself."""
    return False


async def _run(
    viewer: Viewer, is_stopping: Callable[[], bool], head: Any, receive: Receive, send: Send
) -> None:
    left_out = (b"content-length", b"connection")
    headers = [pair for pair in head["headers"] if pair[0].lower() not in left_out]
    await send({**head, "headers": [*headers, (b"connection", b"close")]})
    here = hub()
    here.is_stopping = is_stopping
    here.join(viewer)
    listening = asyncio.ensure_future(_hear(receive, viewer))
    try:
        await _write(viewer, send, beginning())
        while viewer.end is None:
            await _write(viewer, send, await _next(viewer))
        await _write(viewer, send, viewer.take() + viewer.end, is_last=True, within=ENDS_WITHIN)
    except TimeoutError:
        # What is told now waits behind what she does not read.
        with suppress(TimeoutError):
            await _write(viewer, send, SLOW, is_last=True, within=0.1)
        raise asyncio.CancelledError from None  # the server ends the connection, and is content
    finally:
        here.leave(viewer)
        listening.cancel()


async def _next(viewer: Viewer) -> bytes:
    try:
        async with asyncio.timeout(HEARTBEAT):
            await viewer.news.wait()
    except TimeoutError:
        return BEAT
    return viewer.take()


async def _write(
    viewer: Viewer, send: Send, piece: bytes, is_last: bool = False, within: float | None = None
) -> None:
    """Raises TimeoutError when she reads too slowly."""
    if piece or is_last:
        try:
            async with asyncio.timeout(within or SLOW_AFTER) as viewer.writing:
                await send({"type": "http.response.body", "body": piece, "more_body": not is_last})
        finally:
            viewer.writing = None


async def _hear(receive: Receive, viewer: Viewer) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    viewer.close(b"")
