"""The API of who is here now: `.../realtime` of a property and of an account.

In: a request of somebody who may view it. Out: the snapshot of realtime.py as JSON. The same
numbers, pushed, are `.../stream` (streams.py).
"""

from typing import Any

from django.http import QueryDict
from django.utils import timezone
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    OpenApiResponse,
    extend_schema,
)
from rest_framework import status
from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Account
from properties.access import Access, Actor, Denied, DoorView, SignedInView, only, see_account
from properties.models import Property
from properties.openapi import ERROR
from reports import realtime, schema
from reports.realtime import Asked
from tracking import live, store


class Unavailable(APIException):
    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_code = "unavailable"
    default_detail = "The live numbers cannot be read at the moment. Try again in a few seconds."
    wait = 5  # seconds, for Retry-After


PARAMETERS = frozenset({"format", "filters", "filter", "dimension", "limit"})
FILTERS = OpenApiParameter(
    "filters",
    str,
    description="A filter as JSON, as questions take it, by "
    f'{", ".join(realtime.DIMENSIONS)}: `["is", "page", ["/"]]`.',
)
FILTER = OpenApiParameter("filter", str, description="The same as in addresses: `page:is:/`.")
LIST = [
    OpenApiParameter("dimension", {"type": "string", "enum": list(realtime.LISTS)},
                     description="Only the list by this, which may be longer."),
    OpenApiParameter("limit", {"type": "integer", "minimum": 1, "maximum": realtime.MOST_ROWS},
                     description=f"Rows of that list, {live.MOST_ROWS} unless said otherwise."),
]  # fmt: skip


def asked_by(actor: Actor, places: list[Property], params: QueryDict) -> Asked:
    """What the address asks, by somebody who may see money or not. Raises Invalid."""
    sees_money = all(actor.may("view", "ecommerce", place) for place in places)
    return Asked(realtime.read_filter(params), sees_money, actor.sees_past)


def places_of(actor: Actor, account: Account) -> list[Property]:
    """The properties of the account of which the actor may view who is here, by name. Raises
    Denied when there is none."""
    places = only(actor.properties(account), actor, "view", "realtime")
    if not places and not actor.may("view", "realtime", account):
        raise Denied("view", "realtime", account)
    return places


def _answer(
    actor: Actor, places: list[Property], params: QueryDict, is_account: bool = False
) -> dict[str, Any]:
    asked, now = asked_by(actor, places, params), timezone.now()
    dimension, most = realtime.read_list(params)
    try:
        if dimension:
            return realtime.one_list(places, asked, now, dimension, most)
        return realtime.snapshot(places, asked, now, is_account)
    except store.Unavailable as error:
        raise Unavailable from error


class Realtime(DoorView):
    """Who is here now."""

    module = "realtime"
    parameters = PARAMETERS

    @extend_schema(
        operation_id="realtime",
        tags=["reports"],
        parameters=[FILTERS, FILTER, *LIST],
        responses={200: OpenApiResponse(schema.REALTIME), 503: ERROR},
        examples=[OpenApiExample("Two visitors", value=schema.REALTIME_EXAMPLE)],
    )
    def get(self, request: Request, key: str) -> Response:
        """Visitors with a tab open, with it visible, and interacting right now; and where."""
        assert isinstance(self.place, Property)
        return Response(_answer(self.actor, [self.place], request.query_params))


class AccountRealtime(SignedInView):
    """Who is here now, in all properties of an account that the caller may view."""

    access = Access("member")
    http_method_names = ["get", "head", "options"]  # noqa: RUF012  a class variable of Django's View
    parameters = PARAMETERS

    @extend_schema(
        operation_id="account_realtime",
        tags=["reports"],
        parameters=[FILTERS, FILTER, *LIST],
        responses={200: OpenApiResponse(schema.REALTIME), 503: ERROR},
        examples=[OpenApiExample("Two visitors", value=schema.ACCOUNT_REALTIME_EXAMPLE)],
    )
    def get(self, request: Request, account: str) -> Response:
        """The sum of the properties, and each of them; a visitor of two is counted twice."""
        place = see_account(self.actor, account)
        places = places_of(self.actor, place)
        return Response(_answer(self.actor, places, request.query_params, is_account=True))
