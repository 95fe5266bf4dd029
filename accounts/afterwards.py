"""What is done once the answer is out, so that its time tells nothing.

Enters: a request and something to do for it. A refused log-in is noted for a member and for
nobody else; done before the answer, the time that it takes would say who is one.
"""

from collections.abc import Callable

import structlog
from django.http import HttpRequest, HttpResponseBase
from django.utils.deprecation import MiddlewareMixin

log = structlog.get_logger()


def afterwards(request: HttpRequest | None, task: Callable[[], None]) -> None:
    """Do it when the answer to the request is sent; at once outside of a web request."""
    waiting = getattr(request, "_afterwards", None)
    if waiting is None:
        task()
    else:
        waiting.append(task)


class AfterwardsMiddleware(MiddlewareMixin):
    def process_request(self, request: HttpRequest) -> None:
        setattr(request, "_afterwards", [])  # noqa: B010

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        for task in getattr(request, "_afterwards", ()):
            response._resource_closers.append(_told(task))  # type: ignore[attr-defined]
        return response


def _told(task: Callable[[], None]) -> Callable[[], None]:
    """Django drops what goes wrong while an answer is closed; we say it."""

    def done() -> None:
        try:
            task()
        except Exception:
            log.exception("not done after the answer")

    return done
