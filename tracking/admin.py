"""What the pipeline did, in Django's admin: quarantine, erasures, and pages about all accounts
(ledger, usage, refusals, ticks, audit).

All look across accounts, so they ask as the worker's database user; nothing can be changed.
"""

from collections import Counter
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Max, QuerySet, Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from properties.models import Property
from tracking import operation, ticks
from tracking.models import Erasure, Ledger, Quarantined

LEDGER_DAYS = 30
COLUMNS = (
    "accepted",
    "duplicate",
    "bots",
    "pings",
    "stored",
    "late_duplicate",
    "quarantined",
    "erased",
    "expired",
)
PAYLOAD_SHOWN = 4000  # characters


@admin.register(Quarantined)
class QuarantinedAdmin(admin.ModelAdmin):
    """Stream entries that could not be stored, with the reason; to be looked at, not changed."""

    list_display = ("received_at", "property_id", "account_id", "reason", "entry")
    list_filter = ("received_at",)
    search_fields = ("reason", "=property_id")
    ordering = ("-received_at",)
    show_full_result_count = False
    fields = ("received_at", "account_id", "property_id", "entry", "reason", "as_text")
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Quarantined]:
        return super().get_queryset(request).using("worker")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description="payload")
    def as_text(self, row: Quarantined) -> str:
        """Bytes as they came; what is no text is escaped."""
        return bytes(row.payload).decode("utf-8", "backslashreplace")[:PAYLOAD_SHOWN]


@admin.register(Erasure)
class ErasureAdmin(admin.ModelAdmin):
    """Who was to be erased: how far that is, never the id itself. Read only."""

    list_display = ("created", "property_id", "account_id", "kind", "state", "done_at")
    list_filter = ("state", "kind", "created")
    search_fields = ("=property_id", "requested_by")
    ordering = ("-created",)
    show_full_result_count = False
    fields = (*list_display, "requested_by", "counts")
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Erasure]:
        return super().get_queryset(request).using("worker")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def _page(
    request: HttpRequest, right: str, template: str, title: str, context: dict[str, Any]
) -> HttpResponse:
    """A page of the administration that is no list of a model."""
    if not request.user.has_perm(right):
        raise PermissionDenied(f"You need the right {right} here. A superuser can grant it.")
    return render(request, template, admin.site.each_context(request) | {"title": title} | context)


def usage_across_accounts(request: HttpRequest) -> HttpResponse:
    """Accepted events of every account in this month, against its plan; fullest first."""
    wanted = request.GET.get("q", "").replace("\x00", "")
    context = {"rows": operation.usage_across_accounts(timezone.now(), wanted), "q": wanted}
    return _page(request, "tracking.view_ledger", "admin/usage.html", "Usage this month", context)


def refusals_across_accounts(request: HttpRequest) -> HttpResponse:
    """Why events were refused, over a day, a week and a month."""
    context = {"rows": operation.refusals_across_accounts(timezone.now())}
    return _page(request, "tracking.view_ledger", "admin/refusals.html", "Refused events", context)


def ticks_of_worker(request: HttpRequest) -> HttpResponse:
    """What the worker does by itself: when it last did, how long it took, what failed."""
    context = {"ticks": ticks.known(timezone.now())}
    return _page(
        request, "tracking.view_ledger", "admin/ticks.html", "Ticks of the worker", context
    )


def audit_across_accounts(request: HttpRequest) -> HttpResponse:
    """The newest entries of all audit logs; they have composite keys, so Django has no list."""
    names = ("account", "actor", "action")
    asked = {name: request.GET.get(name, "").replace("\x00", "").strip() for name in names}
    before = request.GET.get("before", "")
    context: dict[str, Any] = {"asked": asked}
    context |= operation.audit_across_accounts(asked, before)
    right = "accounts.view_auditentry"
    return _page(request, right, "admin/audit.html", "Audit log of all accounts", context)


def ledger_across_accounts(request: HttpRequest) -> HttpResponse:
    """The ledger's columns summed per property over the last days, busiest first."""
    if not request.user.has_perm("tracking.view_ledger"):
        raise PermissionDenied("You need the right to view the ledger. A superuser can grant it.")
    since = timezone.now() - timedelta(days=LEDGER_DAYS)
    context = {
        **admin.site.each_context(request),
        "title": f"Ledger of the last {LEDGER_DAYS} days",
        "columns": [name.replace("_", " ") for name in COLUMNS],
        "rows": totals_across_accounts(since),
    }
    return render(request, "admin/ledger.html", context)


def totals_across_accounts(since: Any) -> list[dict[str, Any]]:
    """One dict a property: `place` (None: unknown or instance-wide), `numbers` in the order of
    COLUMNS, `refused` (reason, count) pairs, and the `last` hour with a row."""
    rows = Ledger.objects.using("worker").filter(hour__gte=since)
    sums: list[dict[str, Any]] = [
        dict(row)
        for row in rows.values("property_id").annotate(
            last=Max("hour"), **{f"sum_{name}": Sum(name) for name in COLUMNS}
        )
    ]
    sums.sort(key=lambda row: -row["sum_accepted"])
    refused: dict[int, Counter[str]] = {}
    for property_id, reasons in rows.exclude(refused={}).values_list("property_id", "refused"):
        refused.setdefault(property_id, Counter()).update(reasons)
    ids = [row["property_id"] for row in sums]
    known = Property.objects.across_accounts().select_related("account").in_bulk(ids)
    return [
        {
            "place": known.get(row["property_id"]),
            "property_id": row["property_id"],
            "numbers": [row[f"sum_{name}"] for name in COLUMNS],
            "refused": refused.get(row["property_id"], Counter()).most_common(),
            "last": row["last"],
        }
        for row in sums
    ]
