"""The API of members, their grants and invitations: the rules of the pages, in JSON.

What granting.py refuses is 403 `forbidden` when it is more than the caller has, 412 `changed` when
somebody was quicker, and else 400 with its code. Owners are made and ended on the page only, where
a person confirms who she is.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, TypeVar

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.utils import (
    OpenApiParameter,
    extend_schema,
    extend_schema_field,
    inline_serializer,
)
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import modules
from accounts.models import Account, Membership
from properties import granting, invitations, leaving, snippets
from properties.access import DoorView, Right
from properties.api import Invalid
from properties.endpoints import Strict, results
from properties.etags import Changed, Tagged, locked
from properties.models import Invitation, Property
from properties.paging import Paged, exactly, one_of

TAGS = ["members"]
Answer = TypeVar("Answer")
_NOT_MINE = frozenset({"more_than_own", "owners_only", "forbidden", "owner"})


def asked(act: Callable[[], Answer]) -> Answer:
    """What granting.py and invitations.py refuse, as the API says it."""
    try:
        return act()
    except granting.Refused as error:
        if error.code in _NOT_MINE:
            raise PermissionDenied(str(error)) from error
        if error.code == "changed":
            raise Changed from error
        raise Invalid(error.code, str(error)) from error


class GrantSerializer(Strict):
    """A right: a verb in a module, in one property (its key) or in the whole account (null)."""

    module = serializers.ChoiceField(choices=modules.MODULES)
    verb = serializers.ChoiceField(choices=modules.VERBS)
    property = serializers.CharField(max_length=20, allow_null=True, default=None)


class MemberSerializer(serializers.ModelSerializer[Membership]):
    """Who belongs to the account. `role` is the preset that her grants started from."""

    email = serializers.EmailField(source="user.email", read_only=True)
    name = serializers.CharField(source="user.name", read_only=True)
    role = serializers.CharField(read_only=True)
    last_login = serializers.DateTimeField(
        source="user.last_login", read_only=True, allow_null=True
    )

    class Meta:
        model = Membership
        fields = ("id", "email", "name", "role", "created", "last_login")
        read_only_fields = fields


class RoleSerializer(Strict):
    """A role, whose preset takes the place of her grants; in these properties, or everywhere."""

    role = serializers.ChoiceField(choices=granting.ASSIGNABLE)
    properties = serializers.ListField(
        child=serializers.CharField(max_length=20), max_length=1000, required=False
    )


class GrantsSerializer(Strict):
    grants = GrantSerializer(many=True)


class NewInvitationSerializer(RoleSerializer):
    """An address and a role; `grants` instead of the role's preset."""

    email = serializers.EmailField(max_length=254)
    grants = GrantSerializer(many=True, required=False)


class InvitationSerializer(serializers.ModelSerializer[Invitation]):
    """An invitation. Its link stands in the mail and nowhere else."""

    role = serializers.CharField(read_only=True)
    state = serializers.SerializerMethodField()
    invited_by = serializers.SerializerMethodField()
    grants = serializers.SerializerMethodField()

    class Meta:
        model = Invitation
        fields = (
            "id",
            "email",
            "role",
            "grants",
            "state",
            "invited_by",
            "created",
            "sent",
            "expires",
        )
        read_only_fields = fields

    @extend_schema_field(serializers.ChoiceField(("open", "accepted", "revoked", "expired")))
    def get_state(self, sent: Invitation) -> str:
        return sent.state(timezone.now())

    def get_invited_by(self, sent: Invitation) -> str:
        return str(sent.invited_by or sent.invited_by_key or "")

    @extend_schema_field(GrantSerializer(many=True))
    def get_grants(self, sent: Invitation) -> list[dict[str, Any]]:
        return granted(invitations.rights_in(sent), self.context["keys"])


GRANTS = inline_serializer(
    "MemberGrants", {"role": serializers.CharField(), "grants": GrantSerializer(many=True)}
)


def granted(rights: Iterable[Right], keys: Mapping[int, str]) -> list[dict[str, Any]]:
    """Rights as the API shows them; `keys` are those of the properties that the caller sees."""
    return [
        {
            "module": right.module,
            "verb": right.verb,
            "property": None if right.property_id is None else keys[right.property_id],
        }
        for right in granting.listed(rights)
        if right.property_id is None or right.property_id in keys
    ]


