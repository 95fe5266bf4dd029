"""Bodies of the API: JSON of a bounded length and depth, in UTF-8.

Enters: a request's body. Leaves: plain data, or 400 `parse_error`, 400 `too_deep`, 413
`too_large`; never a crash or a gigabyte in memory. A view that takes more says `most_bytes`.
"""

from typing import Any

from rest_framework import exceptions, status
from rest_framework.parsers import JSONParser

MOST_BYTES = 100_000


class TooLarge(exceptions.APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_code = "too_large"

    def __init__(self, most: int) -> None:
        super().__init__(f"Send a body of at most {most:,} bytes.")


class TooDeep(exceptions.APIException):
    status_code = status.HTTP_400_BAD_REQUEST
    default_code = "too_deep"
    default_detail = "The JSON is nested too deep."


class JsonParser(JSONParser):
    """REST framework's, with bounds."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        context = dict(parser_context or {})
        most = getattr(context.get("view"), "most_bytes", MOST_BYTES)
        # Servers in front may not say how long a body is that comes in pieces; Django gives views
        # what Content-Length names, and nothing without it.
        if int(context["request"].META.get("CONTENT_LENGTH") or 0) > most:
            raise TooLarge(most)
        context["encoding"] = "utf-8"  # whatever the header names: there is no other JSON
        try:
            return super().parse(stream, media_type, context)
        except RecursionError as error:
            raise TooDeep from error
