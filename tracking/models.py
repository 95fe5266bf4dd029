"""What the pipeline keeps in Postgres. Written by the worker (persons by the web, too), read under
row-level security.

Every tenant table carries account_id and property_id; property_id stands first in its keys, so
that the same schema can be distributed by property. Plain integers instead of foreign keys: the
drain writes thousands of rows a second, and a property is erased by a job, not by a cascade.
"""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models


class TenantRow(models.Model):
    row_level_security = True

    account_id = models.BigIntegerField()
    property_id = models.BigIntegerField()

    class Meta:
        abstract = True


class WhereFrom(models.Model):
    """Where an event came from; a session has what its first event had."""

    hostname = models.TextField()
    referrer = models.TextField()  # host, without www
    source = models.TextField()
    medium = models.TextField()
    campaign = models.TextField()
    term = models.TextField()
    content = models.TextField()
    channel = models.TextField()
    country = models.TextField()
    device = models.TextField()
    browser = models.TextField()
    os = models.TextField()
    language = models.TextField()
    screen = models.TextField()

    class Meta:
        abstract = True


class Visitor(TenantRow):
    """uuid -> virtual visitor id. Humans count up from 1 (given out in Valkey), bots down from
    -1 (given out by the drain), so that crawlers never lengthen a bitmap."""

    pk = models.CompositePrimaryKey("property_id", "visitor")
    visitor = models.UUIDField()
    number = models.IntegerField()
    first_seen = models.DateTimeField()
    last_seen = models.DateTimeField()

    class Meta:
        db_table = "visitors"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["property_id", "number"], name="visitor_number")
        ]


class Person(TenantRow):
    """A user of the property, as its owner's systems and her own events tell of her.

    people.py says how. Written by the worker, which drains events, and by the web's user, which
    takes imports: the one table of the pipeline that both write.
    """

    written_by_web = True

    pk = models.CompositePrimaryKey("property_id", "user")
    user = models.TextField(help_text="the sender's id of her, as events carry it")
    signed_up = models.DateTimeField(null=True)
    traits = models.JSONField(default=dict)
    told = models.JSONField(default=dict, help_text="since when each of them holds, in ms")
    first_seen = models.DateTimeField(null=True, help_text="of her user events, by their time")
    last_seen = models.DateTimeField(null=True)
    updated = models.DateTimeField(help_text="when the row was last written")

    class Meta:
        db_table = "persons"  # the drain has a temporary table called people
        indexes: ClassVar = [
            models.Index(fields=["property_id", "updated", "user"], name="person_by_update")
        ]


class Session(TenantRow, WhereFrom):
    """A visitor's events with no gap longer than the property's; attributes of its first event.

    Derived from raw events by event time, in any order of arrival (tracking/sessions.py).
    """

    pk = models.CompositePrimaryKey("property_id", "visitor", "started_at")
    visitor = models.IntegerField(help_text="virtual visitor id")
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(help_text="time of the last event, inclusive")
    bot = models.BooleanField()
    pageviews = models.IntegerField()
    events = models.IntegerField()
    interactions = models.IntegerField(
        help_text="events but those that trackers send by themselves"
    )
    engaged_ms = models.BigIntegerField()
    entry_page = models.TextField()
    exit_page = models.TextField()

    class Meta:
        db_table = "sessions"
        indexes: ClassVar = [
            models.Index(fields=["property_id", "started_at"], name="session_by_start"),
        ]


class Ledger(TenantRow):
    """Per property and UTC hour of receipt: received = accepted + duplicate + sum(refused);
    accepted = stored + in flight + quarantined + erased + expired.

    `accepted`, `duplicate`, `pings`, `bots` and `refused` are set from Valkey; the rest belongs
    to the drain. Property 0 of account 0 is the instance-wide ledger.
    """

    pk = models.CompositePrimaryKey("property_id", "hour")
    hour = models.DateTimeField()
    accepted = models.BigIntegerField(default=0)
    duplicate = models.BigIntegerField(default=0)
    pings = models.BigIntegerField(default=0)
    bots = models.BigIntegerField(default=0)
    refused = models.JSONField(default=dict)
    stored = models.BigIntegerField(default=0)
    quarantined = models.BigIntegerField(default=0)
    late_duplicate = models.BigIntegerField(
        default=0, help_text="accepted by Valkey, known as a duplicate by Postgres"
    )
    erased = models.BigIntegerField(default=0)
    expired = models.BigIntegerField(default=0)

    class Meta:
        db_table = "ledger"
        indexes: ClassVar = [
            # What an account has used in a month, asked every few seconds.
            models.Index(fields=["account_id", "hour"], name="ledger_of_account"),
            # What all of them did today: the first page of the administration.
            models.Index(fields=["hour"], name="ledger_by_hour"),
        ]


class UsageNotice(models.Model):
    """A mail to an account's owners: so much of the month's plan is used. Once each.

    Written by tracking/quota.py; the row comes before the mail, and `sent` after it.
    """

    row_level_security = True

    account_id = models.BigIntegerField()
    month = models.DateField()
    percent = models.PositiveSmallIntegerField()
    used = models.BigIntegerField()
    made = models.DateTimeField()
    tried = models.DateTimeField(null=True)
    sent = models.DateTimeField(null=True)

    class Meta:
        db_table = "usage_notices"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["account_id", "month", "percent"], name="usage_notice_once"
            )
        ]


class Quarantined(TenantRow):
    """A stream entry that could not be stored, with the reason; whole, so that nothing is lost."""

    entry = models.CharField(max_length=40, help_text="id of the stream entry")
    received_at = models.DateTimeField()
    reason = models.TextField()
    payload = models.BinaryField()

    class Meta:
        db_table = "quarantined"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["property_id", "entry", "received_at"], name="quarantined_once"
            )
        ]


