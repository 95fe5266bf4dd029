"""What may be measured and by whom: Property, Grant, ApiKey.

These tables are what THE DOOR reads to decide, so they stand outside row-level security; their
managers make every query name its account, or say `across_accounts()`.
"""

import hashlib
import secrets
from datetime import datetime
from typing import Any, ClassVar, Self

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models, transaction

from accounts import modules
from accounts.models import Account, Membership
from properties import periods

KEY_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"  # none of 0 O 1 I: keys are read aloud


def new_property_key() -> str:
    return "AK-" + "".join(secrets.choice(KEY_ALPHABET) for _ in range(8))


def validate_timezone(name: str) -> None:
    try:
        periods.zone(name)
    except ValueError as error:
        raise ValidationError(str(error)) from error


class TenantQuerySet(models.QuerySet[Any]):
    """Asking starts with `.of(account)`; a cross-tenant question says so in its name."""

    def of(self, account: Account) -> Self:
        return self.filter(account=account)

    def across_accounts(self) -> Self:
        return self.all()


class Property(models.Model):
    """A website, app or anything else whose events are counted."""

    class Privacy(models.TextChoices):
        COOKIES = "cookies", "Visitors are known by a first-party cookie"
        COOKIELESS = "cookieless", "No cookie: a visitor is new every day"

    account = models.ForeignKey(Account, models.CASCADE, related_name="properties")
    key = models.CharField(max_length=11, unique=True, default=new_property_key, editable=False)
    name = models.CharField(max_length=120)
    timezone = models.CharField(max_length=60, default="UTC", validators=[validate_timezone])
    currency = models.CharField(max_length=3, default="EUR")
    hostnames = models.JSONField(default=list, help_text="Hosts whose events count; * allows all.")
    excluded_addresses = models.JSONField(default=list, blank=True)
    privacy = models.CharField(max_length=12, choices=Privacy, default=Privacy.COOKIES)
    session_gap_minutes = models.PositiveSmallIntegerField(
        default=30,
        # Above an hour a session could skip a whole hour, and hourly visitors by source would lie.
        validators=[MinValueValidator(5), MaxValueValidator(60)],
    )
    retention_days = models.PositiveIntegerField(
        default=730, validators=[MinValueValidator(30), MaxValueValidator(10_000)]
    )
    visitor_limit = models.PositiveIntegerField(default=50_000_000)
    version = models.PositiveIntegerField(default=1, editable=False)
    created = models.DateTimeField(auto_now_add=True)
    first_event_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = TenantQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "properties"
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Every change raises the version; tracking/signals.py tells the collectors."""
        fields = kwargs.get("update_fields")
        if self.pk and (fields is None or set(fields) - {"first_event_at"}):
            self.version += 1
            if fields is not None:
                kwargs["update_fields"] = {*fields, "version"}
        super().save(*args, **kwargs)


class Grant(models.Model):
    """What a member or a key may do: a verb in a module, in the account or in one property.

    Members and API keys share this table so that THE DOOR asks every actor the same question.
    """

    account = models.ForeignKey(Account, models.CASCADE, related_name="grants")
    membership = models.ForeignKey(
        Membership, models.CASCADE, null=True, blank=True, related_name="grants"
    )
    api_key = models.ForeignKey(
        "ApiKey", models.CASCADE, null=True, blank=True, related_name="grants"
    )
    module = models.CharField(max_length=20, choices=[(m, m) for m in modules.MODULES])
    verb = models.CharField(max_length=10, choices=[(v, v) for v in modules.VERBS])
    property = models.ForeignKey(
        Property,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="grants",
        help_text="Empty: every property of the account.",
    )

    objects = TenantQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(membership__isnull=False, api_key__isnull=True)
                | models.Q(membership__isnull=True, api_key__isnull=False),
                name="grant_has_one_holder",
            ),
            models.UniqueConstraint(
                fields=["membership", "api_key", "module", "verb", "property"],
                name="grant_only_once",
                nulls_distinct=False,
            ),
        ]

    def __str__(self) -> str:
        where = self.property.name if self.property else "every property"
        return f"{self.verb} {self.module} of {where}"

    @classmethod
    def from_role(cls, membership: Membership) -> list["Grant"]:
        """Replace a member's grants by the preset of her role."""
        with transaction.atomic():
            membership.grants.all().delete()  # type: ignore[attr-defined]
            return cls.objects.bulk_create(
                cls(
                    account=membership.account,
                    membership=membership,
                    module=module,
                    verb=verb,
                )
                for module, verb in modules.preset(membership.role)
            )


class ApiKey(models.Model):
    """`ak_...`: 32 random bytes, shown once, kept as SHA-256 (enough for a secret this long)."""

    account = models.ForeignKey(Account, models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=120)
    prefix = models.CharField(max_length=11, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    created = models.DateTimeField(auto_now_add=True)
    expires = models.DateTimeField(null=True, blank=True)
    revoked = models.DateTimeField(null=True, blank=True)
    last_used = models.DateTimeField(null=True, blank=True, editable=False)

    objects = TenantQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}...)"

    @staticmethod
    def digest_of(secret: str) -> str:
        return hashlib.sha256(secret.encode()).hexdigest()

    @classmethod
    def issue(cls, account: Account, name: str, **fields: Any) -> tuple["ApiKey", str]:
        """A new key and its secret, which is not kept."""
        secret = "ak_" + secrets.token_urlsafe(32)
        key = cls.objects.create(
            account=account,
            name=name,
            prefix=secret[:11],
            digest=cls.digest_of(secret),
            **fields,
        )
        return key, secret

    def is_usable(self, now: datetime) -> bool:
        return self.revoked is None and (self.expires is None or self.expires > now)
