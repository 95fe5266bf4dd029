"""The API of a property's public key: replace it, and end the ones that it had before."""

from typing import Any, ClassVar

from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from properties import recording
from properties.access import DoorView
from properties.endpoints import TAGS, Strict, parsed
from properties.models import Property, RetiredKey

MOST_DAYS = 365


class RetiredKeySerializer(serializers.ModelSerializer[RetiredKey]):
    """A key that was replaced; events with it are taken until then."""

    class Meta:
        model = RetiredKey
        fields = ("id", "key", "created", "until")
        read_only_fields = fields


class ReplacementSerializer(Strict):
    """How many days the old key goes on."""

    days = serializers.IntegerField(min_value=0, max_value=MOST_DAYS, default=30)


def _shown(place: Property) -> dict[str, Any]:
    retired = RetiredKeySerializer(place.retired_keys.all(), many=True)
    return {"key": place.key, "retired": retired.data}


KEYS = inline_serializer(
    "PropertyKeys",
    {"key": serializers.CharField(), "retired": RetiredKeySerializer(many=True)},
)


class Keys(DoorView):
    """The public key of a property, and those that it had before."""

    module = "property"
    verbs: ClassVar = {"GET": "view", "POST": "manage"}
    fresh = frozenset({"POST"})
    place: Property

    @extend_schema(tags=TAGS, operation_id="property_keys", responses=KEYS)
    def get(self, request: Request, key: str) -> Response:
        return Response(_shown(self.place))

    @extend_schema(
        tags=TAGS,
        operation_id="replace_key",
        request=ReplacementSerializer,
        responses={status.HTTP_201_CREATED: KEYS},
    )
    def post(self, request: Request, key: str) -> Response:
        asked = ReplacementSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        now = timezone.now()
        days = asked.validated_data["days"]
        old = parsed(lambda days: self.place.replace_key(days, now), days)
        recording.key_replaced(request, self.place, old)
        return Response(_shown(self.place), status=status.HTTP_201_CREATED)


class OneRetiredKey(DoorView):
    """A key that was replaced."""

    module = "property"
    verbs: ClassVar = {"DELETE": "manage"}
    place: Property

    @extend_schema(
        tags=TAGS, operation_id="end_key", responses={status.HTTP_200_OK: RetiredKeySerializer}
    )
    def delete(self, request: Request, key: str, pk: int) -> Response:
        """It ends now. It stays in the list, with its end."""
        old = get_object_or_404(self.place.retired_keys, pk=pk)
        if self.place.end_key(old, timezone.now()):
            recording.key_ended(request, self.place, old)
        return Response(RetiredKeySerializer(old).data)
