"""What OpenAPI says of every endpoint alike: how callers show who they are, and the refusals.

Read by drf-spectacular: properties/apps.py imports the extensions, settings name the hook. Apart
from authentication.py, because drf-spectacular loads REST framework, which loads that.
"""

from typing import Any, Final

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema

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
}
_WITH_A_BODY: Final = {"413", "415"}


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
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    for operations in result["paths"].values():
        for operation in operations.values():
            for status, words in REFUSALS.items():
                if status not in _WITH_A_BODY or "requestBody" in operation:
                    answer = {"description": words, "content": content}
                    operation["responses"].setdefault(status, answer)
    return result
