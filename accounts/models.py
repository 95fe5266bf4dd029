"""Who: users, accounts (the tenants) and memberships. What a member may do is a Grant. And the
audit log, in which every account reads who did what."""

from datetime import datetime
from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.core.validators import MaxValueValidator, RegexValidator
from django.db import models, transaction

from accounts.modules import ROLES
from accounts.plans import month_of


class UserManager(BaseUserManager["User"]):
    def create_user(self, email: str, password: str | None = None, **extra: Any) -> "User":
        if not email:
            raise ValueError("A user needs an e-mail address.")
        user = self.model(email=self.normalize_email(email).lower(), **extra)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **extra: Any) -> "User":
        """Her address counts as confirmed: who has the command line vouches for it, and the mail
        of an installation may not work before she signs in."""
        from allauth.account.models import EmailAddress  # needs the user model

        with transaction.atomic(using=self._db):
            user = self.create_user(email, password, is_staff=True, is_superuser=True, **extra)
            EmailAddress.objects.using(self._db).create(
                user=user, email=user.email, primary=True, verified=True
            )
        return user


class User(AbstractBaseUser, PermissionsMixin):
    """A person who signs in; may be a member of several accounts."""

    email = models.EmailField(unique=True)
    name = models.CharField(max_length=120, blank=True)
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField(default=False)
    created = models.DateTimeField(auto_now_add=True)

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []
    objects = UserManager()

    def __str__(self) -> str:
        return self.email

    def get_full_name(self) -> str:
        return self.name or self.email

    def get_short_name(self) -> str:
        return self.name or self.email.split("@")[0]


class Plan(models.Model):
    """What accounts may use. Without a plan of its own an account has the default one; without a
    default one nothing is limited."""

    name = models.CharField(max_length=60, unique=True)
    events_per_month = models.PositiveBigIntegerField(
        default=0, help_text="Accepted events in a UTC month, bots included. 0: not limited."
    )
    overrun_percent = models.PositiveSmallIntegerField(
        default=20,
        validators=[MaxValueValidator(1_000)],
        help_text="So much more is still accepted; then events are refused (quota).",
    )
    max_properties = models.PositiveIntegerField(
        null=True, blank=True, help_text="Empty: not limited."
    )
    max_members = models.PositiveIntegerField(
        null=True, blank=True, help_text="Empty: not limited."
    )
    is_default = models.BooleanField(
        default=False, help_text="For every account that has no plan of its own."
    )

    class Meta:
        ordering: ClassVar = ["events_per_month", "name"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["is_default"],
                condition=models.Q(is_default=True),
                name="one_default_plan",
                violation_error_message="Another plan is the default one: change that first.",
            )
        ]

    def __str__(self) -> str:
        return self.name


class AccountQuerySet(models.QuerySet["Account"]):
    def of_user(self, user: User) -> "AccountQuerySet":
        return self.filter(memberships__user=user)


class Account(models.Model):
    """The tenant: has members, properties and usage."""

    slug = models.CharField(
        max_length=40,
        unique=True,
        validators=[
            RegexValidator(
                r"^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$",
                "Use lower-case letters, digits and hyphens; begin and end with a letter or digit.",
            )
        ],
    )
    name = models.CharField(max_length=120)
    plan = models.ForeignKey(
        Plan,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="accounts",
        help_text="Empty: the default plan.",
    )
    allow_support = models.BooleanField(
        default=True, help_text="Whether support may look at the account as one of its members."
    )
    # Written by tracking/quota.py, so that no page has to add up: see accounts/plans.py.
    quota_level = models.PositiveSmallIntegerField(default=0, editable=False)
    quota_month = models.DateField(null=True, editable=False)
    created = models.DateTimeField(auto_now_add=True)

    objects = AccountQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name

    def quota_level_at(self, now: datetime) -> int:
        """0, WARN, FULL or CLOSED of accounts/plans.py; 0 when the month has ended."""
        return self.quota_level if self.quota_month == month_of(now) else 0


class Membership(models.Model):
    """A user in an account. The role is the preset that her grants started from."""

    account = models.ForeignKey(Account, models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=20, choices=[(role, role.title()) for role in ROLES])
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["account", "user"], name="one_membership_per_account")
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.account}"


class SupportSession(models.Model):
    """Support looked at the product as one of its users: who, as whom, why, and for how long.

    The rules stand in accounts/support.py. Rows are made and ended there and never changed else.
    """

    staff = models.ForeignKey(User, models.CASCADE, related_name="+")
    user = models.ForeignKey(User, models.CASCADE, related_name="+")
    reason = models.CharField(max_length=300)
    may_write = models.BooleanField(default=False)
    account_ids = models.JSONField(default=list, help_text="whose audit logs tell of it")
    started = models.DateTimeField()
    ends = models.DateTimeField()
    ended = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["-started"]
        permissions: ClassVar = [
            ("support_enter", "Can look at the product as one of its users"),
            ("support_write", "Can change things while acting as a user"),
        ]

    def __str__(self) -> str:
        return f"{self.staff} as {self.user}"


class AuditEntry(models.Model):
    """One line of an account's audit log: written by accounts/audit.py, never changed.

    Postgres numbers, dates and seals it (accounts/migrations: the hash covers the entry and the
    hash before it) and refuses UPDATE, DELETE and TRUNCATE. Plain integers instead of foreign
    keys: the log outlives what it tells of.
    """

    row_level_security = True
    append_only = True

    pk = models.CompositePrimaryKey("account_id", "number")
    account_id = models.BigIntegerField()
    number = models.BigIntegerField(default=0)  # 1, 2, 3 ... in each account; given by Postgres
    at = models.DateTimeField(auto_now_add=True)  # Postgres's clock decides
    action = models.TextField()
    actor_kind = models.TextField()  # user, api key, share link, nobody, system
    actor_id = models.BigIntegerField(null=True)
    actor_name = models.TextField()  # as of then
    impersonator_id = models.BigIntegerField(null=True)
    impersonator_name = models.TextField()
    address = models.TextField()
    user_agent = models.TextField()
    request_id = models.TextField()
    property_id = models.BigIntegerField(null=True)
    property_name = models.TextField()
    target = models.TextField()
    old = models.JSONField(null=True)
    new = models.JSONField(null=True)
    hash = models.BinaryField(default=bytes)  # SHA-256, made by Postgres

    class Meta:
        db_table = "audit_entries"
        verbose_name_plural = "audit entries"
        indexes: ClassVar = [models.Index(fields=["account_id", "at"], name="audit_by_time")]

    def __str__(self) -> str:
        return f"{self.number}: {self.action}"
