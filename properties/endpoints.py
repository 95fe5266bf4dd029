"""The API of properties: the same rules as the pages, in JSON.

Enters: a request that passed THE DOOR, with fields named one by one in the serializers. Leaves:
one object with its ETag (etags.py), or a page of a list (paging.py). Values are read by inputs.py,
as in the forms. This is the file to copy for another resource.
"""

from collections.abc import Callable
from typing import Any, ClassVar

from django.core.exceptions import ValidationError as DjangoValidationError
from drf_spectacular.utils import OpenApiResponse, extend_schema, inline_serializer
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.audit import snapshot
from accounts.models import Account
from properties import allowance, capture, inputs, recording
from properties.access import DoorView
from properties.api import Invalid
from properties.etags import Tagged, locked
from properties.models import Property
from properties.paging import Paged, exactly

TAGS = ["properties"]  # the heading in the documentation


def parsed(parse: Callable[[Any], Any], value: Any) -> Any:
    """inputs.py speaks Django's ValidationError; REST framework wants its own."""
    try:
        return parse(value)
    except DjangoValidationError as error:
        raise serializers.ValidationError(error.messages) from error


class Strict(serializers.Serializer[Any]):
    """A field that nobody may set, or a misspelt one, is an error and not ignored."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):
            known = {name for name, field in self.fields.items() if not field.read_only}
            for name in data:
                if name not in known:
                    raise serializers.ValidationError(
                        {str(name)[:60]: [f"Cannot be set. Known: {', '.join(sorted(known))}."]}
                    )
        return super().to_internal_value(data)


class PropertySerializer(Strict, serializers.ModelSerializer[Property]):
    """A property as the API shows and takes it."""

    account: Any = serializers.SlugRelatedField(slug_field="slug", read_only=True)
    hostnames = serializers.ListField(
        child=serializers.CharField(max_length=300), max_length=inputs.MOST_HOSTNAMES
    )
    excluded_addresses = serializers.ListField(
        child=serializers.CharField(max_length=60), max_length=1000, required=False
    )
    capture = serializers.ListField(
        child=serializers.ChoiceField(choices=capture.NAMES), max_length=100, required=False
    )
    search_parameters = serializers.ListField(
        child=serializers.CharField(max_length=inputs.LONGEST_PARAMETER),
        max_length=inputs.MOST_PARAMETERS,
        allow_empty=False,
        required=False,
    )

    class Meta:
        model = Property
        fields = (
            "key",
            "account",
            "name",
            "hostnames",
            "timezone",
            "currency",
            "privacy",
            "signals",
            "capture",
            "search_parameters",
            "strict_origin",
            "rate_limit",
            "session_gap_minutes",
            "retention_days",
            "excluded_addresses",
            "visitor_limit",
            "created",
            "first_event_at",
        )
        read_only_fields = ("key", "visitor_limit", "created", "first_event_at")

    def validate_name(self, value: str) -> str:
        return parsed(inputs.name, value)

    def validate_hostnames(self, value: list[str]) -> list[str]:
        return parsed(inputs.hostnames, value)

    def validate_timezone(self, value: str) -> str:
        return parsed(inputs.timezone, value)

    def validate_currency(self, value: str) -> str:
        return parsed(inputs.currency, value)

    def validate_excluded_addresses(self, value: list[str]) -> list[str]:
        return parsed(inputs.addresses, value)

    def validate_capture(self, value: list[str]) -> list[str]:
        return parsed(inputs.switches, value)

    def validate_search_parameters(self, value: list[str]) -> list[str]:
        return parsed(inputs.search_parameters, value)

    def validate_rate_limit(self, value: int) -> int:
        before = self.instance.rate_limit if self.instance else 0
        return parsed(lambda rate: inputs.rate_limit(rate, before), value)


def results(name: str, serializer: type[serializers.BaseSerializer]) -> OpenApiResponse:
    """A page of a list, in the schema."""
    following = serializers.CharField(allow_null=True)
    return OpenApiResponse(
        inline_serializer(name, {"results": serializer(many=True), "next": following})
    )


class AccountProperties(Paged, DoorView):
    """The properties of an account."""

    module = "property"
    verbs: ClassVar = {"GET": "view", "POST": "manage"}
    place: Account
    orderings = ("name", "created", "key")
    filters: ClassVar = {"name": exactly("name")}

    @extend_schema(
        tags=TAGS, operation_id="properties", responses=results("PropertyList", PropertySerializer)
    )
    def get(self, request: Request, account: str) -> Response:
        found = [place.pk for place in self.actor.properties(self.place)]
        query = Property.objects.of(self.place).filter(pk__in=found).select_related("account")
        return self.page(query, PropertySerializer)

    @extend_schema(
        tags=TAGS,
        operation_id="create_property",
        request=PropertySerializer,
        responses={status.HTTP_201_CREATED: PropertySerializer},
    )
    def post(self, request: Request, account: str) -> Response:
        asked = PropertySerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        if full := allowance.why_no_property(self.place):
            raise Invalid("plan", full)
        recording.property_created(request, asked.save(account=self.place))
        return Response(asked.data, status=status.HTTP_201_CREATED)


class OneProperty(Tagged, DoorView):
    """The settings of a property."""

    module = "property"
    verbs: ClassVar = {"GET": "view", "PATCH": "manage"}
    place: Property

    @extend_schema(tags=TAGS, operation_id="property", responses=PropertySerializer)
    def get(self, request: Request, key: str) -> Response:
        return self.tagged(PropertySerializer(self.place).data)

    @extend_schema(
        tags=TAGS,
        operation_id="change_property",
        request=PropertySerializer,
        responses=PropertySerializer,
    )
    def patch(self, request: Request, key: str) -> Response:
        account = self.place.account
        place = locked(Property.objects.of(account).select_related("account"), pk=self.place.pk)
        self.unchanged(PropertySerializer(place).data)
        before = snapshot(place, Property.SETTINGS)
        asked = PropertySerializer(place, data=request.data, partial=True)
        asked.is_valid(raise_exception=True)
        recording.property_changed(request, asked.save(), before)
        return self.tagged(asked.data)