class AboutMembers(DoorView):
    """What the views below share: the members of the account, and rights by names."""

    place: Account

    def members(self) -> QuerySet[Membership]:
        return Membership.objects.filter(account=self.place).select_related("user")

    def places(self) -> dict[str, Property]:
        """The properties that exist for the caller, by key."""
        return {place.key: place for place in self.actor.properties(self.place)}

    def chosen(self, keys: Iterable[str]) -> list[Property | None]:
        """The properties of those keys; none: the whole account."""
        known = self.places()
        for key in keys:
            if key not in known:
                raise Invalid("unknown_property", f"There is no property {key!r}.", "properties")
        return [known[key] for key in keys] or [None]

    def rights(self, grants: Iterable[dict[str, Any]]) -> frozenset[Right]:
        known = self.places()
        found = set()
        for number, grant in enumerate(grants):
            key = grant["property"]
            if key is not None and key not in known:
                message = f"There is no property {key!r}."
                raise Invalid("unknown_property", message, f"grants.{number}.property")
            where = None if key is None else known[key].pk
            found.add(Right(self.place.pk, where, grant["module"], grant["verb"]))
        return frozenset(found)

    def keys(self) -> dict[int, str]:
        return {place.pk: key for key, place in self.places().items()}

    def invitation(self, sent: Invitation) -> Any:
        return InvitationSerializer(sent, context={"keys": self.keys()}).data


class Members(Paged, AboutMembers):
    """Who belongs to an account."""

    module = "members"
    verbs: ClassVar = {"GET": "view"}
    orderings = ("created",)
    filters: ClassVar = {"role": one_of("role", modules.ROLES), "email": exactly("user__email")}

    @extend_schema(
        tags=TAGS, operation_id="members", responses=results("MemberList", MemberSerializer)
    )
    def get(self, request: Request, account: str) -> Response:
        return self.page(self.members(), MemberSerializer)


class OneMember(Tagged, AboutMembers):
    """One member of an account."""

    module = "members"
    verbs: ClassVar = {"GET": "view", "PATCH": "manage", "DELETE": "manage"}
    untagged = ("last_login",)

    def known_parameters(self, method: str) -> frozenset[str]:
        known = super().known_parameters(method)
        return known | {"keys"} if method == "DELETE" else known

    @extend_schema(tags=TAGS, operation_id="member", responses=MemberSerializer)
    def get(self, request: Request, account: str, pk: int) -> Response:
        return self.tagged(MemberSerializer(get_object_or_404(self.members(), pk=pk)).data)

    @extend_schema(
        tags=TAGS, operation_id="change_member", request=RoleSerializer, responses=MemberSerializer
    )
    def patch(self, request: Request, account: str, pk: int) -> Response:
        """Give her a role: its preset takes the place of her grants."""
        wanted = RoleSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        role = wanted.validated_data["role"]
        scope = self.chosen(wanted.validated_data.get("properties", []))
        granting.lock(self.place)
        found = locked(self.members(), pk=pk)
        self.unchanged(MemberSerializer(found).data)
        rights = granting.rights_of_role(role, self.place, scope)
        asked(lambda: granting.change(self.actor, found, rights, role, request=request))
        return self.tagged(MemberSerializer(found).data)

    @extend_schema(
        tags=TAGS,
        operation_id="remove_member",
        parameters=[
            OpenApiParameter(
                "keys",
                enum=["revoke", "keep"],
                default="revoke",
                description="What becomes of the API keys and share links that she made.",
            )
        ],
        responses={status.HTTP_204_NO_CONTENT: None},
    )
    def delete(self, request: Request, account: str, pk: int) -> Response:
        """She is out with her next request, with the keys and links that she made."""
        keys = request.query_params.get("keys", "revoke")
        if keys not in ("revoke", "keep"):
            raise Invalid("invalid_value", "Write revoke or keep.", "keys")
        granting.lock(self.place)
        found = locked(self.members(), pk=pk)
        self.unchanged(MemberSerializer(found).data)
        asked(lambda: leaving.leave(self.actor, found, keep=keys == "keep", request=request))
        return Response(status=status.HTTP_204_NO_CONTENT)


