"""The API of a property's goals: the rules of the page, in JSON."""

from typing import Any, ClassVar

from django.core.exceptions import ValidationError as DjangoValidationError
from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.audit import snapshot
from properties import goals, inputs, recording
from properties.access import DoorView
from properties.endpoints import TAGS, Strict, parsed, results
from properties.etags import Tagged, locked
from properties.models import Goal, Property
from properties.paging import Paged, one_of


class GoalSerializer(Strict, serializers.ModelSerializer[Goal]):
    """A goal as the API shows and takes it. `event` may be empty for a value: any event."""

    event = serializers.CharField(max_length=200, allow_blank=True, required=False)
    page = serializers.CharField(max_length=1000, allow_blank=True, required=False)
    minimum = serializers.DecimalField(
        max_digits=18, decimal_places=4, min_value=0, allow_null=True, required=False
    )

    class Meta:
        model = Goal
        fields = ("id", "name", "kind", "event", "page", "minimum", "created")
        read_only_fields = ("id", "created")
        extra_kwargs: ClassVar = {"kind": {"required": True}}

    def validate_name(self, value: str) -> str:
        return parsed(inputs.name, value)

    def validate_event(self, value: str) -> str:
        return parsed(inputs.goal_event, value)

    def validate_page(self, value: str) -> str:
        return parsed(inputs.goal_page, value)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        goal = self.instance or Goal(property=self.context["place"])
        goal.account_id = self.context["place"].account_id
        for name, value in attrs.items():
            setattr(goal, name, value)
        try:
            goals.clean(goal)
        except DjangoValidationError as error:
            raise serializers.ValidationError(serializers.as_serializer_error(error)) from error
        self.instance = goal
        return attrs

    def save(self, **kwargs: Any) -> Goal:
        """What `validate` made of it."""
        assert self.instance is not None, "is_valid() comes first"
        self.instance.save()
        return self.instance


class Goals(Paged, DoorView):
    """The goals of a property."""

    module = "property"
    verbs: ClassVar = {"GET": "view", "POST": "manage"}
    place: Property
    orderings = ("name", "created")
    filters: ClassVar = {"kind": one_of("kind", Goal.Kind.values)}

    @extend_schema(tags=TAGS, operation_id="goals", responses=results("GoalList", GoalSerializer))
    def get(self, request: Request, key: str) -> Response:
        found = Goal.objects.of(self.place.account).filter(property=self.place)
        return self.page(found, GoalSerializer)

    @extend_schema(
        tags=TAGS,
        operation_id="create_goal",
        request=GoalSerializer,
        responses={status.HTTP_201_CREATED: GoalSerializer},
    )
    def post(self, request: Request, key: str) -> Response:
        asked = GoalSerializer(data=request.data, context={"place": self.place})
        asked.is_valid(raise_exception=True)
        goal = asked.save()
        recording.goal_created(request, goal)
        return Response(GoalSerializer(goal).data, status=status.HTTP_201_CREATED)


class OneGoal(Tagged, DoorView):
    """One goal of a property."""

    module = "property"
    verbs: ClassVar = {"GET": "view", "PATCH": "manage", "DELETE": "manage"}
    place: Property

    def _goals(self) -> QuerySet[Goal]:
        return Goal.objects.of(self.place.account).filter(property=self.place)

    @extend_schema(tags=TAGS, operation_id="goal", responses=GoalSerializer)
    def get(self, request: Request, key: str, pk: int) -> Response:
        return self.tagged(GoalSerializer(get_object_or_404(self._goals(), pk=pk)).data)

    @extend_schema(
        tags=TAGS, operation_id="change_goal", request=GoalSerializer, responses=GoalSerializer
    )
    def patch(self, request: Request, key: str, pk: int) -> Response:
        goal = locked(self._goals(), pk=pk)
        self.unchanged(GoalSerializer(goal).data)
        before = snapshot(goal, Goal.SETTINGS)
        asked = GoalSerializer(goal, data=request.data, partial=True, context={"place": self.place})
        asked.is_valid(raise_exception=True)
        recording.goal_changed(request, asked.save(), before)
        return self.tagged(GoalSerializer(goal).data)

    @extend_schema(
        tags=TAGS,
        operation_id="delete_goal",
        responses={status.HTTP_204_NO_CONTENT: OpenApiResponse(description="It is gone.")},
    )
    def delete(self, request: Request, key: str, pk: int) -> Response:
        goal = locked(self._goals(), pk=pk)
        self.unchanged(GoalSerializer(goal).data)
        goal.delete()
        recording.goal_deleted(request, goal)
        return Response(status=status.HTTP_204_NO_CONTENT)
