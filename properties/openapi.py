"""What OpenAPI says of every endpoint alike: how callers show who they are, the refusals, and the
parameters and headers of lists (paging.py) and of single things (etags.py).

Read by drf-spectacular: properties/apps.py imports the extensions, settings name the hook. Apart
from authentication.py, because drf-spectacular loads REST framework, which loads that.
"""

from typing import Any, Final

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter

ERROR: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {
                "code": {"type": "string", "description": "For programs: one word."},
                "message": {"type": "string", "description": "For people: what to do."},
                "field": {"type": "string", "description": "What is wrong, as a dotted path."},
                "request_id": {"type": "string", "description": "Of 500 and 503: for the log."},
            },
        }
    },
}

REFUSALS: Final = {
    "400": "Something that was sent cannot be understood; `field` says what.",
    "401": "Nobody: no API key and no session, or one that is not valid.",
    "403": "The place may be seen, this module of it may not; or the CSRF token is missing.",
    "404": "There is nothing here, or it is not yours to see.",
    "406": "Answers are JSON only.",
    "413": "The body is too large.",
    "415": "Bodies are JSON only.",
    "429": "Asked too often: wait the seconds of `Retry-After`.",
}
_WITH_A_BODY: Final = {"413", "415"}

CHANGES: Final = ("PATCH", "PUT", "DELETE")


class Schema(AutoSchema):
    """Of a view that is Paged or Tagged, which say themselves what they take."""

    def get_override_parameters(self) -> list[Any]:
        from properties.etags import Tagged
        from properties.paging import Paged

        found: list[Any] = list(super().get_override_parameters())
        if isinstance(self.view, Paged) and self.method == "GET":
            found += self._of_list(self.view)
        if isinstance(self.view, Tagged):
            if self.method == "GET":
                found.append(_header("If-None-Match", "The ETag you have: 304 while it holds."))
            elif self.method in CHANGES:
                found.append(_header("If-Match", "The ETag you read: 412 when it has changed."))
        return found

    def get_operation(self, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        from properties.etags import Tagged

        operation: dict[str, Any] | None = super().get_operation(*args, **kwargs)
        if operation is not None and isinstance(self.view, Tagged):
            if self.method == "GET":
                operation["responses"]["304"] = {"description": "As you have it: no body."}
            elif self.method in CHANGES:
                operation["responses"]["412"] = refusal("Somebody changed it since you read it.")
        return operation

    @staticmethod
    def _of_list(view: Any) -> list[OpenApiParameter]:
        from properties.paging import LIMIT, MOST

        names = [name.removeprefix("-") for name in view.orderings]
        orders = [sign + name for name in names for sign in ("", "-")]
        return [
            OpenApiParameter(
                "limit",
                {"type": "integer", "minimum": 1, "maximum": MOST, "default": LIMIT},
                description="Most rows of a page.",
            ),
            OpenApiParameter("cursor", str, description="`next` of the page before."),
            OpenApiParameter(
                "ordering",
                {"type": "string", "enum": orders, "default": view.orderings[0]},
                description="A minus turns it round.",
            ),
            *(
                OpenApiParameter(name, dict(found.schema), description="Only these.")
                for name, found in view.filters.items()
            ),
        ]


def _header(name: str, words: str) -> OpenApiParameter:
    return OpenApiParameter(name, str, OpenApiParameter.HEADER, description=words)


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "properties.authentication.ApiKeyAuthentication"
    name = "apiKey"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        return {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "ak_...",
            "description": "An API key, made in the account's settings and shown once.",
        }


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "properties.authentication.SessionAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        from django.conf import settings

        return {
            "type": "apiKey",
            "in": "cookie",
            "name": settings.SESSION_COOKIE_NAME,
            "description": "The session of a browser; what changes something needs X-CSRFToken.",
        }


def add_refusals(result: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """Postprocessing hook: every operation says how it refuses, and in which shape."""
    parts = result.setdefault("components", {})
    parts.setdefault("schemas", {})["Error"] = ERROR
    for operations in result["paths"].values():
        for operation in operations.values():
            for status, words in REFUSALS.items():
                if status not in _WITH_A_BODY or "requestBody" in operation:
                    operation["responses"].setdefault(status, refusal(words))
    return result


def refusal(words: str) -> dict[str, Any]:
    """An answer in the shape of an error."""
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {"description": words, "content": content}
