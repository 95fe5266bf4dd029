"""A short id for every request: whoever reads us an error page reads us its line in the log.

Leaves: `request.request_id` (the audit log keeps it), the header X-Request-Id of every answer of
Django, `request_id` in every log line that is written meanwhile, and the id on the pages and JSON
of 500 and 503 (errors.py). An id that comes in is believed of TRUSTED_PROXIES alone: else anybody
could write lines that look like somebody else's request.
"""

import re
import secrets
from typing import Any

from django.http import HttpRequest, HttpResponseBase
from django.utils.deprecation import MiddlewareMixin
from structlog.contextvars import bind_contextvars, unbind_contextvars

from accounts.addresses import is_from_trusted_proxy

HEADER = "X-Request-Id"
_SHAPE = re.compile(r"[A-Za-z0-9._-]{8,64}")


class RequestIdMiddleware(MiddlewareMixin):
    """The first of all: what any other answers has an id, too."""

    def process_request(self, request: HttpRequest) -> None:
        given = request.headers.get(HEADER, "")
        if not (_SHAPE.fullmatch(given) and is_from_trusted_proxy(request)):
            given = secrets.token_hex(6)
        request.request_id = given  # type: ignore[attr-defined]
        bind_contextvars(request_id=given)

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        # The next request of this connection may be the collector's, which has no id.
        unbind_contextvars("request_id")
        response.headers[HEADER] = id_of(request)
        return response


def id_of(request: Any) -> str:
    """The id of the request; "" for one that did not come through the middleware."""
    return str(getattr(request, "request_id", ""))
