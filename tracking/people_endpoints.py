"""The API of a property's users: import them, look at them, correct what is known of them.

Enters: a request that passed THE DOOR. Leaves: rows of `persons` as JSON, or what became of an
import, user by user. People.py decides what is kept. Erasing a user is the business of privacy.
"""

from typing import Any, ClassVar

from django.http import Http404
from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import audit
from properties.access import DoorView
from properties.api import Invalid
from properties.endpoints import Strict, results
from properties.etags import Tagged, locked
from properties.models import Property
from properties.paging import Paged, moment
from tracking import people
from tracking.models import Person
from tracking.refusals import Reason, Refusal

TAGS = ["users"]
WEB = "default"  # the database's user who may write persons of the tenant
NOTED_EVERY = 3600  # seconds: an import of a million is a thousand calls and one entry an hour


class PersonSerializer(Strict, serializers.ModelSerializer[Person]):
    """A user of the property. Only traits and signed_up can be written."""

    id = serializers.CharField(source="user", read_only=True)
    traits = serializers.DictField(
        child=serializers.JSONField(allow_null=True), required=False,
        help_text="Those that are named change; null takes one away.",
    )  # fmt: skip

    class Meta:
        model = Person
        fields = ("id", "signed_up", "traits", "first_seen", "last_seen", "updated")
        read_only_fields = ("first_seen", "last_seen", "updated")


class ImportedUser(serializers.Serializer[Any]):
    """For the documentation; people.judge() reads it, so that one fault refuses one user."""

    id = serializers.CharField(max_length=200)
    signed_up = serializers.DateTimeField(required=False, allow_null=True)
    traits = serializers.DictField(required=False, allow_null=True)
    time = serializers.DateTimeField(
        required=False, allow_null=True, help_text="Since when it holds; now, if you do not say."
    )


class RejectedUser(serializers.Serializer[Any]):
    index = serializers.IntegerField(help_text="Its place in the list, from 0.")
    reason = serializers.ChoiceField(choices=[reason.value for reason in Reason])
    field = serializers.CharField(required=False)
    message = serializers.CharField()


class Users(Paged, DoorView):
    """The users of a property."""

    module = "people"
    verbs: ClassVar = {"GET": "view", "POST": "manage"}
    place: Property
    most_bytes = 4_000_000
    orderings = ("id", "updated")
    columns: ClassVar = {"id": "user"}
    tie = "user"
    filters: ClassVar = {
        "signed_up_from": moment("signed_up__gte"),
        "signed_up_to": moment("signed_up__lt"),
        "updated_from": moment("updated__gte"),
    }

    @extend_schema(tags=TAGS, operation_id="users", responses=results("UserList", PersonSerializer))
    def get(self, request: Request, key: str) -> Response:
        return self.page(Person.objects.filter(property_id=self.place.pk), PersonSerializer)

    @extend_schema(
        tags=TAGS,
        operation_id="import_users",
        request=inline_serializer("UserImport", {"users": ImportedUser(many=True)}),
        responses=inline_serializer(
            "UserImportAnswer",
            {"accepted": serializers.IntegerField(), "rejected": RejectedUser(many=True)},
        ),
        examples=[
            OpenApiExample(
                "Two users",
                request_only=True,
                value={
                    "users": [
                        {"id": "17", "signed_up": "2024-02-29", "traits": {"plan": "pro"}},
                        {"id": "anna@example.com", "traits": {"seats": 3, "trial": None}},
                    ]
                },
            )
        ],
    )
    def post(self, request: Request, key: str) -> Response:
        """Make known or bring up to date up to 1,000 users. Repeat it as often as you like: of
        each fact the newest stays."""
        items = _users_in(request.data)
        answer = people.import_users(self.place, items, timezone.now(), WEB)
        actor = (type(self.actor.holder).__name__, self.actor.holder.pk)
        if answer.accepted and (
            audit.first_in(NOTED_EVERY, "people.imported", self.place.pk, actor) is not None
        ):
            audit.record(
                self.place.account_id,
                "people.imported",
                request=request,
                property=self.place,
                new={"users": answer.accepted},
            )
        return Response(answer._asdict())


def _users_in(body: Any) -> list[Any]:
    if not isinstance(body, dict) or set(body) != {"users"} or not isinstance(body["users"], list):
        raise Invalid("shape", 'Send {"users": [...]} and nothing else.', "users")
    if len(body["users"]) > people.MOST:
        raise Invalid("too_many", f"Send at most {people.MOST:,} users at once.", "users")
    return body["users"]


class OneUser(Tagged, DoorView):
    """One user of a property. Ids with a slash or other signs are written as %2F and so on."""

    module = "people"
    verbs: ClassVar = {"GET": "view", "PATCH": "manage"}
    place: Property

    def _named(self, user: str) -> dict[str, Any]:
        if not people.is_name(user):
            raise Http404("There is nothing here.")
        return {"property_id": self.place.pk, "user": user}

    @extend_schema(tags=TAGS, operation_id="user", responses=PersonSerializer)
    def get(self, request: Request, key: str, user: str) -> Response:
        return self.tagged(PersonSerializer(get_object_or_404(Person, **self._named(user))).data)

    @extend_schema(
        tags=TAGS,
        operation_id="change_user",
        request=PersonSerializer,
        responses=PersonSerializer,
    )
    def patch(self, request: Request, key: str, user: str) -> Response:
        """What is told now counts from now on."""
        person = locked(Person.objects.all(), **self._named(user))
        self.unchanged(PersonSerializer(person).data)
        asked = PersonSerializer(person, data=request.data, partial=True)
        asked.is_valid(raise_exception=True)
        facts = {"id": user, **asked.initial_data}
        try:
            told = people.judge(self.place, facts, timezone.now())
            refused = people.tell(WEB, [told])
        except Refusal as refusal:
            refused = {0: refusal}
        if refused:
            raise Invalid(str(refused[0].reason), refused[0].message, refused[0].field)
        person.refresh_from_db()
        if "signed_up" in facts or "traits" in facts:
            audit.record(
                self.place.account_id,
                "person.changed",
                request=request,
                property=self.place,
                # Not whose: the log cannot be changed, and she may want to be erased.
                new={"fields": sorted(set(facts) - {"id"})},
            )
        return self.tagged(PersonSerializer(person).data)
