"""Users and accounts in Django's admin, for whoever runs the installation."""

from typing import Any, ClassVar

import allauth.mfa.admin
import allauth.socialaccount.admin
import allauth.usersessions.admin  # noqa: F401  registered before they are taken out below
from allauth.account.decorators import secure_admin_login
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialApp, SocialToken
from allauth.usersessions.models import UserSession
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import URLPattern, path
from django.utils import timezone

from accounts import plans, support
from accounts.admin_telling import Telling
from accounts.forms import SupportForm
from accounts.models import Account, Membership, Plan, SupportSession, User

admin.site.site_header = "Aktivat"
admin.site.site_title = "Aktivat"
admin.site.index_title = "Administration"
# The one entrance for all: Django's own form would ask for no second factor.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]
admin.site.unregister(Group)  # rights are grants of members; groups would be a second kind
# These show what lets somebody sign in as somebody else, past accounts/support.py: secrets of
# second factors, keys of sessions, tokens and secrets of providers.
for secret in (Authenticator, UserSession, SocialToken, SocialApp):
    admin.site.unregister(secret)


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
    change_form_template = "admin/user_change.html"

    def get_urls(self) -> list[URLPattern]:
        guard = self.admin_site.admin_view
        return [
            path("<int:pk>/act/", guard(self.act), name="support_enter"),
            path("stop-acting/", guard(self.stop_acting), name="support_leave"),
            *super().get_urls(),
        ]

    def act(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Look at the product as this user, with a reason."""
        staff = request.user
        if not staff.has_perm(support.ENTER):
            raise PermissionDenied("You need the right to act as users. A superuser can grant it.")
        user = get_object_or_404(User, pk=pk)
        may_write = staff.has_perm(support.WRITE)
        form = SupportForm(request.POST or None, may_write=may_write)
        if request.method == "POST" and form.is_valid():
            try:
                support.enter(request, user, **form.cleaned_data)
                return redirect("home")
            except support.NotAllowed as refusal:
                form.add_error(None, str(refusal))
        accounts = Account.objects.filter(memberships__user=user).order_by("name")
        context = {
            **self.admin_site.each_context(request),
            "title": f"Act as {user}",
            "opts": self.opts,
            "person": user,
            "form": form,
            "accounts": accounts,
            "minutes": support.LASTS.seconds // 60,
        }
        return render(request, "admin/act.html", context)

    def stop_acting(self, request: HttpRequest) -> HttpResponse:
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        support.leave(request)
        self.message_user(request, "You are yourself again.")
        return redirect("admin:index")


class QuotaFilter(admin.SimpleListFilter):
    """How much of this month's plan is used."""

    title = "this month"
    parameter_name = "quota"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(level), words) for level, words in LEVELS.items() if level]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Account]) -> QuerySet[Account]:
        level = next((level for level in LEVELS if str(level) == self.value()), None)
        if level is None:
            return queryset
        return queryset.filter(quota_month=plans.month_of(timezone.now()), quota_level=level)


@admin.register(Account)
class AccountAdmin(Telling, admin.ModelAdmin):
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
    list_filter = ("plan", QuotaFilter, "allow_support", "created")
    list_select_related = ("plan",)
    search_fields = ("slug", "name", "memberships__user__email", "properties__key")
    ordering = ("slug",)
    date_hierarchy = "created"
    # Whether support may look is the customer's to say.
    readonly_fields = ("created", "allow_support", "quota")
    fields = ("name", "slug", "plan", "quota", "allow_support", "created")
    autocomplete_fields = ("plan",)
    inlines: ClassVar = [MembershipInline]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # its events would stay: its owner's page takes them, too

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


@admin.register(SupportSession)
class SupportSessionAdmin(admin.ModelAdmin):
    """Who acted as whom, and why. Read, and end."""

    list_display = ("started", "staff", "user", "reason", "may_write", "ends", "ended")
    list_filter = ("may_write", "started", ("ended", admin.EmptyFieldListFilter))
    search_fields = ("staff__email", "user__email", "reason")
    list_select_related = ("staff", "user")
    actions = ("end",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.action(description="End the chosen ones now", permissions=["view"])
    def end(self, request: HttpRequest, chosen: QuerySet[SupportSession]) -> None:
        running = list(chosen.filter(ended=None).select_related("staff", "user"))
        for begun in running:
            support.end(begun, timezone.now(), request)
        self.message_user(request, f"{len(running)} ended.")
