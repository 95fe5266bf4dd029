"""The API of privacy: what is kept of a visitor or a person, and that it goes.

Enters: a request that passed THE DOOR with `people:manage` (to look at erasures: `people:view`).
Leaves: a file made while it is sent, or an erasure that the worker carries out within seconds.
"""

from typing import Any, ClassVar

from django.db import connection
from django.http import StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.audit import record
from privacy import erasing, exporting
from privacy.subjects import NoSuchSubject, Subject, subject_of
from properties.access import DoorView
from properties.api import Invalid
from properties.endpoints import Strict, results
from properties.etags import Tagged
from properties.models import Property
from properties.paging import Paged, one_of
from tracking.models import Erasure

TAGS = ["privacy"]
LONGEST = 200
STATES = {Erasure.State.WAITING: "waiting", Erasure.State.DONE: "done"}


class SubjectSerializer(Strict):
    """One of the three: a visitor's id as sent, its virtual id, or a person's user id."""

    visitor = serializers.CharField(max_length=LONGEST, required=False)
    number = serializers.IntegerField(min_value=1, max_value=2**31 - 1, required=False)
    user = serializers.CharField(max_length=LONGEST, required=False)


class ExportSerializer(SubjectSerializer):
    kind = serializers.ChoiceField(choices=list(exporting.KINDS), default="json")


class ErasureSerializer(serializers.ModelSerializer[Erasure]):
    """An erasure. The id of who is erased is not in it, and nowhere else when it is done."""

    state = serializers.SerializerMethodField()

    class Meta:
        model = Erasure
        fields = ("id", "kind", "state", "created", "done_at", "counts")
        read_only_fields = fields

    @extend_schema_field({"type": "string", "enum": list(STATES.values())})
    def get_state(self, erasure: Erasure) -> str:
        return STATES[Erasure.State(erasure.state)]


def asked_subject(place: Property, asked: dict[str, Any]) -> Subject:
    """Who is named. Raises Invalid."""
    named = {name: asked[name] for name in ("visitor", "number", "user") if name in asked}
    try:
        with connection.cursor() as cursor:
            return subject_of(cursor, place, **named)
    except NoSuchSubject as error:
        raise Invalid("no_such_subject", str(error), error.field) from error


def erasures_of(place: Property) -> Any:
    """Those that somebody asked for; a person's visitors belong to hers."""
    return Erasure.objects.filter(property_id=place.pk, person=None)


class Exports(DoorView):
    """All that is kept of a visitor or a person."""

    module = "people"
    verbs: ClassVar = {"POST": "manage"}
    fresh = frozenset({"POST"})
    place: Property

    @extend_schema(
        tags=TAGS,
        operation_id="export_visitor",
        request=ExportSerializer,
        responses={
            (status.HTTP_200_OK, "application/json"): OpenApiTypes.OBJECT,
            (status.HTTP_200_OK, "text/csv"): OpenApiTypes.STR,
        },
    )
    def post(self, request: Request, key: str) -> StreamingHttpResponse:
        """Visitors, sessions, events, what waits in the stream, quarantine and conflicts as one
        JSON object; with `"kind": "csv"` the events as a table."""
        asked = ExportSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        subject = asked_subject(self.place, asked.validated_data)
        kind = asked.validated_data["kind"]
        record(
            self.place.account_id,
            "visitor.exported",
            request=request,
            property=self.place,
            target=subject.name(self.place),
            new={"kind": kind},
        )
        return exporting.response(self.place, subject, kind, timezone.now())


class Erasures(Paged, DoorView):
    """Erasures of visitors and persons."""

    module = "people"
    verbs: ClassVar = {"GET": "view", "POST": "manage"}
    fresh = frozenset({"POST"})
    place: Property
    orderings = ("-created",)
    filters: ClassVar = {"kind": one_of("kind", Erasure.Kind.values)}

    @extend_schema(
        tags=TAGS, operation_id="erasures", responses=results("ErasureList", ErasureSerializer)
    )
    def get(self, request: Request, key: str) -> Response:
        return self.page(erasures_of(self.place), ErasureSerializer)

    @extend_schema(
        tags=TAGS,
        operation_id="erase",
        request=SubjectSerializer,
        responses={status.HTTP_202_ACCEPTED: ErasureSerializer},
    )
    def post(self, request: Request, key: str) -> Response:
        """Its events are refused from now on; the worker erases what there is within seconds. Asked
        again for the same one, it is the same erasure, and done again."""
        asked = SubjectSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        subject = asked_subject(self.place, asked.validated_data)
        erasure = ask(request, self.place, subject, self.actor.name)
        return Response(ErasureSerializer(erasure).data, status=status.HTTP_202_ACCEPTED)


def ask(request: Any, place: Property, subject: Subject, by: str) -> Erasure:
    """Ask for an erasure, and tell the audit log."""
    erasure = erasing.ask(place, subject, by, timezone.now())
    record(
        place.account_id,
        "erasure.requested",
        request=request,
        property=place,
        target=f"{subject.name(place)}, erasure {erasure.pk}",
    )
    return erasure


class OneErasure(Tagged, DoorView):
    """An erasure."""

    module = "people"
    place: Property

    @extend_schema(tags=TAGS, operation_id="erasure", responses=ErasureSerializer)
    def get(self, request: Request, key: str, pk: int) -> Response:
        """`state` is `done` once nothing of it is left; `counts` says how many rows there were."""
        return self.tagged(
            ErasureSerializer(get_object_or_404(erasures_of(self.place), pk=pk)).data
        )
