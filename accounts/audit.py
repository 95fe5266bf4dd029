"""The audit log: who did what in an account, when, from where, and what it was before.

Enters: an act of the closed list ACTIONS, told by whoever carries it out, in the transaction that
does it: no change without its entry, no entry without its change. Leaves: a row of AuditEntry,
which Postgres numbers, dates and seals. Never a secret: no password, no key beyond its prefix, no
token. The page and its CSV read it (properties/audit_pages.py), `manage.py verify_audit` proves it.
"""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

from django.core.cache import cache
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django_redis.exceptions import ConnectionInterrupted
from redis.exceptions import RedisError

from accounts.addresses import address_of
from accounts.models import Account, AuditEntry, User
from accounts.tenancy import tenant

# `thing.verb` -> what happened. docs/audit.md lists the same (a test compares).
ACTIONS: dict[str, str] = {
    # Signing in: noted in every account of the user.
    "session.opened": "Signed in",
    "session.refused": "A wrong password or code for a member",
    "session.closed": "Signed out",
    # Doors
    "access.denied": "Was refused: the right is missing",
    "report.exported": "Downloaded a table of a report",
    "audit.exported": "Downloaded the audit log",
    # The account and its properties
    "account.created": "Opened the account",
    "account.changed": "Changed the settings of the account",
    "property.created": "Created a property",
    "property.changed": "Changed the settings of a property",
    "property_key.replaced": "Replaced the public key of a property",
    "property_key.ended": "Ended a replaced public key",
    "people.imported": "Imported users of a property",
    "person.changed": "Changed what is known of a user of a property",
    "goal.created": "Created a goal",
    "goal.changed": "Changed a goal",
    "goal.deleted": "Deleted a goal",
    "annotation.created": "Wrote a note on the charts of a property",
    "annotation.changed": "Changed a note on the charts of a property",
    "annotation.deleted": "Deleted a note on the charts of a property",
    "segment.created": "Kept a filter as a segment",
    "segment.changed": "Changed a segment",
    "segment.deleted": "Deleted a segment",
    # Members
    "member.changed": "Changed the rights of a member",
    "member.removed": "Removed a member",
    "member.left": "Left the account",
    "owner.made": "Made a member an owner",
    "owner.ended": "Let an owner be an admin",
    "invitation.sent": "Invited somebody",
    "invitation.resent": "Sent an invitation again",
    "invitation.revoked": "Took an invitation back",
    "invitation.accepted": "Accepted an invitation and joined",
    # Visitors: named by a digest, so that an erased one stands nowhere
    "visitor.exported": "Downloaded all that is kept of a visitor or a person",
    "erasure.requested": "Asked for a visitor or a person to be erased",
    "visitor.erased": "Erased a visitor or a person",
    "property.deleted": "Deleted a property and all that was kept of it",
    "account.deleted": "Deleted the account",
    "login.deleted": "Deleted her own login",
    # API keys
    "api_key.created": "Created an API key",
    "api_key.revoked": "Revoked an API key",
    "api_key.used": "Used an API key for the first time that day, or from another address",
    # Whoever runs the installation
    "admin.added": "The administration added something",
    "admin.changed": "The administration changed something",
    "admin.deleted": "The administration deleted something",
    # Support
    "support.entered": "Support began to look as a member",
    "support.left": "Support stopped looking as a member",
    "api_key.changed": "Changed an API key",
    # Share links
    "share_link.created": "Made a share link",
    "share_link.revoked": "Revoked a share link",
    "share_link.opened": "Looked at a shared report for the first time that day, by address",
    "share_link.refused": "A wrong password for a share link",
    # A user's own account
    "password.changed": "Changed the password",
    "password.reset": "Set a new password by e-mail",
    "email.changed": "Changed the e-mail address",
    "email.added": "Added an e-mail address",
    "email.removed": "Removed an e-mail address",
    "email.confirmed": "Confirmed an e-mail address",
    "mfa.added": "Added a second factor",
    "mfa.removed": "Removed a second factor",
    "mfa.reset": "Made new recovery codes",
}

LONGEST_NAME = 320
LONGEST_AGENT = 400
LONGEST_TARGET = 500
LONGEST_VALUE = 2_000  # characters of one value of `old` or `new`
MOST_VALUES = 200  # in a list or object of them
REMEMBERED = 7 * 24 * 3600  # seconds: how often something was passed over


class UnknownAction(LookupError):
    """An act that does not stand in ACTIONS."""


