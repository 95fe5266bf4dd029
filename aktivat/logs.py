"""What may stand in a log line: paths, but not the secrets in them; the id of the request."""

import re
from typing import Any

# A part of a path that nobody types: the token of a link in a mail, a share link, a session.
_SECRET = re.compile(r"(?<=/)[A-Za-z0-9_:.=~-]{20,}(?=[/?\s\"']|$)")


def without_secrets(logger: Any, name: str, event: dict[str, Any]) -> dict[str, Any]:
    """A processor of structlog: `/login-link/.../` for every long part of a path."""
    event["event"] = _SECRET.sub("...", str(event["event"]))
    return event


def with_request_id(logger: Any, name: str, event: dict[str, Any]) -> dict[str, Any]:
    """A processor of structlog, for lines that Django writes when a request is over: its id."""
    known = getattr(getattr(event.get("_record"), "request", None), "request_id", "")
    if known:
        event.setdefault("request_id", known)
    return event
