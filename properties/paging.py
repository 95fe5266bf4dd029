"""Lists of the API: a page at a time, in an order and narrowed by filters that the list names.

Enters: `?limit=&cursor=&ordering=` and the filters of the view. Leaves: `{"results": [...],
"next": cursor or null}` and a `Link` header to the next page. A cursor holds the place of the
last row, not a number: what is added or removed meanwhile neither repeats nor skips a row. It is
signed for one list, its order and filters, and one actor; elsewhere it is 400 `cursor`.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, NamedTuple

from django.core import signing
from django.db import models
from django.db.models import Q
from django.http.request import QueryDict
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from properties.api import Invalid
from properties.inputs import is_storable

LIMIT, MOST = 100, 500
_PARAMETERS = frozenset({"limit", "cursor", "ordering"})
_SALT = "properties.paging"


class Filter(NamedTuple):
    """A parameter that narrows a list: the lookup it stands for, how its text is read (ValueError
    when it cannot be), and its OpenAPI schema."""

    lookup: str
    read: Callable[[str], Any]
    schema: Mapping[str, Any]


def exactly(field: str) -> Filter:
    return Filter(field, _storable, {"type": "string"})


def one_of(field: str, words: Iterable[str]) -> Filter:
    known = list(words)

    def read(text: str) -> str:
        if text not in known:
            raise ValueError(f"Write one of {', '.join(known)}.")
        return text

    return Filter(field, read, {"type": "string", "enum": known})


def flag(field: str) -> Filter:
    """`true` or `false`."""
    words = {"true": True, "false": False}

    def read(text: str) -> bool:
        if text not in words:
            raise ValueError("Write true or false.")
        return words[text]

    return Filter(field, read, {"type": "boolean"})


def moment(lookup: str) -> Filter:
    """ISO 8601 with an offset, for lookups like `created__gte`."""

    def read(text: str) -> datetime:
        try:
            found = datetime.fromisoformat(text)
        except ValueError:
            found = None
        # Beyond these years a time zone would carry it out of what can be named at all.
        if found is None or found.tzinfo is None or not 1 < found.year < 9999:
            raise ValueError("Write a time with its offset, like 2026-01-31T12:00:00Z.")
        return found.astimezone(UTC)  # Postgres knows no offset beyond 16 hours

    return Filter(lookup, read, {"type": "string", "format": "date-time"})


def _storable(text: str) -> str:
    if not is_storable(text):
        raise ValueError("Write text without NUL.")
    return text


class Paged:
    """For an API view whose GET answers with `self.page(query, Serializer)`.

    `orderings` are fields that are never null; the first is the order of who asks for none, and a
    minus before it turns it round; `columns` has those of them that the model calls otherwise.
    Rows that are equal in it are ordered by `tie`.
    """

    orderings: ClassVar[tuple[str, ...]] = ("created",)
    columns: ClassVar[Mapping[str, str]] = {}
    tie: ClassVar[str] = "pk"
    filters: ClassVar[Mapping[str, Filter]] = {}
    request: Any  # of the view that this is mixed into

    def known_parameters(self, method: str) -> frozenset[str]:
        known: frozenset[str] = super().known_parameters(method)  # type: ignore[misc]
        return known | _PARAMETERS | set(self.filters) if method in ("GET", "HEAD") else known

    def page(
        self,
        query: models.QuerySet[Any],
        serializer: type[serializers.BaseSerializer[Any]],
        context: Mapping[str, Any] | None = None,
    ) -> Response:
        asked = self.request.query_params
        limit, ordering = _limit(asked), _ordering(asked, self.orderings)
        for name, filter_ in self.filters.items():
            if name in asked:
                query = query.filter(**{filter_.lookup: _read(filter_, name, asked[name])})
        salt = self._salt(ordering)
        back, name = ("-" if ordering.startswith("-") else ""), ordering.removeprefix("-")
        order = [self.columns.get(name, name), self.tie]
        if "cursor" in asked:
            query = query.filter(_after(order, _opened(asked["cursor"], salt), bool(back)))
        rows = list(query.order_by(*(f"{back}{field}" for field in order))[: limit + 1])
        following = _closed(order, rows[limit - 1], salt) if len(rows) > limit else None
        shown = serializer(rows[:limit], many=True, context=dict(context or {}))
        response = Response({"results": shown.data, "next": following})
        if following is not None:
            response["Link"] = f'<{_address_of(self.request, following)}>; rel="next"'
        return response

    def _salt(self, ordering: str) -> str:
        """What a cursor is bound to beside the installation's secret."""
        asked = self.request.query_params
        chosen = sorted((name, asked[name]) for name in self.filters if name in asked)
        holder = self.actor.holder  # type: ignore[attr-defined]
        bound = [type(holder).__name__, holder.pk, self.request.path, ordering, chosen]
        return f"{_SALT}:{bound}"


def _limit(asked: QueryDict) -> int:
    text = asked.get("limit", str(LIMIT))
    if not re.fullmatch(r"[0-9]{1,3}", text, re.ASCII) or not 1 <= int(text) <= MOST:
        raise Invalid("invalid_limit", f"limit is a whole number from 1 to {MOST}.", "limit")
    return int(text)


def _ordering(asked: QueryDict, known: tuple[str, ...]) -> str:
    found = asked.get("ordering", known[0])
    if found.removeprefix("-") not in {name.removeprefix("-") for name in known}:
        names = ", ".join(name.removeprefix("-") for name in known)
        raise Invalid("unknown_order", f"Order by {names}, or with a minus before it.", "ordering")
    return found


def _read(filter_: Filter, name: str, text: str) -> Any:
    try:
        return filter_.read(text)
    except ValueError as error:
        raise Invalid("invalid_value", str(error), name) from error


def _closed(order: list[str], row: models.Model, salt: str) -> str:
    values = [getattr(row, field) for field in order]
    # In full: JSON as Django writes it would cut a time to milliseconds and repeat rows.
    plain = [value.isoformat() if isinstance(value, datetime) else value for value in values]
    return signing.dumps(plain, salt=salt)


def _opened(cursor: str, salt: str) -> list[Any]:
    try:
        return list(signing.loads(cursor, salt=salt))
    except signing.BadSignature as error:
        raise Invalid(
            "cursor",
            "This cursor belongs to another list, order or key, or was changed. Send `next` of "
            "the last answer with the same parameters, or none to begin again.",
            "cursor",
        ) from error


def _after(order: list[str], last: list[Any], is_back: bool) -> Q:
    """The rows behind one, of which the values of both fields are known."""
    (field, tie), (value, end), beyond = order, last, "lt" if is_back else "gt"
    return Q(**{f"{field}__{beyond}": value}) | Q(**{field: value, f"{tie}__{beyond}": end})


def _address_of(request: Request, cursor: str) -> str:
    asked = request.query_params.copy()
    asked["cursor"] = cursor
    return request.build_absolute_uri(f"{request.path}?{asked.urlencode()}")