class MemberGrants(Tagged, AboutMembers):
    """What a member may do, one by one."""

    module = "members"
    verbs: ClassVar = {"GET": "view", "PUT": "manage"}

    @extend_schema(tags=TAGS, operation_id="grants", responses=GRANTS)
    def get(self, request: Request, account: str, pk: int) -> Response:
        return self.tagged(self._shown(get_object_or_404(self.members(), pk=pk)))

    @extend_schema(
        tags=TAGS, operation_id="change_grants", request=GrantsSerializer, responses=GRANTS
    )
    def put(self, request: Request, account: str, pk: int) -> Response:
        """Exactly these, instead of those before. Grants in properties that the caller does not
        see stay as they are."""
        wanted = GrantsSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        rights = self.rights(wanted.validated_data["grants"])
        granting.lock(self.place)
        found = locked(self.members(), pk=pk)
        self.unchanged(self._shown(found))
        seen = {None, *(place.pk for place in self.places().values())}
        kept = {right for right in granting.rights_of(found) if right.property_id not in seen}
        asked(lambda: granting.change(self.actor, found, rights | kept, request=request))
        return self.tagged(self._shown(found))

    def _shown(self, found: Membership) -> dict[str, Any]:
        return {"role": found.role, "grants": granted(granting.rights_of(found), self.keys())}


class Invitations(Paged, AboutMembers):
    """The invitations of an account, those that ended too."""

    module = "members"
    verbs: ClassVar = {"GET": "view", "POST": "manage"}
    orderings = ("-created",)
    filters: ClassVar = {"email": exactly("email")}

    @extend_schema(
        tags=TAGS,
        operation_id="invitations",
        responses=results("InvitationList", InvitationSerializer),
    )
    def get(self, request: Request, account: str) -> Response:
        found = Invitation.objects.of(self.place).select_related("account", "invited_by")
        return self.page(found, InvitationSerializer, {"keys": self.keys()})

    @extend_schema(
        tags=TAGS,
        operation_id="invite",
        request=NewInvitationSerializer,
        responses={status.HTTP_201_CREATED: InvitationSerializer},
    )
    def post(self, request: Request, account: str) -> Response:
        """Send a mail with a link that works once, for a week, for that address only."""
        wanted = NewInvitationSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        data = wanted.validated_data
        scope = self.chosen(data.get("properties", []))
        rights = granting.rights_of_role(data["role"], self.place, scope)
        if "grants" in data:
            rights = self.rights(data["grants"])
        sent = asked(
            lambda: invitations.invite(
                self.actor,
                self.place,
                data["email"],
                data["role"],
                rights,
                origin=snippets.origin_of(request._request),
                now=timezone.now(),
                request=request,
            )
        )
        return Response(self.invitation(sent), status=status.HTTP_201_CREATED)


class OneInvitation(Tagged, AboutMembers):
    """One invitation."""

    module = "members"
    verbs: ClassVar = {"GET": "view", "DELETE": "manage"}

    @extend_schema(tags=TAGS, operation_id="invitation", responses=InvitationSerializer)
    def get(self, request: Request, account: str, pk: int) -> Response:
        return self.tagged(
            self.invitation(get_object_or_404(Invitation.objects.of(self.place), pk=pk))
        )

    @extend_schema(
        tags=TAGS,
        operation_id="revoke_invitation",
        responses={status.HTTP_204_NO_CONTENT: None},
    )
    def delete(self, request: Request, account: str, pk: int) -> Response:
        """Take it back: its link is dead. It stays in the list."""
        granting.lock(self.place)
        sent = locked(Invitation.objects.of(self.place), pk=pk)
        self.unchanged(self.invitation(sent))
        invitations.revoke(self.actor, sent, now=timezone.now(), request=request)
        return Response(status=status.HTTP_204_NO_CONTENT)


class InvitationAgain(AboutMembers):
    """The mail of an invitation once more."""

    module = "members"
    verbs: ClassVar = {"POST": "manage"}

    @extend_schema(
        tags=TAGS,
        operation_id="resend_invitation",
        request=None,
        responses={status.HTTP_200_OK: InvitationSerializer},
    )
    def post(self, request: Request, account: str, pk: int) -> Response:
        """A new link, good for another week; the link before is dead."""
        sent = get_object_or_404(Invitation.objects.of(self.place), pk=pk)
        asked(
            lambda: invitations.resend(
                self.actor,
                sent,
                origin=snippets.origin_of(request._request),
                now=timezone.now(),
                request=request,
            )
        )
        return Response(self.invitation(sent))
