"""The API of share links: the rules of the page, in JSON. A token is in one answer only."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import modules
from properties import granting, inputs, issuing, periods, revoking, sharing, snippets
from properties.access import DoorView
from properties.api import Invalid
from properties.endpoints import Strict, parsed, results
from properties.etags import Tagged, locked
from properties.models import Property, ShareLink
from properties.paging import Paged

TAGS = ["share links"]
FIELDS = {
    "unknown_module": "modules",
    "more_than_own": "modules",
    "live": "modules",
    "range": "first",
    "password": "password",
    "framed": "hosts",
    "expires": "expires",
}


class ShareLinkSerializer(Strict, serializers.ModelSerializer[ShareLink]):
    """A share link as the API shows it: `password` says whether there is one."""

    modules = serializers.SerializerMethodField()
    has_password = serializers.SerializerMethodField()
    made_by: Any = serializers.SlugRelatedField(slug_field="email", read_only=True, allow_null=True)

    class Meta:
        model = ShareLink
        fields = (
            "id",
            "name",
            "modules",
            "days",
            "first",
            "last",
            "has_password",
            "downloads",
            "hosts",
            "expires",
            "created",
            "made_by",
            "revoked",
            "last_used",
            "views",
        )
        read_only_fields = fields

    def get_modules(self, link: ShareLink) -> list[str]:
        return issuing.modules_of(link)

    def get_has_password(self, link: ShareLink) -> bool:
        return bool(link.password)


class NewShareLinkSerializer(ShareLinkSerializer):
    """The same with its address, which is shown this once."""

    address = serializers.URLField(read_only=True)

    class Meta(ShareLinkSerializer.Meta):
        fields: Any = (*ShareLinkSerializer.Meta.fields, "address")
        read_only_fields: Any = fields


class WantedLinkSerializer(Strict):
    """What a new link shows: `audience` always, other modules by name; the last `days`, or `first`
    to `last`, or every day."""

    name = serializers.CharField(max_length=120)
    modules = serializers.ListField(
        child=serializers.ChoiceField(choices=modules.SHAREABLE),
        max_length=len(modules.SHAREABLE),
        required=False,
    )
    days = serializers.IntegerField(
        min_value=1, max_value=issuing.MOST_DAYS, required=False, allow_null=True
    )
    first = serializers.DateField(required=False, allow_null=True)
    last = serializers.DateField(required=False, allow_null=True)
    password = serializers.CharField(
        required=False,
        allow_blank=True,
        trim_whitespace=False,
        min_length=issuing.SHORTEST_PASSWORD,
        max_length=issuing.LONGEST_PASSWORD,
        write_only=True,
    )
    downloads = serializers.BooleanField(required=False)
    hosts = serializers.ListField(
        child=serializers.CharField(max_length=300),
        max_length=inputs.MOST_FRAMING_HOSTS,
        required=False,
    )
    expires = serializers.DateTimeField(required=False, allow_null=True)

    def validate_name(self, value: str) -> str:
        return parsed(inputs.name, value)

    def validate_hosts(self, value: list[str]) -> list[str]:
        return parsed(inputs.framing_hosts, value)

    def _in_reach(self, value: Any) -> Any:
        if value is not None and not periods.FIRST_YEAR <= value.year <= periods.LAST_YEAR:
            raise serializers.ValidationError(
                f"Choose a year from {periods.FIRST_YEAR} to {periods.LAST_YEAR}."
            )
        return value

    validate_first = validate_last = _in_reach

    def wanted(self) -> issuing.WantedLink:
        data = dict(self.validated_data)
        return issuing.WantedLink(shows=data.pop("modules", ()), **data)


class ShareLinks(Paged, DoorView):
    """The share links of a property."""

    module = "property"
    verbs: ClassVar = {"GET": "manage", "POST": "manage"}
    place: Property
    orderings = ("created", "name")

    @extend_schema(
        tags=TAGS,
        operation_id="share_links",
        responses=results("ShareLinkList", ShareLinkSerializer),
    )
    def get(self, request: Request, key: str) -> Response:
        return self.page(links_of(self.place), ShareLinkSerializer)

    @extend_schema(
        tags=TAGS,
        operation_id="create_share_link",
        request=WantedLinkSerializer,
        responses={status.HTTP_201_CREATED: NewShareLinkSerializer},
    )
    def post(self, request: Request, key: str) -> Response:
        """A new link; `address` is in this answer and nowhere else. It shows nothing that its maker
        may not view, and what a key makes ends no later than the key."""
        asked = WantedLinkSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        now = timezone.now()
        try:
            link, token = issuing.issue_link(self.actor, self.place, asked.wanted(), now, request)
        except granting.Refused as error:
            raise Invalid(error.code, str(error), FIELDS.get(error.code, "")) from error
        address = snippets.origin_of(request._request) + sharing.root_of(token)
        setattr(link, "address", address)  # noqa: B010  shown this once, stored nowhere
        return Response(NewShareLinkSerializer(link).data, status=status.HTTP_201_CREATED)


class OneShareLink(Tagged, DoorView):
    """One share link of a property."""

    module = "property"
    verbs: ClassVar = {"GET": "manage", "DELETE": "manage"}
    place: Property
    untagged = ("last_used", "views")

    @extend_schema(tags=TAGS, operation_id="share_link", responses=ShareLinkSerializer)
    def get(self, request: Request, key: str, pk: int) -> Response:
        return self.tagged(ShareLinkSerializer(get_object_or_404(links_of(self.place), pk=pk)).data)

    @extend_schema(
        tags=TAGS,
        operation_id="revoke_share_link",
        responses={status.HTTP_200_OK: ShareLinkSerializer},
    )
    def delete(self, request: Request, key: str, pk: int) -> Response:
        """It shows nothing from now on. It stays in the list, with its end."""
        granting.lock(self.place.account)
        link = locked(links_of(self.place), pk=pk)
        self.unchanged(ShareLinkSerializer(link).data)
        revoking.revoke(link, request)
        return Response(ShareLinkSerializer(link).data)


def links_of(place: Property) -> QuerySet[ShareLink]:
    query = ShareLink.objects.of(place.account).filter(property=place)
    return query.select_related("made_by", "property").prefetch_related("grants")
