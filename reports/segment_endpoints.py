"""The API of an account's segments: the rules of segments.py, in JSON.

Whoever has any right in the account lists the segments that she may use somewhere in it; making,
changing and deleting asks for `audience:manage` of the whole account.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.exceptions import ValidationError as DjangoValidationError
from django.http import Http404
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiResponse,
    extend_schema,
    extend_schema_field,
)
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Account
from accounts.tenancy import tenant
from properties.access import Access, SignedInView, enter, see_account
from properties.endpoints import Strict, results
from properties.etags import Tagged, locked
from properties.inputs import is_storable
from properties.paging import Paged
from reports import schema, segments
from reports.models import Segment

TAGS = ["segments"]


@extend_schema_field(schema.FILTER)
class FiltersField(serializers.JSONField):
    """A filter as a question takes it; segments.py judges what is in it."""


class SegmentSerializer(Strict, serializers.ModelSerializer[Segment]):
    """A segment as the API shows and takes it. Its slug stands in questions, so it stays."""

    name = serializers.CharField(max_length=120)
    filters = FiltersField()

    class Meta:
        model = Segment
        fields = ("slug", "name", "filters", "created", "changed")
        read_only_fields = ("slug", "created", "changed")


_EXAMPLE = {
    "name": "Buyers from Germany",
    "filters": ["and", ["is", "country", ["DE"]], ["has_done", "event", ["purchase"]]],
}
_ASKED = OpenApiExample("Buyers from Germany", request_only=True, value=_EXAMPLE)
_SHOWN = OpenApiExample(
    "Buyers from Germany",
    response_only=True,
    value={"slug": "buyers-from-germany", **_EXAMPLE}
    | dict.fromkeys(("created", "changed"), "2026-03-14T12:00:00Z"),
)


@contextmanager
def _told() -> Iterator[None]:
    """Rules speak Django's ValidationError; REST framework wants its own."""
    try:
        yield
    except DjangoValidationError as error:
        raise serializers.ValidationError({"name": error.messages}) from error


class Segments(Paged, SignedInView):
    """The segments of an account."""

    access = Access("member")
    http_method_names = ["get", "post", "head", "options"]  # noqa: RUF012  Django's View
    orderings = ("name", "created", "slug")

    @extend_schema(
        tags=TAGS, operation_id="segments", responses=results("SegmentList", SegmentSerializer)
    )
    def get(self, request: Request, account: str) -> Response:
        """Those that you may use in some property of it."""
        place = see_account(self.actor, account)
        with tenant(place.pk):
            found = [segment.pk for segment in segments.of_account(place, self.actor)]
            return self.page(Segment.objects.filter(pk__in=found), SegmentSerializer)

    @extend_schema(
        tags=TAGS,
        operation_id="create_segment",
        request=SegmentSerializer,
        responses={status.HTTP_201_CREATED: SegmentSerializer},
        examples=[_ASKED, _SHOWN],
    )
    def post(self, request: Request, account: str) -> Response:
        place = enter(self.actor, segments.MODULE, segments.VERB, {"account": account})
        assert isinstance(place, Account)
        asked = SegmentSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        with tenant(place.pk), _told():
            made = segments.make(
                place,
                self.actor,
                asked.validated_data["name"],
                asked.validated_data["filters"],
                request=request,
            )
        return Response(SegmentSerializer(made).data, status=status.HTTP_201_CREATED)


class OneSegment(Tagged, SignedInView):
    """One segment of an account."""

    access = Access("member")
    http_method_names = ["get", "patch", "delete", "head", "options"]  # noqa: RUF012

    @extend_schema(
        tags=TAGS,
        operation_id="segment",
        responses=OpenApiResponse(SegmentSerializer),
        examples=[_SHOWN],
    )
    def get(self, request: Request, account: str, segment: str) -> Response:
        place = see_account(self.actor, account)
        with tenant(place.pk):
            found = segments.one_of_account(place, self.actor, segment)
        if found is None:
            raise Http404("There is nothing here.")
        return self.tagged(SegmentSerializer(found).data)

    @extend_schema(
        tags=TAGS,
        operation_id="change_segment",
        request=SegmentSerializer,
        responses=SegmentSerializer,
        examples=[_SHOWN],
    )
    def patch(self, request: Request, account: str, segment: str) -> Response:
        place = enter(self.actor, segments.MODULE, segments.VERB, {"account": account})
        assert isinstance(place, Account)
        with tenant(place.pk), _told():
            kept = self._locked(place, segment)
            self.unchanged(SegmentSerializer(kept).data)
            asked = SegmentSerializer(kept, data=request.data, partial=True)
            asked.is_valid(raise_exception=True)
            segments.change(place, self.actor, kept, asked.validated_data, request=request)
        return self.tagged(SegmentSerializer(kept).data)

    @extend_schema(
        tags=TAGS,
        operation_id="delete_segment",
        responses={status.HTTP_204_NO_CONTENT: OpenApiResponse(description="It is gone.")},
    )
    def delete(self, request: Request, account: str, segment: str) -> Response:
        place = enter(self.actor, segments.MODULE, segments.VERB, {"account": account})
        assert isinstance(place, Account)
        with tenant(place.pk):
            kept = self._locked(place, segment)
            self.unchanged(SegmentSerializer(kept).data)
            segments.delete(place, kept, request=request)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @staticmethod
    def _locked(place: Account, slug: str) -> Segment:
        if not is_storable(slug):  # what Postgres cannot hold names nothing
            raise Http404("There is nothing here.")
        return locked(Segment.objects.filter(account_id=place.pk), slug=slug)