def record(
    account: Account | int,
    action: str,
    *,
    actor: Any = None,
    request: Any = None,
    property: Any = None,
    target: str = "",
    old: Any = None,
    new: Any = None,
) -> None:
    """Add one entry to the account's log, in the running transaction.

    `actor` is a User, ApiKey, ShareLink or an Actor of THE DOOR. Without one it is the request's;
    without a request the system itself. `target` names what was acted on, for a reader; `old` and
    `new` are what JSON can hold (`changes()` makes both). Call it last: the log of an account is
    locked from here to the transaction's end.
    """
    if action not in ACTIONS:
        raise UnknownAction(f"There is no action {action!r}. Add it to ACTIONS and docs/audit.md.")
    holder = getattr(actor, "holder", actor) or _holder_behind(request)
    impersonator = getattr(request, "impersonator", None)
    account_id = account if isinstance(account, int) else account.pk
    with tenant(account_id):
        AuditEntry.objects.create(
            account_id=account_id,
            action=action,
            actor_kind=_kind(holder, request),
            actor_id=getattr(holder, "pk", None),
            actor_name=_text(holder or "", LONGEST_NAME),
            impersonator_id=getattr(impersonator, "pk", None),
            impersonator_name=_text(impersonator or "", LONGEST_NAME),
            address=address_of(request) if request is not None else "",
            user_agent=_text(_header(request, "HTTP_USER_AGENT"), LONGEST_AGENT),
            request_id=_text(getattr(request, "request_id", ""), 64),
            property_id=getattr(property, "pk", None),
            property_name=_text(property or "", LONGEST_NAME),
            target=_text(target, LONGEST_TARGET),
            old=_storable(old),
            new=_storable(new),
        )


def record_for(user: User, action: str, *, request: Any = None, **more: Any) -> None:
    """The same in every account of a user: what concerns her sign-in concerns them all."""
    # In one order, or two entries at once could wait for each other's account.
    for account_id in user.memberships.order_by("account_id").values_list("account_id", flat=True):
        record(account_id, action, request=request, **more)


def record_changes(
    account: Account | int,
    action: str,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    **more: Any,
) -> None:
    """One entry with the fields that differ; none when nothing does."""
    old, new = changes(before, after)
    if new:
        record(account, action, old=old, new=new, **more)


def snapshot(thing: models.Model, fields: Iterable[str]) -> dict[str, Any]:
    """The values of these fields as they are now, to be compared by `changes` afterwards."""
    return {name: getattr(thing, name) for name in fields}


def changes(
    before: Mapping[str, Any], after: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """(old, new) of the fields that differ; two empty ones when nothing changed."""
    names = [name for name in after if before.get(name) != after[name]]
    return {name: before.get(name) for name in names}, {name: after[name] for name in names}


def first_in(seconds: int, *what: object) -> int | None:
    """How often this was passed over since it was last noted; None: it was noted in these seconds.

    For what a program can do a thousand times a minute. While the cache is away nothing is passed
    over.
    """
    key = _cache_key(what)
    try:
        if cache.add(key, 1, seconds):
            repeated = cache.get(f"{key}:more", 0)
            cache.delete(f"{key}:more")
            return int(repeated)
        cache.add(f"{key}:more", 0, REMEMBERED)
        cache.incr(f"{key}:more")
    except (ConnectionInterrupted, RedisError, ValueError):  # ValueError: it just ended
        return 0
    return None


def fewer_than(limit: int, seconds: int, *what: object) -> bool:
    """Count one more; whether there were fewer in the seconds since the first."""
    key = _cache_key(("many", *what))
    try:
        cache.add(key, 0, seconds)
        return cache.incr(key) <= limit
    except (ConnectionInterrupted, RedisError, ValueError):
        return True


def _cache_key(what: tuple[object, ...]) -> str:
    return "audit:" + sha256(repr(what).encode("utf-8", "replace")).hexdigest()


def _holder_behind(request: Any) -> Any:
    """The user, key or link that the request comes from; None for nobody."""
    known = getattr(request, "_aktivat_actor", None)
    if known is not None:
        return known.holder
    for holder in (getattr(request, "auth", None), getattr(request, "user", None)):
        if isinstance(holder, models.Model):
            return holder
    return None


def _kind(holder: Any, request: Any) -> str:
    if holder is not None:
        return str(holder._meta.verbose_name)  # user, api key, share link
    return "nobody" if request is not None else "system"


def _header(request: Any, name: str) -> str:
    return request.META.get(name, "") if request is not None else ""


def _text(value: Any, limit: int) -> str:
    """What Postgres can store of it: no NUL, no lone surrogate, not endless."""
    text = str(value)[:limit].replace("\x00", "\ufffd")
    return text.encode("utf-8", "replace").decode()


def _storable(value: Any) -> Any:
    """The same as plain JSON, every text of it short enough."""
    if isinstance(value, Mapping):
        pairs = list(value.items())[:MOST_VALUES]
        return {_text(name, LONGEST_NAME): _storable(inner) for name, inner in pairs}
    if isinstance(value, list | tuple | set | frozenset):
        return [_storable(inner) for inner in list(value)[:MOST_VALUES]]
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else str(value)
    if isinstance(value, models.Model | str):
        return _text(value, LONGEST_VALUE)
    return _text(DjangoJSONEncoder().default(value), LONGEST_VALUE)
