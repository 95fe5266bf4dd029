"""What all API answers share: the shape of an error."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import exception_handler


class Invalid(exceptions.APIException):
    """400 with a code of ours and the field that is wrong."""

    status_code = 400

    def __init__(self, code: str, message: str, field: str = "") -> None:
        super().__init__(message, code)
        self.field = field


class NotFresh(exceptions.APIException):
    """403: the right is there, but the browser's user signed in too long ago for this."""

    status_code = 403
    default_code = "fresh_login"
    default_detail = "Confirm that it is you at /user/reauthenticate/, then send this again."


def error_response(error: Exception, context: dict[str, Any]) -> Response | None:
    """`{"error": {"code", "message", "field"?}}` for every refusal; None lets a bug be a 500."""
    response = exception_handler(error, context)
    if response is None:
        return None
    field = getattr(error, "field", "")
    if isinstance(error, Http404):
        code, message = "not_found", "There is nothing here, or it is not yours to see."
    elif isinstance(error, PermissionDenied):
        code, message = "forbidden", str(error) or "You may not do this."
    elif isinstance(error, exceptions.ValidationError):
        code = "invalid"
        field, message = _first(error.detail)
    elif isinstance(error, exceptions.Throttled):
        code, message = "rate_limited", "You ask too often. Wait the seconds of Retry-After."
    elif isinstance(error, exceptions.APIException):
        code, message = _code(error), _advice(error, context)
    else:
        code, message = "error", str(error)
    body = {"code": code, "message": sendable(message)}
    if field:
        body["field"] = sendable(field)
    response.data = {"error": body}
    return response


def _advice(error: exceptions.APIException, context: dict[str, Any]) -> str:
    """What to do, where REST framework only says what is wrong."""
    if isinstance(error, exceptions.NotAuthenticated):
        return "Send an API key as Authorization: Bearer ak_..., or sign in."
    if isinstance(error, exceptions.MethodNotAllowed):
        return f"{error.detail} Use {', '.join(context['view'].allowed_methods)}."
    if isinstance(error, exceptions.UnsupportedMediaType):
        return "Send JSON, and the header Content-Type: application/json."
    if isinstance(error, exceptions.NotAcceptable):
        return "Answers are JSON: send the header Accept: application/json, or none."
    return str(error.detail)


def sendable(text: str) -> str:
    """The text with ? for what JSON can name and UTF-8 cannot carry (lone surrogates)."""
    return text.encode("utf-8", "replace").decode()


def _code(error: exceptions.APIException) -> str:
    codes = error.get_codes()
    return codes if isinstance(codes, str) else "invalid"


def _first(detail: Any, path: str = "") -> tuple[str, str]:
    """The first fault of a nested validation error, with the dotted path to it."""
    if isinstance(detail, dict):
        name, inner = next(iter(detail.items()))
        return _first(inner, f"{path}.{name}".strip("."))
    if isinstance(detail, list) and detail:
        return _first(detail[0], path)
    return path.removesuffix("non_field_errors").removesuffix("."), str(detail)
