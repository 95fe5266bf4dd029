"""Plans are kept: how far every account is, what its properties may still take, mails to owners.

A tick (tracking/tasks.py) copies the ledger of the limited accounts, adds up their month and tells
Valkey, for each of their properties, up to which number of accepted events the current hour may
go: what was accepted in it so far and all that is left of the account. The Lua call compares with
its own counters, so it never lets in more than the account has left, however many senders there are
and however late the next tick is; it needs no further round trip and no SQL. Only several
properties of one account can together go beyond it, by what all but one of them take between two
ticks. A property that is new, or whose Valkey has lost its memory, takes all until the next tick:
an unanswered question refuses nobody's events.

The number ends with the UTC month, so a new month opens by itself.
"""

from collections import defaultdict
from datetime import UTC, date, datetime, timedelta

import structlog
from django.conf import settings
from django.core.mail import EmailMessage
from django.db.models import Q
from django.template.loader import render_to_string

from accounts.models import Account, User
from accounts.plans import (
    CLOSED,
    FULL,
    WARN,
    Limits,
    default_plan,
    limits_in,
    month_of,
    next_month,
)
from properties.models import Property
from tracking import keys, ledger, usage
from tracking.drain import AT_ONCE, chunks
from tracking.models import UsageNotice
from tracking.store import events_client
from tracking.working import WORKER, transaction_of_worker

AGAIN_AFTER = timedelta(minutes=5)  # a mail server that refused is asked again

log = structlog.get_logger()


def keep(now: datetime) -> None:
    """Bring levels, notices and what Valkey may let in up to date."""
    default = default_plan(using=WORKER)
    accounts = {
        account.pk: (account, limits_in(account.plan or default))
        for account in Account.objects.using(WORKER).select_related("plan")
    }
    places: dict[int, list[int]] = defaultdict(list)
    for account_id, property_id in (
        Property.objects.across_accounts().using(WORKER).values_list("account_id", "pk")
    ):
        places[account_id].append(property_id)
    limited = [pk for pk, (_, limits) in accounts.items() if limits.events is not None]
    for chunk in chunks(limited, AT_ONCE):
        _keep_limited([accounts[pk] for pk in chunk], places, now)
    free = [pk for pk, (_, limits) in accounts.items() if limits.events is None]
    _open([(pk, place) for pk in free for place in places[pk]])
    Account.objects.using(WORKER).filter(pk__in=free).exclude(quota_level=0).update(quota_level=0)


def _keep_limited(
    accounts: list[tuple[Account, Limits]], places: dict[int, list[int]], now: datetime
) -> None:
    month = month_of(now)
    hour = int(now.timestamp()) // ledger.HOUR
    pairs = [(account.pk, place) for account, _ in accounts for place in places[account.pk]]
    lines = ledger.read(pairs, ledger.hours_until(now, ledger.RECENT))
    with transaction_of_worker() as cursor:
        ledger.write(cursor, lines)
        ids = [account.pk for account, _ in accounts]
        moment = datetime.fromtimestamp(hour * ledger.HOUR, UTC)
        rows = usage.used_across_accounts(cursor, ids, month, moment)
        used: dict[int, int] = defaultdict(int)
        this_hour: dict[int, int] = {}
        for account_id, property_id, accepted, in_hour in rows:
            used[account_id] += accepted
            this_hour[property_id] = in_hour
        for account, limits in accounts:
            _note(account, limits, used[account.pk], month, now)
    ends = int(usage.start_of(next_month(month)).timestamp() * 1000)
    pipe = events_client().pipeline(transaction=False)
    for account, limits in accounts:
        left = max(0, (limits.most or 0) - used[account.pk])
        for place in places[account.pk]:
            most = this_hour.get(place, 0) + left
            meta = keys.meta(keys.prefix(account.pk, place))
            pipe.hset(meta, "q", f"{hour} {most} {ends}")
    pipe.execute()


def _open(pairs: list[tuple[int, int]]) -> None:
    """No plan limits these properties."""
    for chunk in chunks(pairs, AT_ONCE):
        pipe = events_client().pipeline(transaction=False)
        for account_id, property_id in chunk:
            pipe.hdel(keys.meta(keys.prefix(account_id, property_id)), "q")
        pipe.execute()


def _note(account: Account, limits: Limits, used: int, month: date, now: datetime) -> None:
    """Write down how far the account is, and which mails are due; none is sent here."""
    level = limits.level(used)
    if (account.quota_level, account.quota_month) != (level, month):
        Account.objects.using(WORKER).filter(pk=account.pk).update(
            quota_level=level, quota_month=month
        )
    UsageNotice.objects.using(WORKER).bulk_create(
        [
            UsageNotice(account_id=account.pk, month=month, percent=percent, used=used, made=now)
            for percent in (WARN, FULL)
            if level >= percent
        ],
        ignore_conflicts=True,
    )


# -- mails -------------------------------------------------------------------------------------


def send_notices(now: datetime) -> int:
    """Send the mails that are due; how many were. Each is sent inside the transaction that says
    so: two workers never send the same, and one that dies sends it again with the next tick."""
    due = Q(tried=None) | Q(tried__lt=now - AGAIN_AFTER)
    wanted = UsageNotice.objects.using(WORKER).filter(due, sent=None, month=month_of(now))
    return sum(_send(pk, now) for pk in wanted.order_by("percent").values_list("pk", flat=True))


def _send(pk: int, now: datetime) -> bool:
    notices = UsageNotice.objects.using(WORKER)
    with transaction_of_worker():
        notice = notices.select_for_update(skip_locked=True).filter(pk=pk, sent=None).first()
        if notice is None:
            return False
        accounts = Account.objects.using(WORKER).select_related("plan")
        account = accounts.filter(pk=notice.account_id).first()
        if account is None:  # deleted meanwhile
            notice.delete(using=WORKER)
            return False
        notice.tried = now
        try:
            _mail(notice, account)
            notice.sent = now
        except OSError as error:  # of the mail server; smtplib's errors are such, too
            log.warning("usage mail not sent", account=account.slug, error=str(error))
        notice.save(using=WORKER)
    return notice.sent is not None


def _mail(notice: UsageNotice, account: Account) -> None:
    owners = User.objects.using(WORKER).filter(
        memberships__account=account, memberships__role="owner", is_active=True
    )
    addresses = list(owners.order_by("email").values_list("email", flat=True))
    if not addresses:
        return
    limits = limits_in(account.plan or default_plan(using=WORKER))
    level = limits.level(notice.used)  # who goes from little to all at once gets both mails
    context = {
        "account": account,
        "limits": limits,
        "notice": notice,
        "is_full": level >= FULL,
        "is_closed": level == CLOSED,
        "opens": next_month(notice.month),
        "url": settings.PUBLIC_URL,
    }
    name = f"usage-{notice.month:%Y-%m}-{notice.percent}-{account.slug}"
    domain = settings.DEFAULT_FROM_EMAIL.rpartition("@")[2].strip(">")
    EmailMessage(
        subject=render_to_string("tracking/usage_mail_subject.txt", context).strip(),
        body=render_to_string("tracking/usage_mail.txt", context),
        to=addresses,
        # The same for a second try: a mailbox that got both shows one.
        headers={"Message-ID": f"<{name}@{domain}>"},
    ).send()
