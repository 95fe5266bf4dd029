"""Properties, API keys and grants in Django's admin. Secrets are never shown: they are not kept."""

from typing import Any

from django.contrib import admin
from django.db import transaction
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from accounts.admin_telling import Telling
from accounts.audit import record
from accounts.models import Membership
from properties import granting, leaving
from properties.access import actor_of
from properties.forms import PropertyForm
from properties.models import ApiKey, Grant, Property


@admin.register(Property)
class PropertyAdmin(Telling, admin.ModelAdmin):
    form = PropertyForm
    list_display = ("name", "key", "account", "hosts", "timezone", "key_count", "first_event_at")
    list_filter = ("privacy", "created")
    search_fields = ("key", "name", "hostnames", "account__slug")
    list_select_related = ("account",)
    autocomplete_fields = ("account",)
    readonly_fields = ("key", "version", "created", "first_event_at")
    fields = (
        "account",
        "key",
        *PropertyForm.Meta.fields,
        "visitor_limit",
        "version",
        "created",
        "first_event_at",
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Property | None = None) -> Any:
        # Events, visitors and rights are of the account: a property cannot move to another.
        return (*self.readonly_fields, "account") if obj else self.readonly_fields

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # its events would stay: its own page takes them, too

    def get_queryset(self, request: HttpRequest) -> QuerySet[Property]:
        counted = super().get_queryset(request)
        return counted.annotate(key_count=Count("grants__api_key", distinct=True))

    @admin.display(description="hostnames")
    def hosts(self, place: Property) -> str:
        return ", ".join(place.hostnames)

    @admin.display(ordering="key_count", description="keys of its own")
    def key_count(self, place: Any) -> int:
        return place.key_count


class GrantInline(admin.TabularInline):
    model = Grant
    extra = 0
    fields = ("module", "verb", "property")
    autocomplete_fields = ("property",)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(ApiKey)
class ApiKeyAdmin(Telling, admin.ModelAdmin):
    """Read, and end; keys are made on the account's page or by `create_api_key`."""

    list_display = ("name", "prefix", "account", "state", "created", "last_used")
    list_filter = (("revoked", admin.EmptyFieldListFilter), "created")
    search_fields = ("name", "prefix", "account__slug")
    list_select_related = ("account",)
    fields = ("account", "name", "prefix", "created", "expires", "revoked", "last_used")
    readonly_fields = fields
    inlines = (GrantInline,)
    actions = ("revoke",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    @admin.display(description="state")
    def state(self, key: ApiKey) -> str:
        if key.revoked:
            return "revoked"
        return "in use" if key.is_usable(timezone.now()) else "expired"

    @admin.action(description="Revoke the chosen keys", permissions=["change"])
    def revoke(self, request: HttpRequest, keys: QuerySet[ApiKey]) -> None:
        now = timezone.now()
        ended = [key for key in keys if key.revoke(now)]
        for key in ended:
            record(key.account_id, "api_key.revoked", request=request, target=str(key))
        self.message_user(request, f"{len(ended)} keys revoked.")


@admin.register(Grant)
class GrantAdmin(Telling, admin.ModelAdmin):
    """What every member and key may do."""

    list_display = ("holder", "account", "module", "verb", "property")
    list_filter = ("module", "verb")
    search_fields = ("account__slug", "membership__user__email", "api_key__name", "property__key")
    list_select_related = ("account", "property", "membership__user", "api_key")
    autocomplete_fields = ("account", "property", "membership", "api_key")

    @admin.display(description="who")
    def holder(self, grant: Grant) -> Membership | ApiKey | None:
        return grant.membership or grant.api_key


@admin.register(Membership)
class MembershipAdmin(Telling, admin.ModelAdmin):
    """Who belongs where. A new role replaces the grants by its preset."""

    list_display = ("user", "account", "role", "created")
    list_filter = ("role",)
    search_fields = ("user__email", "account__slug")
    list_select_related = ("user", "account")
    autocomplete_fields = ("user", "account")

    def delete_model(self, request: HttpRequest, obj: Membership) -> None:
        """As when an owner removes her: keys, links and invitations of hers end as well."""
        actor = actor_of(request)
        assert actor is not None, "the administration is for whoever is signed in"
        with transaction.atomic():
            granting.lock(obj.account)
            super().delete_model(request, obj)
            leaving.end_what_she_made(obj, actor, request=request)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Membership]) -> None:
        for membership in queryset.select_related("user", "account").order_by("account"):
            self.delete_model(request, membership)

    def save_model(self, request: HttpRequest, obj: Membership, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if not change or "role" in form.changed_data:
            Grant.from_role(obj)
