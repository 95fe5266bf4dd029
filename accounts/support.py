"""Support looks at the product as one of its users: to see what she sees, and for half an hour.

Enters: somebody of the staff who has the right, a user, and a reason. Leaves: a SupportSession that
the browser's session names; for as long as it lasts `request.user` is that user on every page but
the administration, `request.impersonator` is who really asks, and `request.support` the session.
What may be seen and done then, THE DOOR decides (properties/access.py): nothing is changed unless
the session may write, keys and the user's own sign-in are closed, and an account that forbids
support does not exist. Both names stand in the audit log of the accounts that were open.

Started and ended in accounts/admin.py; SupportMiddleware applies it to every request.
"""

from datetime import datetime, timedelta

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import models, transaction
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.deprecation import MiddlewareMixin

from accounts import audit
from accounts.models import Account, SupportSession, User
from accounts.sessions import SEEN

LASTS = timedelta(minutes=30)
ENTER, WRITE = "accounts.support_enter", "accounts.support_write"
_NAMED = "support"  # in the browser's session: the key of its SupportSession
_STAFF = "/admin/"  # where staff stay who they are
_OWN_SIGN_IN = "/user/"  # passwords, addresses, second factors: never anybody else's


class NotAllowed(Exception):
    """The user may not be looked at like this: why, and what to do."""


def check(staff: User, user: User) -> None:
    """Raise NotAllowed unless this one may look at the product as that one."""
    if not (staff.is_active and staff.is_staff and staff.has_perm(ENTER)):
        raise NotAllowed("You need the right to act as users. A superuser can grant it.")
    if user.is_staff or user.is_superuser:
        raise NotAllowed("Nobody acts as staff. Ask your colleague.")
    if not user.is_active:
        raise NotAllowed("This user is switched off and sees nothing.")
    if not open_accounts(user).exists():
        raise NotAllowed(
            "No account of this user lets support in. An owner can allow it in the account's "
            "settings."
        )


def open_accounts(user: User) -> models.QuerySet[Account]:
    """The accounts of the user that let support in."""
    return Account.objects.filter(memberships__user=user, allow_support=True).order_by("pk")


def enter(request: HttpRequest, user: User, reason: str, may_write: bool) -> SupportSession:
    """Begin; the browser gets a new session id. Raises NotAllowed."""
    staff = request.user
    assert isinstance(staff, User)
    check(staff, user)
    leave(request)
    now = timezone.now()
    with transaction.atomic():
        begun = SupportSession.objects.create(
            staff=staff,
            user=user,
            reason=reason,
            may_write=may_write and staff.has_perm(WRITE),
            account_ids=list(open_accounts(user).values_list("pk", flat=True)),
            started=now,
            ends=now + LASTS,
        )
        _note(begun, "support.entered", request, {"may_write": begun.may_write})
    _renew(request)
    request.session[_NAMED] = begun.pk
    return begun


def leave(request: HttpRequest) -> None:
    """End what the browser's session names, if anything; it gets a new session id."""
    pk = request.session.pop(_NAMED, None)
    if pk is None:
        return
    _renew(request)
    found = SupportSession.objects.select_related("staff", "user").filter(pk=pk).first()
    if found is not None:
        end(found, timezone.now(), request)


def _renew(request: HttpRequest) -> None:
    """A new session id, which stands in the list of the staff's own sessions with the next page."""
    request.session.cycle_key()
    request.session[SEEN] = 0


def end(begun: SupportSession, now: datetime, request: HttpRequest | None = None) -> None:
    """Once: whoever comes second changes and notes nothing."""
    moment = min(now, begun.ends)
    with transaction.atomic():
        if SupportSession.objects.filter(pk=begun.pk, ended=None).update(ended=moment):
            minutes = round((moment - begun.started).total_seconds() / 60)
            _note(begun, "support.left", request, {"minutes": minutes})


def end_overdue(now: datetime) -> int:
    """Sessions whose browser never came back: the customer's log says when they were over."""
    overdue = SupportSession.objects.filter(ended=None, ends__lte=now)
    found = list(overdue.select_related("staff", "user"))
    for begun in found:
        end(begun, now)
    return len(found)


def _note(
    begun: SupportSession, action: str, request: HttpRequest | None, more: dict[str, object]
) -> None:
    """Also in an account that has closed meanwhile: its log says when that was over, too."""
    for account in Account.objects.filter(pk__in=begun.account_ids).order_by("pk"):
        audit.record(
            account,
            action,
            actor=begun.staff,
            request=request,
            target=begun.user.email,
            new={"reason": begun.reason, **more},
        )


class SupportMiddleware(MiddlewareMixin):
    """Sets `request.impersonator` and `request.support` (None for nobody), and who the user is."""

    def process_request(self, request: HttpRequest) -> HttpResponseBase | None:
        request.impersonator = request.support = None  # type: ignore[attr-defined]
        # Who has no session is not asked for one: answers to strangers can be cached.
        if settings.SESSION_COOKIE_NAME not in request.COOKIES or _NAMED not in request.session:
            return None
        begun = current(request)
        if begun is None:
            return _over(request)
        request.support = begun  # type: ignore[attr-defined]
        if request.path.startswith(_STAFF):
            return None
        if request.path.startswith(_OWN_SIGN_IN):
            raise PermissionDenied(
                "Passwords, addresses and second factors are the user's own. Stop acting as "
                f"{begun.user} first."
            )
        request.impersonator = begun.staff  # type: ignore[attr-defined]
        request.user = begun.user
        return None


def current(request: HttpRequest) -> SupportSession | None:
    """What the browser's session names, if it still holds; its staff is who is signed in."""
    found = going_on(request.session[_NAMED])
    return found if found is not None and found.staff == request.user else None


def going_on(pk: int) -> SupportSession | None:
    """The session of that number if it still holds: also by the rights of whoever began it."""
    found = (
        SupportSession.objects.select_related("staff", "user")
        .filter(pk=pk, ended=None, ends__gt=timezone.now())
        .first()
    )
    if found is None:
        return None
    try:
        check(found.staff, found.user)
    except NotAllowed:
        return None
    return found


def _over(request: HttpRequest) -> HttpResponseBase:
    """Whatever was asked for is not done: it would be done by somebody else than it seems."""
    leave(request)
    text = "You no longer act as a user: the half hour is over, or it was ended. Nothing was done."
    if request.method not in ("GET", "HEAD", "OPTIONS"):
        raise PermissionDenied(text)
    messages.info(request, text)
    return redirect("admin:index")
