"""What an account may use: its plan, and how far it is.

Enters: an account (its plan loaded or not). Leaves: limits in events, properties and members, and
the sentences that pages and mails show. The numbers of use come from tracking/usage.py; the
tracking/quota.py tick writes down how far an account is, so that a page asks for nothing.
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from accounts.models import Account, Plan

WARN, FULL, CLOSED = 80, 100, 200  # levels of an account: per cent of the plan, and refusing


def month_of(moment: datetime) -> date:
    """The first day of the UTC month; usage is counted in UTC months, as the ledger's hours are."""
    return date(moment.year, moment.month, 1)


def next_month(month: date) -> date:
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


@dataclass(frozen=True)
class Limits:
    """Of one account. `events`: of a month in the plan; `most`: at which events are refused.

    None: no limit.
    """

    plan: str = "No limits"
    events: int | None = None
    most: int | None = None
    properties: int | None = None
    members: int | None = None

    def level(self, used: int) -> int:
        """0, WARN, FULL or CLOSED."""
        if self.events is None or self.most is None:
            return 0
        if used >= self.most:
            return CLOSED
        percent = used * 100
        return max((mark for mark in (WARN, FULL) if percent >= mark * self.events), default=0)


def limits_of(account: "Account") -> Limits:
    """By the account's own plan, else by the installation's default one, else without limits."""
    return limits_in(account.plan or default_plan())


def limits_in(plan: "Plan | None") -> Limits:
    if plan is None:
        return Limits()
    events = plan.events_per_month or None
    return Limits(
        plan=plan.name,
        events=events,
        most=events and events + events * plan.overrun_percent // 100,
        properties=plan.max_properties,
        members=plan.max_members,
    )


def default_plan(using: str = "default") -> "Plan | None":
    from accounts.models import Plan

    return Plan.objects.using(using).filter(is_default=True).first()
