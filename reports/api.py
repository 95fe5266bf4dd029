"""The API of reports: the same questions that the pages ask, in JSON.

Enters: a request of somebody who sees the property. Leaves: an Answer of reports/queries.py as
JSON, or who is here now. A question needs the right to view every module that it names.
"""

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.tenancy import tenant
from properties.access import Access, Actor, Denied, DoorView, SignedInView, see_property
from properties.models import Property
from properties.openapi import ERROR
from reports import metrics, queries, schema
from reports.questions import Answer, Question
from tracking import live, store


class Unavailable(APIException):
    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_code = "unavailable"
    default_detail = "The live numbers cannot be read at the moment. Try again in a few seconds."
    wait = 5  # seconds, for Retry-After


class Query(SignedInView):
    """Ask for numbers of a property."""

    access = Access("member")  # sees the property; the question says which modules it needs
    http_method_names = ["post", "options"]  # noqa: RUF012  a class variable of Django's View

    @extend_schema(
        operation_id="query",
        tags=["reports"],
        request={"application/json": schema.QUESTION},
        responses=OpenApiResponse(schema.ANSWER),
        examples=[
            OpenApiExample(
                "Most viewed pages",
                request_only=True,
                value={"metrics": ["visitors", "pageviews"], "dimensions": ["page"], "limit": 2},
            ),
            OpenApiExample(
                "Visitors by day from one country",
                request_only=True,
                value={
                    "metrics": ["visitors"],
                    "dimensions": ["time:day"],
                    "filters": ["is", "country", ["DE"]],
                    "range": {"from": "2015-05-17", "to": "2015-05-20"},
                    "compare": "previous",
                },
            ),
            OpenApiExample("Most viewed pages", response_only=True, value=schema.ANSWER_EXAMPLE),
        ],
    )
    def post(self, request: Request, key: str) -> Response:
        """Metrics over a range of time, split by dimensions, narrowed by filters."""
        now = timezone.now()
        place = see_property(self.actor, key)
        asked: Any = request.data
        question = queries.parse_question(place, asked, now)
        require_modules(self.actor, place, question)
        with tenant(place.account_id):
            return Response(as_json(queries.ask(place, question, now)))


class Realtime(DoorView):
    """Who is here now."""

    module = "realtime"

    @extend_schema(
        operation_id="realtime",
        tags=["reports"],
        responses={200: OpenApiResponse(schema.REALTIME), 503: ERROR},
        examples=[OpenApiExample("Two visitors", value=schema.REALTIME_EXAMPLE)],
    )
    def get(self, request: Request, key: str) -> Response:
        """Visitors with a tab open, with it visible, and interacting right now; and where."""
        assert isinstance(self.place, Property)
        try:
            return Response(live.shown(self.place, int(timezone.now().timestamp() * 1000)))
        except store.Unavailable as error:
            raise Unavailable from error


def require_modules(actor: Actor, place: Property, question: Question) -> None:
    """Raise Denied for the first module of the question that the actor may not view."""
    for module in question.modules():
        if not actor.may("view", module, place):
            named = ", ".join(_named(module))
            raise Denied(
                "view",
                module,
                place,
                f"You may not view {module} here, and the question names something of it "
                f"({named}). An owner of the account can grant it.",
            )


def _named(module: str) -> list[str]:
    """The metrics and dimensions of a module."""
    found = [metric.name for metric in metrics.METRICS.values() if metric.module == module]
    return found + [name for name, d in metrics.DIMENSIONS.items() if d.module == module]


def as_json(answer: Answer) -> dict[str, Any]:
    """The answer as the API sends it; "compare" only where it was asked for."""
    body: dict[str, Any] = {"rows": answer.rows, "totals": answer.totals}
    if answer.compared is not None:
        body["compare"] = answer.compared
    return body | {"meta": answer.meta}
