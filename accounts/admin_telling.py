"""What administrators do to an account's things stands in the account's own audit log.

Mixed into an admin of Django whose objects are an account or have one. Django's own log of the
administration (django_admin_log) goes on beside it; customers do not see that.
"""

from collections.abc import Iterable
from typing import Any

from django.http import HttpRequest

from accounts.audit import record
from accounts.models import Account


class Telling:
    """Before `admin.ModelAdmin` in the list of bases."""

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        _tell(request, obj, "admin.added", message)
        return super().log_addition(request, obj, message)  # type: ignore[misc]

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        if message:
            _tell(request, obj, "admin.changed", message)
        return super().log_change(request, obj, message)  # type: ignore[misc]

    def log_deletions(self, request: HttpRequest, queryset: Iterable[Any]) -> Any:
        for obj in queryset:
            _tell(request, obj, "admin.deleted", None)
        return super().log_deletions(request, queryset)  # type: ignore[misc]


def _tell(request: HttpRequest, obj: Any, action: str, message: Any) -> None:
    """`message` is what Django makes of the form: which fields were changed."""
    account_id = obj.pk if isinstance(obj, Account) else obj.account_id
    new = {"what": message} if message else None
    target = f"{obj._meta.verbose_name} {obj}"
    record(account_id, action, request=request, target=target, new=new)
