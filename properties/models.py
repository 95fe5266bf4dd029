"""What may be measured and by whom: Property, RetiredKey, Goal, Grant, ApiKey, ShareLink,
Invitation.

These tables are what THE DOOR reads to decide, so they stand outside row-level security; their
managers make every query name its account, or say `across_accounts()`. What a property is told
beside its settings stands here too: its RetiredKeys and its Goals.
"""

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import Any, ClassVar, Self

from django.conf import settings
from django.contrib.auth.hashers import check_password, make_password
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models, transaction

from accounts import modules
from accounts.models import Account, Membership, User
from properties import capture, periods

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

    def made_by(self, user: User) -> Self:
        """Keys and links that she made, or that a key of hers made."""
        return self.filter(made_by=user)

    def across_accounts(self) -> Self:
        return self.all()


class Property(models.Model):
    """A website, app or anything else whose events are counted."""

    class Privacy(models.TextChoices):
        COOKIES = "cookies", "Visitors are known by a first-party cookie"
        COOKIELESS = "cookieless", "No cookie: a visitor is new every day"
        REQUIRED = "required", "Nothing before the visitor agrees"

    class Signals(models.TextChoices):
        """What Do Not Track and Global Privacy Control do."""

        IGNORE = "ignore", "Nothing: count the visitor like any other"
        COOKIELESS = "cookieless", "Count without cookie and without identity"
        DROP = "drop", "Do not count; only the number of refused events is kept"

    account = models.ForeignKey(Account, models.CASCADE, related_name="properties")
    key = models.CharField(max_length=11, unique=True, default=new_property_key, editable=False)
    # The key it was made with: ids made from names go on when the key is replaced.
    first_key = models.CharField(max_length=11, default="", editable=False)
    name = models.CharField(max_length=120)
    timezone = models.CharField(max_length=60, default="UTC", validators=[validate_timezone])
    currency = models.CharField(max_length=3, default="EUR")
    hostnames = models.JSONField(default=list, help_text="Hosts whose events count; * allows all.")
    excluded_addresses = models.JSONField(default=list, blank=True)
    privacy = models.CharField(max_length=12, choices=Privacy, default=Privacy.COOKIES)
    signals = models.CharField(max_length=12, choices=Signals, default=Signals.COOKIELESS)
    search_parameters = models.JSONField(default=capture.search_parameters)
    capture = models.JSONField(default=capture.default, blank=True)
    strict_origin = models.BooleanField(default=False)
    rate_limit = models.PositiveIntegerField(
        default=0, help_text="Events a second; 0: as the installation has it."
    )
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

    # What somebody decides about it; the audit log tells of every change.
    SETTINGS: ClassVar[tuple[str, ...]] = (
        "name",
        "hostnames",
        "timezone",
        "currency",
        "privacy",
        "signals",
        "capture",
        "search_parameters",
        "strict_origin",
        "rate_limit",
        "session_gap_minutes",
        "retention_days",
        "excluded_addresses",
        "visitor_limit",
    )

    # No column: the days that whoever asks may see, set by THE DOOR and kept by every question
    # (reports/queries.py). None: all of them.
    window: "periods.Range | None" = None

    objects = TenantQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "properties"
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def site(self) -> str:
        """The host that all of its pages are on; "" where they may be on several."""
        [host, *others] = self.hostnames or [""]
        return "" if others or host.startswith("*") else host

    @property
    def counted_since(self) -> datetime:
        """The moment of its first event, which may have been brought later; until there is one it
        waits from the day on which it was made, and knows that nothing came."""
        return self.first_event_at or self.created

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Every change raises the version; tracking/signals.py tells the collectors."""
        self.first_key = self.first_key or self.key
        fields = kwargs.get("update_fields")
        if not self.pk or (fields is not None and not set(fields) - {"first_event_at"}):
            super().save(*args, **kwargs)
            return
        if fields is not None:
            kwargs["update_fields"] = {*fields, "version"}
        with transaction.atomic():
            self._catch_up(replaces_key=fields is not None and "key" in fields)
            super().save(*args, **kwargs)

    def _catch_up(self, *, replaces_key: bool) -> None:
        """What somebody else saved since this was read: two changes never share a version, and a
        key that was replaced does not come back."""
        stored = Property.objects.across_accounts().select_for_update().filter(pk=self.pk).first()
        if stored is not None:
            self.version = stored.version + 1
            if not replaces_key:
                self.key = stored.key

    def replace_key(self, days: int, now: datetime) -> "RetiredKey":
        """Give the property a new public key; the old one goes on for so many days.

        Raises ValidationError when somebody else has just done so.
        """
        with transaction.atomic():
            stored = Property.objects.across_accounts().select_for_update().get(pk=self.pk)
            if stored.key != self.key:
                raise ValidationError(
                    f"The key has just been replaced: it is {stored.key} now. Open the page again."
                )
            old, self.key = self.key, new_property_key()
            retired = RetiredKey.objects.create(
                account_id=self.account_id,
                property=self,
                key=old,
                until=now + timedelta(days=days),
            )
            self.save(update_fields=["key"])
        return retired

    def end_key(self, retired: "RetiredKey", now: datetime) -> bool:
        """Let a replaced key end now; saving the property tells the collectors. False when it had
        ended before."""
        if not retired.is_accepted(now):
            return False
        with transaction.atomic():
            retired.until = now
            retired.save(update_fields=["until"])
            self.save(update_fields=["version"])
        return True


class RetiredKey(models.Model):
    """A public key that was replaced: events with it are taken until it ends.

    The row stays afterwards: the list tells what there was, and no property gets the key again.
    """

    account = models.ForeignKey(Account, models.CASCADE, related_name="+")
    property = models.ForeignKey(Property, models.CASCADE, related_name="retired_keys")
    key = models.CharField(max_length=11, unique=True)
    until = models.DateTimeField()
    created = models.DateTimeField(auto_now_add=True)

    objects = TenantQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-created", "-pk"]

    def __str__(self) -> str:
        return self.key

    def is_accepted(self, now: datetime) -> bool:
        return now < self.until


class Goal(models.Model):
    """What a property wants its visitors to do: an event, a page, or an event of some worth.

    goals.py says which events reach it. Reports count conversions by it.
    """

    class Kind(models.TextChoices):
        EVENT = "event", "An event with a name"
        PAGE = "page", "A page is viewed"
        VALUE = "value", "An event brings at least an amount"

    account = models.ForeignKey(Account, models.CASCADE, related_name="+")
    property = models.ForeignKey(Property, models.CASCADE, related_name="goals")
    name = models.CharField(max_length=120)
    kind = models.CharField(max_length=5, choices=Kind, default=Kind.EVENT)
    event = models.CharField(max_length=200, blank=True)
    page = models.CharField(max_length=1000, blank=True)
    minimum = models.DecimalField(max_digits=18, decimal_places=4, null=True, blank=True)
    created = models.DateTimeField(auto_now_add=True)

    SETTINGS: ClassVar[tuple[str, ...]] = ("name", "kind", "event", "page", "minimum")

    objects = TenantQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["property", "name"], name="goal_name_once")
        ]

    def __str__(self) -> str:
        return self.name


def _held_by(holder: str) -> models.Q:
    """Its holder, and no other, is set."""
    names = ("membership", "api_key", "share_link")
    return models.Q(**{f"{name}__isnull": name != holder for name in names})


class Grant(models.Model):
    """What an actor may do: a verb in a module, in the account or in one property.

    Members, API keys and share links have their grants in this table, so that THE DOOR asks every
    actor the same question.
    """

    account = models.ForeignKey(Account, models.CASCADE, related_name="grants")
    membership = models.ForeignKey(
        Membership, models.CASCADE, null=True, blank=True, related_name="grants"
    )
    api_key = models.ForeignKey(
        "ApiKey", models.CASCADE, null=True, blank=True, related_name="grants"
    )
    share_link = models.ForeignKey(
        "ShareLink", models.CASCADE, null=True, blank=True, related_name="grants"
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
                condition=_held_by("membership") | _held_by("api_key") | _held_by("share_link"),
                name="grant_has_one_holder",
            ),
            models.UniqueConstraint(
                fields=["membership", "api_key", "share_link", "module", "verb", "property"],
                name="grant_only_once",
                nulls_distinct=False,
            ),
        ]

    def __str__(self) -> str:
        """In the words of the matrix: "view Live of every property", "manage Members"."""
        may = f"{self.verb} {modules.NAMES[self.module]}"
        if self.module in modules.ASKED_OF_ACCOUNTS:
            return may
        return f"{may} of {self.property.name if self.property else 'every property'}"

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


class Ending(models.Model):
    """What ApiKey and ShareLink share: somebody made it, it may expire, and it can be revoked.

    The row stays when it has ended: the list tells what there was.
    """

    made_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
        help_text="Of what a key made: whoever made that key.",
    )
    created = models.DateTimeField(auto_now_add=True)
    expires = models.DateTimeField(null=True, blank=True)
    revoked = models.DateTimeField(null=True, blank=True)
    last_used = models.DateTimeField(null=True, blank=True, editable=False)

    objects = TenantQuerySet.as_manager()

    class Meta:
        abstract = True

    def is_usable(self, now: datetime) -> bool:
        return self.revoked is None and (self.expires is None or self.expires > now)

    def revoke(self, now: datetime) -> bool:
        """End it, for every process with its next request; False when it was revoked already."""
        mine = type(self).objects.across_accounts().filter(pk=self.pk, revoked=None)
        if not mine.update(revoked=now):
            return False
        self.revoked = now
        return True

    @staticmethod
    def digest_of(secret: str) -> str:
        """What is kept of a secret: SHA-256 is enough for one of 128 random bits and more."""
        return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


class ApiKey(Ending):
    """`ak_...`: 32 random bytes, shown once, kept as SHA-256."""

    account = models.ForeignKey(Account, models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=120)
    prefix = models.CharField(max_length=11, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    last_used_from = models.GenericIPAddressField(null=True, blank=True, editable=False)

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}...)"

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


class ShareLink(Ending):
    """The reports of one property, to look at, for whoever has the address `/share/<token>/`.

    The token is 24 random bytes, shown once, kept as SHA-256. Grants say which modules it shows;
    `days` (so many, today included) or `first` and `last` which days; neither: all of them.
    """

    account = models.ForeignKey(Account, models.CASCADE, related_name="share_links")
    property = models.ForeignKey(Property, models.CASCADE, related_name="share_links")
    name = models.CharField(max_length=120)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    days = models.PositiveIntegerField(null=True, blank=True)
    first = models.DateField(null=True, blank=True)
    last = models.DateField(null=True, blank=True)
    password = models.CharField(max_length=200, blank=True, editable=False)  # hashed
    downloads = models.BooleanField(default=False)
    hosts = models.JSONField(default=list, blank=True)  # pages of these may show it in a frame
    views = models.PositiveBigIntegerField(default=0, editable=False)

    class Meta:
        ordering: ClassVar = ["-created", "-pk"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(first__isnull=True, last__isnull=True)
                | models.Q(
                    first__isnull=False,
                    last__isnull=False,
                    first__lte=models.F("last"),
                    days__isnull=True,
                ),
                name="share_link_shows_one_range",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @classmethod
    def issue(cls, place: Property, name: str, **fields: Any) -> tuple["ShareLink", str]:
        """A new link and its token, which is not kept."""
        token = secrets.token_urlsafe(24)
        link = cls.objects.create(
            account_id=place.account_id,
            property=place,
            name=name,
            digest=cls.digest_of(token),
            **fields,
        )
        return link, token

    @classmethod
    def find(cls, token: str, now: datetime) -> "ShareLink | None":
        """The link of that token, unless it has ended."""
        query = cls.objects.across_accounts().select_related("account", "property__account")
        link = query.filter(digest=cls.digest_of(token)).first()
        return link if link is not None and link.is_usable(now) else None

    def window(self, now: datetime) -> periods.Range | None:
        """The days that it shows, in the property's zone; None: all of them."""
        zone = periods.zone(self.property.timezone)
        if self.days is not None:
            return periods.parse_range(f"{self.days}d", zone, now)
        if self.first is not None:
            return periods.parse_range(f"{self.first}..{self.last}", zone, now)
        return None

    def set_password(self, password: str) -> None:
        """Remember its hash; "" lets everybody in who has the address."""
        self.password = make_password(password) if password else ""

    def check_password(self, password: str) -> bool:
        return check_password(password, self.password)