class Conflict(TenantRow):
    """The payload of a duplicate that differed from the event stored under the same id."""

    event_id = models.UUIDField()
    received_at = models.DateTimeField()
    payload = models.BinaryField()

    class Meta:
        db_table = "conflicts"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["property_id", "event_id", "received_at"], name="conflict_once"
            )
        ]


class DirtyHour(TenantRow):
    """An hour (its start instant) whose rollup is out of date, since `marked_at`."""

    class Why(models.TextChoices):
        EVENTS = "e", "new events"
        SESSIONS = "s", "changed sessions"
        RAW = "r", "recompute from raw events"

    pk = models.CompositePrimaryKey("property_id", "hour", "why")
    hour = models.DateTimeField()
    why = models.CharField(max_length=1, choices=Why)
    marked_at = models.DateTimeField()

    class Meta:
        db_table = "dirty_hours"


class Concurrency(TenantRow):
    """How many were online at once in a minute, hour or day: the most, and the sum over the rounds
    of sampling, of which SampledHour knows how many there were. Set by tracking/concurrency.py."""

    class Grain(models.TextChoices):
        MINUTE = "m", "minute"
        HOUR = "h", "hour"
        DAY = "d", "day"

    pk = models.CompositePrimaryKey("property_id", "grain", "starts_at")
    grain = models.CharField(max_length=1, choices=Grain)
    starts_at = models.DateTimeField()
    numbers = models.JSONField(help_text="most open, active, engaged; sums of the three")
    pages = models.JSONField(help_text="page -> the same six, of those with the most visitors")
    sources = models.JSONField(help_text="source -> the same six")

    class Meta:
        db_table = "concurrency"
        indexes: ClassVar = [models.Index(fields=["grain", "starts_at"], name="concurrency_by_age")]


class SampledHour(models.Model):
    """How many rounds of sampling each minute of an hour (UTC) had, over all properties: without
    one nobody knows who was there, and with one a property that has no row had nobody."""

    hour = models.DateTimeField(primary_key=True)
    rounds = ArrayField(models.SmallIntegerField(), size=60)

    class Meta:
        db_table = "sampled_hours"


class Event(TenantRow, WhereFrom):
    """The raw event. Partitioned by month of `time`; created by migration 0002 in SQL."""

    pk = models.CompositePrimaryKey("property_id", "time", "event_id")
    time = models.DateTimeField()
    received_at = models.DateTimeField()
    event_id = models.UUIDField()
    visitor = models.IntegerField(help_text="virtual visitor id; negative: a bot's")
    name = models.TextField()
    bot = models.BooleanField()
    sanitized = models.BooleanField()
    page = models.TextField()
    query = models.TextField()
    title = models.TextField()
    browser_version = models.TextField()
    tab = models.UUIDField(null=True)
    session = models.UUIDField(null=True, help_text="the sender's; stored, not counted")
    user = models.TextField()
    engaged_ms = models.IntegerField(null=True)
    scroll = models.SmallIntegerField(null=True)
    load_ms = models.IntegerField(null=True)
    revenue = models.DecimalField(max_digits=18, decimal_places=6, null=True)
    currency = models.TextField()
    props = models.JSONField(null=True)

    class Meta:
        db_table = "events"
        managed = False


class EventId(TenantRow):
    """Every stored event's id: what makes a retry a duplicate for as long as raw events are kept.

    Apart from `events` because a unique key there would have to contain the partition's time,
    and a retry may carry another. Hash-partitioned; created by migration 0002 in SQL.
    """

    pk = models.CompositePrimaryKey("property_id", "event_id")
    event_id = models.UUIDField()
    received_at = models.DateTimeField(help_text="with the id tells a re-read from a duplicate")
    fingerprint = models.IntegerField(help_text="crc32 of the payload as sent, signed")
    time = models.DateTimeField()

    class Meta:
        db_table = "event_ids"
        managed = False


class Erasure(TenantRow):
    """A visitor or a person to be erased, and afterwards the tombstone that keeps the id away.

    `target` and `traces` (what is still to be cleared in Valkey) are there only until the work is
    done; the digest stays (tracking/tombstones.py). A person's visitors are erasures of their own.
    """

    class Kind(models.TextChoices):
        VISITOR = "visitor", "visitor"
        USER = "user", "person"

    class State(models.TextChoices):
        WAITING = "w", "waiting"
        DONE = "d", "done"

    kind = models.CharField(max_length=7, choices=Kind)
    digest = models.CharField(max_length=32)
    target = models.TextField(blank=True, help_text="the id itself; empty when it is erased")
    traces = models.JSONField(default=dict)
    person = models.BigIntegerField(null=True, help_text="the person's erasure it belongs to")
    state = models.CharField(max_length=1, choices=State, default=State.WAITING)
    counts = models.JSONField(default=dict, help_text="what was erased: name -> rows")
    requested_by = models.TextField(blank=True)
    created = models.DateTimeField()
    done_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "erasures"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["property_id", "kind", "digest"], name="erasure_of_one_id"
            )
        ]
        indexes: ClassVar = [
            models.Index(fields=["created"], name="erasure_waiting", condition=models.Q(state="w"))
        ]


class Removal(TenantRow):
    """A property or (property 0) an account that was deleted, until the worker has taken all that
    the pipeline keeps of it. Written by the web in the transaction that deletes it."""

    written_by_web = True

    key = models.CharField(max_length=11, blank=True)
    timezone = models.CharField(max_length=60, default="UTC")
    version = models.PositiveIntegerField(default=0, help_text="what no collector knows")
    created = models.DateTimeField()

    class Meta:
        db_table = "removals"
