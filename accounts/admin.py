"""Users and accounts in Django's admin, for whoever runs the installation."""

from typing import Any, ClassVar

from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Group
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from accounts import plans
from accounts.models import Account, Membership, Plan, User

admin.site.site_header = "Aktivat"
admin.site.site_title = "Aktivat"
admin.site.index_title = "Administration"
# The one entrance for all: Django's own form would ask for no second factor.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]
admin.site.unregister(Group)  # rights are grants of members; groups would be a second kind


class MembershipInline(admin.TabularInline):
    """Read only: a new role must bring its grants, which the list of memberships sees to."""

    model = Membership
    extra = 0
    readonly_fields = ("user", "role", "created")
    can_delete = False
    show_change_link = True

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(User)
class PersonAdmin(UserAdmin):
    list_display = ("email", "name", "is_active", "is_staff", "created", "last_login")
    list_filter = ("is_active", "is_staff", "is_superuser")
    search_fields = ("email", "name")
    ordering = ("email",)
    date_hierarchy = "created"
    readonly_fields = ("created", "last_login")
    filter_horizontal = ("user_permissions",)
    fieldsets = (
        (None, {"fields": ("email", "name", "password")}),
        ("Rights here", {"fields": ("is_active", "is_staff", "is_superuser", "user_permissions")}),
        ("Dates", {"fields": ("created", "last_login")}),
    )
    add_fieldsets = (
        (None, {"fields": ("email", "name", "usable_password", "password1", "password2")}),
    )


@admin.register(Account)
class AccountAdmin(admin.ModelAdmin):
    list_display = (
        "slug",
        "name",
        "plan",
        "quota",
        "member_count",
        "property_count",
        "allow_support",
        "created",
    )
    list_filter = ("plan", "quota_level", "allow_support", "created")
    list_select_related = ("plan",)
    search_fields = ("slug", "name", "memberships__user__email", "properties__key")
    ordering = ("slug",)
    date_hierarchy = "created"
    # Whether support may look is the customer's to say.
    readonly_fields = ("created", "allow_support", "quota")
    fields = ("name", "slug", "plan", "quota", "allow_support", "created")
    autocomplete_fields = ("plan",)
    inlines: ClassVar = [MembershipInline]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Account]:
        counted = super().get_queryset(request)
        return counted.annotate(
            member_count=Count("memberships", distinct=True),
            property_count=Count("properties", distinct=True),
        )

    @admin.display(ordering="member_count", description="members")
    def member_count(self, account: Any) -> int:
        return account.member_count

    @admin.display(ordering="property_count", description="properties")
    def property_count(self, account: Any) -> int:
        return account.property_count

    @admin.display(ordering="quota_level", description="this month")
    def quota(self, account: Account) -> str:
        return LEVELS[account.quota_level_at(timezone.now())]


LEVELS = {
    0: "-",
    plans.WARN: "80 % used",
    plans.FULL: "over the plan",
    plans.CLOSED: "refusing events",
}


@admin.register(Plan)
class PlanAdmin(admin.ModelAdmin):
    """What accounts may use; accounts follow within seconds of a change."""

    list_display = (
        "name",
        "events_per_month",
        "overrun_percent",
        "max_properties",
        "max_members",
        "is_default",
        "account_count",
    )
    list_filter = ("is_default",)
    search_fields = ("name",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Plan]:
        return super().get_queryset(request).annotate(account_count=Count("accounts"))

    @admin.display(ordering="account_count", description="accounts of its own")
    def account_count(self, plan: Any) -> int:
        return plan.account_count
