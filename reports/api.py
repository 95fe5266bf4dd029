"""The API of reports: the same questions that the pages ask, in JSON.

Enters: a request of somebody who sees the property. Leaves: an Answer of reports/queries.py as
JSON. A question needs the right to view every module that it names.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    OpenApiResponse,
    extend_schema,
)
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.tenancy import tenant
from properties.access import Access, Actor, Denied, SignedInView, see_property
from properties.api import Invalid
from properties.inputs import is_storable
from properties.models import Property
from properties.periods import Range, RangeError, parse_range, zone
from reports import discovery, filters, histograms, metrics, queries, schema
from reports.questions import Answer, Question


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
            answer = as_json(queries.ask(place, question, now))
        # As they were asked: what a segment or a goal stands for may be another's to see.
        answer["meta"] = answer["meta"] | {"filters": asked.get("filters")}
        return Response(answer)


class Histogram(SignedInView):
    """Ask how the numbers of an event property are spread."""

    access = Access("member")  # sees the property; the question says which modules it needs
    http_method_names = ["post", "options"]  # noqa: RUF012  a class variable of Django's View

    @extend_schema(
        operation_id="histogram",
        tags=["reports"],
        request={"application/json": schema.HISTOGRAM_QUESTION},
        responses=OpenApiResponse(schema.HISTOGRAM),
        examples=[
            OpenApiExample(
                "Prices of what was bought",
                request_only=True,
                value={"property": "props:price", "filters": ["is", "event", ["purchase"]]},
            ),
            OpenApiExample("Three prices", response_only=True, value=schema.HISTOGRAM_EXAMPLE),
        ],
    )
    def post(self, request: Request, key: str) -> Response:
        """Bins of equal width over the numbers of an event property, with the least, the most,
        mean and median, and how many events have no number in it."""
        now = timezone.now()
        place = see_property(self.actor, key)
        asked: Any = request.data
        question, most = histograms.parse_asked(place, asked, now)
        require_modules(self.actor, place, question)
        with tenant(place.account_id):
            found = histograms.ask(place, question, now, most)
        return Response(histogram_as_json(found))


class Discovery(SignedInView):
    """What of a property can be asked, by whoever sees it; only what its modules allow."""

    access = Access("member")
    http_method_names = ["get", "head", "options"]  # noqa: RUF012  a class variable of Django's View

    def asked_range(self, place: Property, now: datetime) -> Range:
        asked = self.request.query_params.get("range", queries.DEFAULT_RANGE)
        try:
            return parse_range(asked, zone(place.timezone), now, first=place.first_event_at)
        except RangeError as error:
            raise Invalid("invalid_range", str(error), "range") from error


_RANGE = OpenApiParameter("range", str, description='A word, or "2015-05-17..2015-05-20".')


class Dimensions(Discovery):
    """What a question can split by and filter by."""

    parameters = frozenset({"format", "range", "event"})

    @extend_schema(
        operation_id="dimensions",
        tags=["reports"],
        parameters=[
            _RANGE,
            OpenApiParameter("event", str, description="Only properties of events of this name."),
        ],
        responses=OpenApiResponse(schema.DIMENSIONS_ANSWER),
        examples=[OpenApiExample("Two dimensions", value=schema.DIMENSIONS_EXAMPLE)],
    )
    def get(self, request: Request, key: str) -> Response:
        """The dimensions, the properties that events had in the range, and the metrics."""
        place = see_property(self.actor, key)
        within = self.asked_range(place, timezone.now())
        event = request.query_params.get("event")
        if event is not None and (len(event) > filters.LONGEST_VALUE or not is_storable(event)):
            raise Invalid("invalid_value", "Name an event: a shorter text without NUL.", "event")

        def viewed(module: str) -> bool:
            return self.actor.may("view", module, place)

        props: list[discovery.Prop] = []
        if viewed("events"):
            with tenant(place.account_id):
                props = discovery.props(place, within, event)
        return Response(
            {
                "dimensions": [
                    {"name": d.name, "label": d.label, "scope": d.scope, "module": d.module}
                    for d in metrics.DIMENSIONS.values()
                    if viewed(d.module)
                ],
                "properties": [
                    {"name": prop.name, "type": prop.kind, "events": prop.events} for prop in props
                ],
                "metrics": [
                    {
                        "name": m.name,
                        "label": m.label,
                        "unit": m.unit,
                        "module": m.module,
                        "definition": m.definition,
                    }
                    for m in metrics.METRICS.values()
                    if viewed(m.module)
                ],
            }
        )


class Values(Discovery):
    """Which values a dimension has."""

    parameters = frozenset({"format", "range", "search", "limit"})

    @extend_schema(
        operation_id="values",
        tags=["reports"],
        parameters=[
            _RANGE,
            OpenApiParameter("search", str, description="Only values that contain this text."),
            OpenApiParameter("limit", int, description=f"1 to {discovery.MOST_VALUES}"),
        ],
        responses=OpenApiResponse(schema.VALUES),
        examples=[OpenApiExample("Two pages", value=schema.VALUES_EXAMPLE)],
    )
    def get(self, request: Request, key: str, name: str) -> Response:
        """The values of a dimension, most frequent first: of events, or of sessions where it
        binds to them."""
        place = see_property(self.actor, key)
        filters.check_dimension(name, "name")
        dimension = metrics.find_dimension(name)
        assert dimension is not None
        require_module(self.actor, place, dimension.module)
        within = self.asked_range(place, timezone.now())
        search = request.query_params.get("search", "")
        if len(search) > filters.LONGEST_VALUE or not is_storable(search):
            raise Invalid("invalid_value", "Search for a shorter text without NUL.", "search")
        limit = self._limit(request.query_params.get("limit"))
        with tenant(place.account_id):
            found = discovery.values(place, name, within, search, limit)
        return Response({"values": [{"value": value, "count": count} for value, count in found]})

    @staticmethod
    def _limit(text: str | None) -> int:
        if text is None:
            return discovery.MOST_VALUES
        if text.isdecimal() and text.isascii() and 1 <= int(text[:9]) <= discovery.MOST_VALUES:
            return int(text[:9])
        message = f"Write a whole number from 1 to {discovery.MOST_VALUES}."
        raise Invalid("invalid_limit", message, "limit")


def require_modules(actor: Actor, place: Property, question: Question) -> None:
    """Raise Denied for the first module of the question that the actor may not view."""
    for module in question.modules():
        require_module(actor, place, module)


def require_module(actor: Actor, place: Property, module: str) -> None:
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


def histogram_as_json(found: histograms.Histogram) -> dict[str, Any]:
    """The histogram as the API sends it; "compare" only where it was asked for."""
    line = found.spread
    body: dict[str, Any] = {
        "bins": [
            {"from": number(each.start), "to": number(each.end), "events": each.events}
            for each in found.bins
        ],
        "numbers": line.numbers,
        "missing": line.missing,
        "min": number(line.least),
        "max": number(line.most),
        "mean": number(line.mean),
        "median": number(line.median),
        "meta": found.meta | {"definitions": {"histogram": histograms.DEFINITION}},
    }
    if found.before is not None:
        body["compare"] = histogram_as_json(found.before)
    return body


def number(exact: Decimal | None) -> int | float | None:
    """As JSON has it: a whole number without a point."""
    if exact is None:
        return None
    return int(exact) if exact == exact.to_integral_value() else float(exact)
