"""The API of the audit log: the same entries as the page, newest first, and nothing to write.

Enters: a request behind THE DOOR of module `audit`. Leaves: a page of the list (paging.py).
"""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.audit import ACTIONS
from accounts.models import Account, AuditEntry
from properties.access import DoorView
from properties.endpoints import results
from properties.models import Property
from properties.paging import Filter, Paged, exactly, moment, one_of

TAGS = ["audit"]


class AuditEntrySerializer(serializers.ModelSerializer[AuditEntry]):
    """One entry. `old` and `new` hold what changed; `hash` seals it and all before it."""

    time = serializers.DateTimeField(source="at")
    property = serializers.SerializerMethodField()
    hash = serializers.SerializerMethodField()

    class Meta:
        model = AuditEntry
        fields = (
            "number",
            "time",
            "action",
            "actor_kind",
            "actor_id",
            "actor_name",
            "impersonator_id",
            "impersonator_name",
            "address",
            "user_agent",
            "request_id",
            "property",
            "property_name",
            "target",
            "old",
            "new",
            "hash",
        )
        read_only_fields = fields

    @extend_schema_field({"type": "string", "nullable": True})
    def get_property(self, entry: AuditEntry) -> str | None:
        """Its key as of today; null when the entry is about none, or it is deleted."""
        return self.context["keys"].get(entry.property_id)

    @extend_schema_field({"type": "string"})
    def get_hash(self, entry: AuditEntry) -> str:
        return bytes(entry.hash).hex()


def _property_id(key: str) -> int:
    """0, which no property has, for a key that names none: nothing is found, whoever owns it."""
    exactly("key").read(key)
    found = Property.objects.across_accounts().filter(key=key).values_list("pk", flat=True)
    return found.first() or 0


class AuditLog(Paged, DoorView):
    """Who did what in an account."""

    module = "audit"
    verbs: ClassVar = {"GET": "view"}
    place: Account
    orderings = ("-number",)
    filters: ClassVar = {
        "action": one_of("action", ACTIONS),
        "actor_name": exactly("actor_name"),
        "property": Filter("property_id", _property_id, {"type": "string"}),
        "from": moment("at__gte"),
        "to": moment("at__lt"),
    }

    @extend_schema(
        tags=TAGS, operation_id="audit", responses=results("AuditList", AuditEntrySerializer)
    )
    def get(self, request: Request, account: str) -> Response:
        context: dict[str, Any] = {
            "keys": dict(Property.objects.of(self.place).values_list("pk", "key"))
        }
        found = AuditEntry.objects.filter(account_id=self.place.pk)
        return self.page(found, AuditEntrySerializer, context)
