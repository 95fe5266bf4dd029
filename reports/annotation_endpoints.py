"""The API of a property's annotations: what a deploy hook calls, and the notes of the page in JSON.

Enters: a request that passed THE DOOR. Leaves: one annotation with its ETag, or a page of them.
What may be written is decided in reports/annotations.py.
"""

from typing import Any, ClassVar

from django.core.exceptions import ValidationError as DjangoValidationError
from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.audit import snapshot
from properties.access import DoorView
from properties.api import Invalid
from properties.endpoints import Strict, parsed, results
from properties.etags import Tagged, locked
from properties.models import Property
from properties.paging import Paged, moment, one_of
from reports import annotations
from reports.models import Annotation

TAGS = ["reports"]
_EXAMPLE = {
    "id": 1,
    "at": "2026-03-02T14:05:00Z",
    "kind": "deploy",
    "text": "Release 4.2",
    "url": "https://example.com/releases/4.2",
    "made_by": {"kind": "api_key", "name": "Deploy hook"},
    "created": "2026-03-02T14:05:01Z",
}


class MadeBy(serializers.Serializer[Any]):
    """Who wrote it: a member's name, or an API key's."""

    kind = serializers.ChoiceField(choices=Annotation.Maker.values)
    name = serializers.CharField()


class AnnotationSerializer(Strict, serializers.ModelSerializer[Annotation]):
    """An annotation as the API shows and takes it. Without `at` it is of now, without `kind` a
    deploy: what a hook sends is one text."""

    at = serializers.DateTimeField(required=False, help_text="UTC unless it bears an offset")
    kind = serializers.ChoiceField(choices=Annotation.Kind.values, required=False)
    text = serializers.CharField(max_length=annotations.LONGEST)
    url = serializers.CharField(
        max_length=annotations.LONGEST_URL, allow_blank=True, required=False
    )
    made_by = serializers.SerializerMethodField()

    class Meta:
        model = Annotation
        fields = ("id", "at", "kind", "text", "url", "made_by", "created")
        read_only_fields = ("id", "created")

    def get_made_by(self, note: Annotation) -> MadeBy:
        names = self.context["names"]
        return {"kind": note.made_by_kind, "name": annotations.maker_of(note, names)}  # type: ignore[return-value]

    def validate_at(self, value: Any) -> Any:
        return parsed(annotations.moment_of, value)

    def validate_text(self, value: str) -> str:
        return parsed(annotations.text_of, value)

    def validate_url(self, value: str) -> str:
        return parsed(annotations.url_of, value)


def shown(place: Property, note: Annotation) -> dict[str, Any]:
    names = annotations.makers(place.account, [note])
    return AnnotationSerializer(note, context={"names": names}).data


class Annotations(Paged, DoorView):
    """The notes on the charts of a property."""

    module = "audience"
    verbs: ClassVar = {"GET": "view", "POST": "manage"}
    place: Property
    orderings = ("-at", "created")
    filters: ClassVar = {
        "from": moment("at__gte"),
        "to": moment("at__lt"),
        "kind": one_of("kind", Annotation.Kind.values),
    }

    @extend_schema(
        tags=TAGS,
        operation_id="annotations",
        responses=results("AnnotationList", AnnotationSerializer),
    )
    def get(self, request: Request, key: str) -> Response:
        """Newest first. `from` and `to` narrow by `at`: from this moment, and before that one."""
        names = _Names(self.place)
        return self.page(annotations.of(self.place), AnnotationSerializer, {"names": names})

    @extend_schema(
        tags=TAGS,
        operation_id="create_annotation",
        request=AnnotationSerializer,
        responses={status.HTTP_201_CREATED: AnnotationSerializer},
        examples=[
            OpenApiExample(
                "A deploy hook",
                request_only=True,
                value={"text": "Release 4.2", "url": "https://example.com/releases/4.2"},
            ),
            OpenApiExample("A deploy", response_only=True, value=_EXAMPLE),
        ],
    )
    def post(self, request: Request, key: str) -> Response:
        """Write one: what a deploy hook calls."""
        asked = AnnotationSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        try:
            note = annotations.new(self.place, self.actor)
        except DjangoValidationError as error:
            raise Invalid("too_many", error.messages[0]) from error
        note.at, note.kind = timezone.now(), Annotation.Kind.DEPLOY
        _write(note, asked.validated_data)
        annotations.created(request, self.place, note)
        return Response(shown(self.place, note), status=status.HTTP_201_CREATED)


class OneAnnotation(Tagged, DoorView):
    """One note on the charts of a property."""

    module = "audience"
    verbs: ClassVar = {"GET": "view", "PATCH": "manage", "DELETE": "manage"}
    place: Property

    def _locked(self, pk: int) -> Annotation:
        note = locked(annotations.of(self.place), pk=pk)
        self.unchanged(shown(self.place, note))
        return note

    @extend_schema(tags=TAGS, operation_id="annotation", responses=AnnotationSerializer)
    def get(self, request: Request, key: str, pk: int) -> Response:
        return self.tagged(shown(self.place, annotations.find(self.place, pk)))

    @extend_schema(
        tags=TAGS,
        operation_id="change_annotation",
        request=AnnotationSerializer,
        responses=AnnotationSerializer,
    )
    def patch(self, request: Request, key: str, pk: int) -> Response:
        note = self._locked(pk)
        before = snapshot(note, Annotation.SETTINGS)
        asked = AnnotationSerializer(note, data=request.data, partial=True)
        asked.is_valid(raise_exception=True)
        _write(note, asked.validated_data)
        annotations.changed(request, self.place, note, before)
        return self.tagged(shown(self.place, note))

    @extend_schema(
        tags=TAGS,
        operation_id="delete_annotation",
        responses={status.HTTP_204_NO_CONTENT: OpenApiResponse(description="It is gone.")},
    )
    def delete(self, request: Request, key: str, pk: int) -> Response:
        note = self._locked(pk)
        note.delete()
        annotations.deleted(request, self.place, note)
        return Response(status=status.HTTP_204_NO_CONTENT)


class _Names(dict[tuple[str, int], str]):
    """Names of makers, each looked up when a page of a list first shows it."""

    def __init__(self, place: Property) -> None:
        super().__init__()
        self.account = place.account

    def get(self, key: tuple[str, int], default: Any = None) -> Any:
        if key not in self:
            note = Annotation(made_by_kind=key[0], made_by=key[1])
            self[key] = annotations.makers(self.account, [note]).get(key, "")
        return self[key] or default


def _write(note: Annotation, fields: dict[str, Any]) -> None:
    for name, value in fields.items():
        setattr(note, name, value)
    note.save()