class Invitation(models.Model):
    """The offer of a membership to whoever reads the mail of an address.

    invitations.py has its rules. The token stands in the mail only; its digest is kept here.
    """

    account = models.ForeignKey(Account, models.CASCADE, related_name="invitations")
    email = models.EmailField()
    role = models.CharField(max_length=20)
    # [[module, verb, primary key of a property or null], ...]. No foreign keys: what pointed to a
    # property that is gone must give nothing, and never the whole account.
    rights = models.JSONField()
    invited_by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    invited_by_key = models.ForeignKey(ApiKey, models.SET_NULL, null=True, related_name="+")
    digest = models.CharField(max_length=64, unique=True, editable=False)
    created = models.DateTimeField(auto_now_add=True)
    sent = models.DateTimeField()  # the last mail
    mails = models.PositiveIntegerField(default=1)
    expires = models.DateTimeField()
    accepted = models.DateTimeField(null=True)
    revoked = models.DateTimeField(null=True)

    objects = TenantQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-created", "-pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["account", "email"],
                condition=models.Q(accepted=None, revoked=None),
                name="one_open_invitation_per_address",
            )
        ]

    def __str__(self) -> str:
        return self.email

    def is_open(self, now: datetime) -> bool:
        return self.accepted is None and self.revoked is None and now < self.expires

    def state(self, now: datetime) -> str:
        """open, accepted, revoked or expired."""
        if self.accepted is not None:
            return "accepted"
        if self.revoked is not None:
            return "revoked"
        return "open" if now < self.expires else "expired"
