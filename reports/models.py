"""Rollups: what closed and open hours and days came to. Set, never added to; rebuilt from raw.
And what people keep of reports: Segments, and Annotations on the charts."""

from typing import ClassVar

from django.db import models

from tracking.models import TenantRow


class Grain(models.TextChoices):
    HOUR = "h", "hour"
    DAY = "d", "day"


class Rollup(TenantRow):
    """One number: measure x dimension value x period. Zeros are not stored.

    `dimension` "" holds the total. `starts_at` is the instant at which the local hour or day
    begins; `measure` is a name from reports/metrics.py MEASURES.
    """

    pk = models.CompositePrimaryKey(
        "property_id", "grain", "dimension", "starts_at", "measure", "value"
    )
    grain = models.CharField(max_length=1, choices=Grain)
    starts_at = models.DateTimeField()
    dimension = models.TextField()
    value = models.TextField()
    measure = models.TextField()
    number = models.BigIntegerField()

    class Meta:
        db_table = "rollups"
        # The best of a day in order: ranking a month of thousands of pages reads hundreds of rows.
        indexes: ClassVar = [
            models.Index(
                "property_id",
                "dimension",
                "measure",
                "starts_at",
                models.F("number").desc(),
                name="rollups_ranked",
                condition=models.Q(grain="d"),
            )
        ]


class Bitmap(TenantRow):
    """Who (virtual visitor ids, a serialised Roaring bitmap) was there in a period."""

    pk = models.CompositePrimaryKey("property_id", "grain", "dimension", "starts_at", "value")
    grain = models.CharField(max_length=1, choices=Grain)
    starts_at = models.DateTimeField()
    dimension = models.TextField()
    value = models.TextField()
    bits = models.BinaryField()

    class Meta:
        db_table = "bitmaps"


class RolledHour(TenantRow):
    """Bookkeeping: an hour whose rollup STARTED and was not DONE crashed, and is simply redone."""

    class State(models.TextChoices):
        STARTED = "s", "started"
        DONE = "d", "done"

    pk = models.CompositePrimaryKey("property_id", "hour")
    hour = models.DateTimeField()
    state = models.CharField(max_length=1, choices=State)
    origin = models.CharField(max_length=6, help_text="valkey or raw")
    started_at = models.DateTimeField()
    done_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "rolled_hours"
        # Both say "not finished": few rows of many, looked for with every tick.
        indexes: ClassVar = [
            models.Index(fields=["hour"], name="rolled_crashed", condition=models.Q(state="s")),
            models.Index(
                fields=["hour"], name="rolled_unranked", condition=models.Q(origin__startswith="~")
            ),
        ]


class RolledZone(TenantRow):
    """The zone in which a property's hours and days were last counted (reports/zones.py)."""

    property_id = models.BigIntegerField(primary_key=True)
    timezone = models.CharField(max_length=60)
    days_listed = models.BooleanField(
        db_default=False, help_text="days that were counted before there were columns wait, too"
    )

    class Meta:
        db_table = "rolled_zones"


class BlockGrain(models.TextChoices):
    """What is packed as one block."""

    HOUR = "h", "hour"
    QUARTER = "q", "quarter of a day: six hours"
    DAY = "d", "day"


class PackedDay(TenantRow):
    """Bookkeeping: a local day, or an hour or a quarter of one that is open, and whether its raw
    events lie in `columns` too.

    The rollup sets it to waiting in the transaction that counts it anew; packing.py sets it to done
    in the transaction that writes the columns. Only what is done is read: days, quarters where no
    day is done, hours where neither is.
    """

    class State(models.TextChoices):
        WAITING = "w", "waiting to be packed"
        DONE = "d", "done"
        SMALL = "r", "left in rows: too few events to be worth it"

    pk = models.CompositePrimaryKey("property_id", "grain", "starts_at")
    grain = models.CharField(max_length=1, choices=BlockGrain, db_default=BlockGrain.DAY)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    state = models.CharField(max_length=1, choices=State)
    changed_at = models.DateTimeField(help_text="when the rollup last counted it")
    props = models.BooleanField(
        db_default=False, help_text="every property of its events that has no column is empty"
    )

    class Meta:
        db_table = "packed_days"
        indexes: ClassVar = [
            models.Index(
                fields=["changed_at"], name="packed_waiting", condition=models.Q(state="w")
            )
        ]


class Column(TenantRow):
    """One column of what is packed (reports/columns.py): what questions with filters read."""

    pk = models.CompositePrimaryKey("property_id", "grain", "starts_at", "name")
    grain = models.CharField(max_length=1, choices=BlockGrain, db_default=BlockGrain.DAY)
    starts_at = models.DateTimeField()
    name = models.TextField()
    bits = models.BinaryField()

    class Meta:
        db_table = "columns"


class Segment(models.Model):
    """A filter of the account with a name: whoever an event of hers passes it within the range is
    in it. segments.py says what may be kept and who may use it.

    The slug stands in addresses and questions, so it stays when the name changes.
    """

    row_level_security = True
    written_by_web = True
    deleted_by_web = True

    account_id = models.BigIntegerField()
    slug = models.CharField(max_length=60)
    name = models.CharField(max_length=120)
    filters = models.JSONField(help_text="as a question takes them")
    # No foreign key: deleting a login must not need to see every account's segments.
    made_by = models.BigIntegerField(null=True, help_text="the user, or who made the key")
    created = models.DateTimeField(auto_now_add=True)
    changed = models.DateTimeField(auto_now=True)

    SETTINGS: ClassVar[tuple[str, ...]] = ("name", "filters")

    class Meta:
        db_table = "segments"
        ordering: ClassVar = ["name", "slug"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["account_id", "slug"], name="segment_slug_once")
        ]

    def __str__(self) -> str:
        return self.name


class Annotation(TenantRow):
    """What happened at a moment, in a few words: a note on the charts, by hand or by a deploy hook.

    Who made it is a number without a foreign key: a user who is deleted leaves the note behind.
    """

    written_by_web = True
    deleted_by_web = True

    class Kind(models.TextChoices):
        NOTE = "note", "note"
        DEPLOY = "deploy", "deploy"

    class Maker(models.TextChoices):
        USER = "user", "user"
        KEY = "api_key", "API key"

    at = models.DateTimeField()
    kind = models.CharField(max_length=6, choices=Kind, default=Kind.NOTE)
    text = models.CharField(max_length=200)
    url = models.CharField(max_length=1000, blank=True)
    made_by = models.BigIntegerField()
    made_by_kind = models.CharField(max_length=7, choices=Maker)
    created = models.DateTimeField(auto_now_add=True)

    # What somebody wrote; the audit log tells of every change.
    SETTINGS: ClassVar[tuple[str, ...]] = ("at", "kind", "text", "url")

    class Meta:
        db_table = "annotations"
        indexes: ClassVar = [models.Index(fields=["property_id", "at"], name="annotation_at")]

    def __str__(self) -> str:
        return self.text
