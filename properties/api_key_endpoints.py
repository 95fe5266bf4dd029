"""The API of API keys: the rules of the page, in JSON. A secret is in one answer only."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import modules
from accounts.models import Account
from properties import granting, inputs, issuing, revoking
from properties.access import DoorView
from properties.api import Invalid
from properties.endpoints import Strict, parsed, results
from properties.etags import Tagged, locked
from properties.models import ApiKey, Property
from properties.paging import Paged

TAGS = ["api keys"]
GRANTS = [f"{module}:{verb}" for module in modules.MODULES for verb in modules.VERBS]


class ApiKeySerializer(Strict, serializers.ModelSerializer[ApiKey]):
    """An API key as the API shows and takes it: each grant holds in each of the properties, in the
    whole account without any."""

    grants = serializers.ListField(
        child=serializers.ChoiceField(choices=GRANTS), min_length=1, max_length=len(GRANTS)
    )
    properties = serializers.ListField(
        child=serializers.CharField(max_length=11), max_length=1000, required=False
    )
    made_by: Any = serializers.SlugRelatedField(slug_field="email", read_only=True, allow_null=True)

    class Meta:
        model = ApiKey
        fields = (
            "id",
            "name",
            "prefix",
            "grants",
            "properties",
            "expires",
            "created",
            "made_by",
            "revoked",
            "last_used",
            "last_used_from",
        )
        read_only_fields = ("id", "prefix", "created", "revoked", "last_used", "last_used_from")

    def to_representation(self, instance: ApiKey) -> dict[str, Any]:
        # The rows of grants are not the lists that the API speaks of: each is shown by itself.
        written = issuing.described_key(instance)
        shown: dict[str, Any] = {}
        for name, field in self.fields.items():
            if name in ("grants", "properties"):
                shown[name] = written[name]
            else:
                value = field.get_attribute(instance)
                shown[name] = None if value is None else field.to_representation(value)
        return shown

    def validate_name(self, value: str) -> str:
        return parsed(inputs.name, value)

    def validate_properties(self, value: list[str]) -> list[Property]:
        account = self.context["account"]
        places = {place.key: place for place in self.context["actor"].properties(account)}
        if self.instance is not None:  # what the key has, it may keep
            places |= {place.key: place for place in issuing.grants_of(self.instance)[1]}
        for key in value:
            if key not in places:
                raise serializers.ValidationError(f"There is no property {key!r} here.")
        return [places[key] for key in dict.fromkeys(value)]

    def wanted(self) -> dict[str, Any]:
        """What was asked for; of what was not, what the key has."""
        asked = self.validated_data
        grants, places = issuing.grants_of(self.instance) if self.instance else ([], [])
        if "grants" in asked:
            grants = [modules.parse_grant(text) for text in asked["grants"]]
        return {
            "name": asked.get("name", getattr(self.instance, "name", "")),
            "grants": grants,
            "places": asked.get("properties", places),
            "expires": asked.get("expires", getattr(self.instance, "expires", None)),
        }


class NewApiKeySerializer(ApiKeySerializer):
    """The same with its secret, which is shown this once."""

    secret = serializers.CharField(read_only=True)

    class Meta(ApiKeySerializer.Meta):
        fields: Any = (*ApiKeySerializer.Meta.fields, "secret")
        read_only_fields: Any = fields


FIELDS = {
    "expires": "expires",
    "more_than_own": "grants",
    "whole_account": "grants",
    "empty": "grants",
}


def refused(error: granting.Refused) -> Invalid:
    """400 with the field that a rule of issuing.py speaks of."""
    return Invalid(error.code, str(error), FIELDS.get(error.code, ""))


class ApiKeys(Paged, DoorView):
    """The API keys of an account."""

    module = "api_keys"
    verbs: ClassVar = {"GET": "view", "POST": "manage"}
    fresh = frozenset({"POST"})
    place: Account
    orderings = ("created", "name")

    @extend_schema(
        tags=TAGS, operation_id="api_keys", responses=results("ApiKeyList", ApiKeySerializer)
    )
    def get(self, request: Request, account: str) -> Response:
        return self.page(keys_of(self.place), ApiKeySerializer)

    @extend_schema(
        tags=TAGS,
        operation_id="create_api_key",
        request=ApiKeySerializer,
        responses={status.HTTP_201_CREATED: NewApiKeySerializer},
    )
    def post(self, request: Request, account: str) -> Response:
        """A new key; `secret` is in this answer and nowhere else. A key makes none that may more
        than itself or lasts longer."""
        context = {"account": self.place, "actor": self.actor}
        asked = ApiKeySerializer(data=request.data, context=context)
        asked.is_valid(raise_exception=True)
        try:
            key, secret = issuing.issue_key(
                self.actor, self.place, **asked.wanted(), now=timezone.now(), request=request
            )
        except granting.Refused as error:
            raise refused(error) from error
        setattr(key, "secret", secret)  # noqa: B010  shown this once, stored nowhere
        return Response(NewApiKeySerializer(key).data, status=status.HTTP_201_CREATED)


class OneApiKey(Tagged, DoorView):
    """One API key of an account."""

    module = "api_keys"
    verbs: ClassVar = {"GET": "view", "PATCH": "manage", "DELETE": "manage"}
    fresh = frozenset({"PATCH", "DELETE"})
    place: Account
    untagged = ("last_used", "last_used_from")

    @extend_schema(tags=TAGS, operation_id="api_key", responses=ApiKeySerializer)
    def get(self, request: Request, account: str, pk: int) -> Response:
        return self.tagged(ApiKeySerializer(get_object_or_404(keys_of(self.place), pk=pk)).data)

    @extend_schema(
        tags=TAGS,
        operation_id="change_api_key",
        request=ApiKeySerializer,
        responses=ApiKeySerializer,
    )
    def patch(self, request: Request, account: str, pk: int) -> Response:
        """Another name, other rights, another end; for its next request already."""
        granting.lock(self.place)
        key = locked(keys_of(self.place), pk=pk)
        self.unchanged(ApiKeySerializer(key).data)
        context = {"account": self.place, "actor": self.actor}
        asked = ApiKeySerializer(key, data=request.data, partial=True, context=context)
        asked.is_valid(raise_exception=True)
        try:
            issuing.change_key(
                self.actor, key, **asked.wanted(), now=timezone.now(), request=request
            )
        except granting.Refused as error:
            raise refused(error) from error
        return self.tagged(ApiKeySerializer(keys_of(self.place).get(pk=pk)).data)

    @extend_schema(
        tags=TAGS, operation_id="revoke_api_key", responses={status.HTTP_200_OK: ApiKeySerializer}
    )
    def delete(self, request: Request, account: str, pk: int) -> Response:
        """It ends now. It stays in the list, with its end."""
        granting.lock(self.place)
        key = locked(keys_of(self.place), pk=pk)
        self.unchanged(ApiKeySerializer(key).data)
        revoking.revoke(key, request)
        return Response(ApiKeySerializer(key).data)


def keys_of(account: Account) -> QuerySet[ApiKey]:
    query = ApiKey.objects.of(account).select_related("made_by")
    return query.prefetch_related("grants__property")
