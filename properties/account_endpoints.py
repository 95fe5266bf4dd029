"""The API of accounts, and of who is asking: the rules of the pages, in JSON.

A key belongs to one account; only a person who is signed in opens another one.
"""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import audit, modules
from accounts.forms import AccountForm, clean_name
from accounts.models import Account, User
from accounts.tenancy import tenant
from properties import joining
from properties.access import Access, Actor, SignedInView, enter, see_account
from properties.endpoints import Strict, parsed, results
from properties.etags import Tagged, locked
from properties.models import ApiKey, Property
from properties.paging import Paged

TAGS = ["accounts"]


class AccountSerializer(Strict, serializers.ModelSerializer[Account]):
    """An account. Its slug stands in links, so it stays."""

    name = serializers.CharField(max_length=120)

    class Meta:
        model = Account
        fields = ("slug", "name", "allow_support", "created")
        read_only_fields = ("slug", "created")

    def validate_name(self, value: str) -> str:
        return parsed(clean_name, value)


class NewAccountSerializer(Strict):
    """A name, and a slug unless it shall be made of the name."""

    name = serializers.CharField(max_length=120)
    slug = serializers.CharField(max_length=40, required=False, allow_blank=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        form = AccountForm(attrs)
        errors: Any = form.errors
        if errors:
            raise serializers.ValidationError(errors)
        return form.cleaned_data


class Accounts(Paged, SignedInView):
    """The accounts in which the key or user has any right."""

    orderings = ("name", "created", "slug")

    @extend_schema(
        tags=TAGS, operation_id="accounts", responses=results("AccountList", AccountSerializer)
    )
    def get(self, request: Request) -> Response:
        found = [account.pk for account in self.actor.accounts()]
        return self.page(Account.objects.filter(pk__in=found), AccountSerializer)

    @extend_schema(
        tags=TAGS,
        operation_id="create_account",
        request=NewAccountSerializer,
        responses={status.HTTP_201_CREATED: AccountSerializer},
    )
    def post(self, request: Request) -> Response:
        """Open another account, which you then own. For people who are signed in, not for keys."""
        owner = self.actor.holder
        if not isinstance(owner, User):
            raise PermissionDenied("A key belongs to one account. Sign in to open another.")
        asked = NewAccountSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        try:
            with transaction.atomic():
                made = joining.open_account(**asked.validated_data, owner=owner)
        except IntegrityError as error:  # somebody was quicker
            taken = {"slug": "This short name is taken. Choose another."}
            raise serializers.ValidationError(taken) from error
        return Response(AccountSerializer(made).data, status=status.HTTP_201_CREATED)


class OneAccount(Tagged, SignedInView):
    """One account: whoever has any right in it sees its name; changing it asks for
    `property:manage` of the whole account."""

    access = Access("member")
    http_method_names = ["get", "patch", "head", "options"]  # noqa: RUF012  Django's View

    @extend_schema(tags=TAGS, operation_id="account", responses=AccountSerializer)
    def get(self, request: Request, account: str) -> Response:
        return self.tagged(AccountSerializer(see_account(self.actor, account)).data)

    @extend_schema(
        tags=TAGS,
        operation_id="change_account",
        request=AccountSerializer,
        responses=AccountSerializer,
    )
    def patch(self, request: Request, account: str) -> Response:
        place = enter(self.actor, "property", "manage", {"account": account})
        with tenant(place.pk):
            kept = locked(Account.objects.all(), pk=place.pk)
            self.unchanged(AccountSerializer(kept).data)
            before = audit.snapshot(kept, ("name", "allow_support"))
            asked = AccountSerializer(kept, data=request.data, partial=True)
            asked.is_valid(raise_exception=True)
            asked.save()
            old, new = audit.changes(before, audit.snapshot(kept, before))
            if new:
                audit.record(kept, "account.changed", request=request, old=old, new=new)
        return self.tagged(asked.data)


# -- who is asking ---------------------------------------------------------------------------------


class RightSerializer(serializers.Serializer[Any]):
    module = serializers.ChoiceField(choices=modules.MODULES)
    verb = serializers.ChoiceField(choices=modules.VERBS)
    property = serializers.CharField(allow_null=True, help_text="Its key; null: the whole account.")


class Me(SignedInView):
    """Who the key or session belongs to, and what it may do where."""

    KINDS = ("user", "api_key", "share_link")

    @extend_schema(
        tags=TAGS,
        operation_id="me",
        responses=inline_serializer(
            "Me",
            {
                "kind": serializers.ChoiceField(choices=KINDS),
                "name": serializers.CharField(help_text="E-mail address of a user, name of a key."),
                "expires": serializers.DateTimeField(allow_null=True),
                "accounts": inline_serializer(
                    "MyAccount",
                    {
                        "slug": serializers.CharField(),
                        "name": serializers.CharField(),
                        "rights": RightSerializer(many=True),
                    },
                    many=True,
                ),
            },
        ),
    )
    def get(self, request: Request) -> Response:
        return Response(_shown(self.actor))


def _shown(actor: Actor) -> dict[str, Any]:
    holder = actor.holder
    kind = "user" if isinstance(holder, User) else "share_link"
    kind = "api_key" if isinstance(holder, ApiKey) else kind
    expires = getattr(holder, "expires", None)
    named = [right.property_id for right in actor.rights if right.property_id is not None]
    places = Property.objects.across_accounts().filter(pk__in=named)
    keys: dict[int | None, str] = {None: "", **dict(places.values_list("pk", "key"))}
    rows = sorted(
        (right.account_id, right.module, keys[right.property_id], right.verb)
        for right in actor.rights
        if right.property_id in keys
    )
    return {
        "kind": kind,
        "name": actor.name,
        "expires": None
        if expires is None
        else serializers.DateTimeField().to_representation(expires),
        "accounts": [
            {
                "slug": account.slug,
                "name": account.name,
                "rights": [
                    {"module": module, "verb": verb, "property": key or None}
                    for account_id, module, key, verb in rows
                    if account_id == account.pk
                ],
            }
            for account in actor.accounts()
        ],
    }
