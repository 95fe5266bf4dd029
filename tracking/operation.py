"""How the installation is, at a glance and in tables, for whoever runs it.

Enters: the time. Leaves: plain rows over all accounts, asked as the worker's database user, each by
a fixed number of queries. Called by tracking/admin.py and by the first page of the administration
(templatetags/operation.py).
"""

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import redis
from allauth.mfa.models import Authenticator
from django.db import DatabaseError, connections
from django.db.models import Q

from accounts.models import Account, AuditEntry, User
from accounts.plans import CLOSED, FULL, Limits, default_plan, limits_in, month_of, next_month
from properties.models import Property
from tracking import lag, ticks, usage
from tracking.models import Quarantined
from tracking.refusals import WHAT_TO_DO, Reason
from tracking.ticks import Tick
from tracking.working import WORKER

BEHIND = 120  # seconds of lag that need a look, as on /readyz
MOST = 500  # rows of a table
PAGE = 100  # entries of the audit log


@dataclass
class Health:
    """None: that part cannot be asked at the moment."""

    lag: dict[str, float | int] | None = None
    ticks: list[Tick] | None = None
    refused: Counter[str] | None = None  # today (UTC), by reason
    accepted: int | None = None  # today (UTC)
    refusing: list[Account] = field(default_factory=list)  # plan and overrun used up
    over: list[Account] = field(default_factory=list)  # plan used up
    quarantined: int | None = None  # entries of the last day
    without_factor: list[User] = field(default_factory=list)  # staff with a password only

    @property
    def is_behind(self) -> bool:
        return (
            self.lag is None or max(self.lag["drain_seconds"], self.lag["rollup_seconds"]) > BEHIND
        )

    @property
    def unwell(self) -> list[Tick]:
        return [tick for tick in self.ticks or [] if not tick.is_well]

    @property
    def reasons(self) -> list[tuple[str, int]]:
        return self.refused.most_common() if self.refused else []

    @property
    def refusals(self) -> int:
        return self.refused.total() if self.refused else 0


def health(now: datetime) -> Health:
    """All of it; what cannot be asked stays None, for this page is opened when things break."""
    found = Health()
    with suppress(redis.exceptions.RedisError, DatabaseError):
        found.lag = dict(lag.measure())
    with suppress(redis.exceptions.RedisError):
        found.ticks = ticks.known(now)
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    found.accepted, found.refused = _since(today)
    month = month_of(now.astimezone(UTC))
    full = Account.objects.filter(quota_month=month, quota_level__gte=FULL).order_by("slug")
    for account in full:
        (found.refusing if account.quota_level == CLOSED else found.over).append(account)
    recent = Quarantined.objects.using(WORKER).filter(received_at__gte=now - timedelta(days=1))
    found.quarantined = recent.count()
    strong = Authenticator.objects.exclude(type=Authenticator.Type.RECOVERY_CODES)
    staff = User.objects.filter(is_staff=True, is_active=True)
    found.without_factor = list(staff.exclude(pk__in=strong.values("user")).order_by("email"))
    return found


ACCEPTED = "SELECT coalesce(sum(accepted), 0)::bigint FROM ledger WHERE hour >= %(since)s"
REFUSED = """
SELECT key, sum(value::bigint)::bigint FROM ledger, jsonb_each_text(refused)
WHERE hour >= %(since)s GROUP BY key
"""


def _since(moment: datetime) -> tuple[int, Counter[str]]:
    with connections[WORKER].cursor() as cursor:
        cursor.execute(ACCEPTED, {"since": moment})
        (accepted,) = cursor.fetchone()
        cursor.execute(REFUSED, {"since": moment})
        return accepted, Counter(dict(cursor.fetchall()))


# -- refusals ----------------------------------------------------------------------------------

BY_REASON = """
SELECT key, property_id,
    coalesce(sum(value::bigint) FILTER (WHERE hour >= %(day)s), 0)::bigint,
    coalesce(sum(value::bigint) FILTER (WHERE hour >= %(week)s), 0)::bigint,
    sum(value::bigint)::bigint
FROM ledger, jsonb_each_text(refused) WHERE hour >= %(month)s GROUP BY 1, 2
"""


def refusals_across_accounts(now: datetime) -> list[dict[str, Any]]:
    """One dict a reason: `numbers` of a day, a week and 30 days, `most` properties that have it."""
    since = {"day": now - timedelta(days=1), "week": now - timedelta(days=7)}
    with connections[WORKER].cursor() as cursor:
        cursor.execute(BY_REASON, since | {"month": now - timedelta(days=30)})
        found = cursor.fetchall()
    names = dict(Property.objects.across_accounts().values_list("pk", "name"))
    rows: dict[str, dict[str, Any]] = {}
    for reason, property_id, *numbers in found:
        advice = WHAT_TO_DO.get(Reason(reason), "") if reason in list(Reason) else ""
        row = rows.setdefault(
            reason, {"reason": reason, "advice": advice, "numbers": [0, 0, 0], "places": Counter()}
        )
        row["numbers"] = [a + b for a, b in zip(row["numbers"], numbers, strict=True)]
        known = names.get(property_id, "an erased one") if property_id else "no known property"
        row["places"][known] += numbers[-1]
    for row in rows.values():
        row["most"] = row.pop("places").most_common(3)
    return sorted(rows.values(), key=lambda row: -row["numbers"][-1])


# -- usage -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Used:
    """An account in this month."""

    account: Account
    limits: Limits
    events: int
    properties: int

    @property
    def percent(self) -> int | None:
        return self.events * 100 // self.limits.events if self.limits.events else None

    @property
    def level(self) -> int:
        return self.limits.level(self.events)


def usage_across_accounts(now: datetime, wanted: str = "") -> list[Used]:
    """Fullest plans first, then most events."""
    accounts = Account.objects.select_related("plan").order_by("slug")
    if wanted:
        accounts = accounts.filter(Q(slug__icontains=wanted) | Q(name__icontains=wanted))
    default = default_plan()
    events: Counter[int] = Counter()
    places: Counter[int] = Counter()
    with connections[WORKER].cursor() as cursor:
        cursor.execute(IN_MONTH, _bounds(now))
        for account_id, number, properties in cursor.fetchall():
            events[account_id], places[account_id] = number, properties
    rows = [
        Used(one, limits_in(one.plan or default), events[one.pk], places[one.pk])
        for one in accounts
    ]
    return sorted(rows, key=lambda row: (-(row.percent or 0), -row.events))[:MOST]


IN_MONTH = """
SELECT account_id, sum(accepted - late_duplicate)::bigint, count(DISTINCT property_id)
FROM ledger WHERE hour >= %(begin)s AND hour < %(end)s GROUP BY account_id
"""


def _bounds(now: datetime) -> dict[str, datetime]:
    month = month_of(now.astimezone(UTC))
    return {"begin": usage.start_of(month), "end": usage.start_of(next_month(month))}


# -- audit -------------------------------------------------------------------------------------


def audit_across_accounts(asked: dict[str, str], before: str) -> dict[str, Any]:
    """The newest `entries` that fit, each with its account, and `next`: what to ask for older."""
    entries = AuditEntry.objects.using(WORKER).order_by("-at", "-account_id", "-number")
    if asked["account"]:
        slugs = Account.objects.filter(slug=asked["account"])
        entries = entries.filter(account_id__in=list(slugs.values_list("pk", flat=True)))
    if asked["actor"]:
        who = asked["actor"]
        entries = entries.filter(Q(actor_name__icontains=who) | Q(impersonator_name__icontains=who))
    if asked["action"]:
        entries = entries.filter(action__startswith=asked["action"])
    try:
        moment = datetime.fromisoformat(before) if before else None
    except ValueError:
        moment = None
    if moment is not None:
        entries = entries.filter(at__lt=moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    found = list(entries[: PAGE + 1])
    accounts = Account.objects.in_bulk({entry.account_id for entry in found})
    for entry in found:
        entry.account = accounts.get(entry.account_id)  # type: ignore[attr-defined]
    more = found[PAGE - 1].at.isoformat() if len(found) > PAGE else ""
    return {"entries": found[:PAGE], "next": more}
