"""Signing in and out, passwords, addresses and second factors, as the audit log tells of them.

Enters: signals of Django and allauth, connected in apps.py. Leaves: an entry in the log of every
account that the user is a member of. A refused log-in is noted after its answer (afterwards.py),
once per address and ten minutes, with the number of those that followed in the next entry.
"""

from typing import Any

import structlog
from allauth.account import signals as account
from allauth.mfa import signals as mfa
from django.conf import settings
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.core.mail import send_mail
from django.http import HttpRequest
from django.template.loader import render_to_string

from accounts.adapter import login_name
from accounts.addresses import address_of
from accounts.afterwards import afterwards
from accounts.audit import fewer_than, first_in, record_for
from accounts.models import User

log = structlog.get_logger()

REFUSED_EVERY = 600  # seconds, per user and address
MOST_ADDRESSES = 50  # a user's, of which refusals are noted in that time
DAY, WEEK = 24 * 3600, 7 * 24 * 3600
# Nobody is locked out because of many addresses, or anybody could lock out anybody; she is told.
MANY_ADDRESSES = 20  # refused for one user in a day


def connect() -> None:
    """Strong references: the receivers live as long as the process."""
    for signal, receiver in (
        (user_logged_in, signed_in),
        (user_logged_out, signed_out),
        (user_login_failed, refused),
        (mfa.authentication_failed, refused_code),
        (account.password_changed, password_changed),
        (account.password_set, password_changed),
        (account.password_reset, password_reset),
        (account.email_changed, email_changed),
        (account.email_added, email_added),
        (account.email_removed, email_removed),
        (account.email_confirmed, email_confirmed),
        (mfa.authenticator_added, factor_added),
        (mfa.authenticator_removed, factor_removed),
        (mfa.authenticator_reset, factor_reset),
    ):
        signal.connect(receiver, dispatch_uid=f"audit.{receiver.__name__}.{id(signal)}", weak=False)


def signed_in(request: HttpRequest | None, user: User, **kwargs: Any) -> None:
    record_for(user, "session.opened", actor=user, request=request)


def signed_out(request: HttpRequest | None, user: User | None, **kwargs: Any) -> None:
    if user is not None:
        record_for(user, "session.closed", actor=user, request=request)


def refused(credentials: dict[str, Any], request: HttpRequest | None = None, **kwargs: Any) -> None:
    name = login_name(request, credentials) if request is not None else None
    if name is not None:
        afterwards(request, lambda: _note_refusal(name, "password", request))


def refused_code(user: User, request: HttpRequest | None = None, **kwargs: Any) -> None:
    afterwards(request, lambda: _note_refusal(user.email, "second factor", request))


def _note_refusal(name: str, what: str, request: HttpRequest | None) -> None:
    user = User.objects.filter(email__iexact=name).first()
    if user is None:
        return
    address = address_of(request) if request is not None else ""
    repeated = first_in(REFUSED_EVERY, "refused", user.pk, what, address)
    if repeated is not None and first_in(DAY, "guessed from", user.pk, address) is not None:
        _tell_of_many(user)
    # Many addresses at once are one attack: it must not fill the log.
    if repeated is None or not fewer_than(MOST_ADDRESSES, REFUSED_EVERY, "refused", user.pk):
        return
    new: dict[str, Any] = {"wrong": what}
    if repeated:
        new["more_before"] = repeated
    record_for(user, "session.refused", request=request, target=user.email, new=new)


def _tell_of_many(user: User) -> None:
    """One address more in this day; of the twentieth she gets a mail, in a week no second one."""
    if fewer_than(MANY_ADDRESSES - 1, DAY, "guessed", user.pk):
        return
    if first_in(WEEK, "told of guessing", user.pk) is not None:
        page = render_to_string("account/email/guessing_message.txt", {"many": MANY_ADDRESSES})
        subject = f"{settings.ACCOUNT_EMAIL_SUBJECT_PREFIX}Somebody guesses at your password"
        try:
            send_mail(subject, page, None, [user.email])
        except OSError as error:
            log.error("mail not sent", mail="guessing", error=str(error))


def password_changed(request: HttpRequest, user: User, **kwargs: Any) -> None:
    record_for(user, "password.changed", actor=user, request=request)


def password_reset(request: HttpRequest, user: User, **kwargs: Any) -> None:
    record_for(user, "password.reset", actor=user, request=request)


def email_changed(
    request: HttpRequest,
    user: User,
    from_email_address: Any,
    to_email_address: Any,
    **kwargs: Any,
) -> None:
    old = {"email": from_email_address.email} if from_email_address else None
    new = {"email": to_email_address.email}
    record_for(user, "email.changed", actor=user, request=request, old=old, new=new)


def email_added(request: HttpRequest, user: User, email_address: Any, **kwargs: Any) -> None:
    _about_email("email.added", request, email_address)


def email_removed(request: HttpRequest, user: User, email_address: Any, **kwargs: Any) -> None:
    _about_email("email.removed", request, email_address)


def email_confirmed(request: HttpRequest, email_address: Any, **kwargs: Any) -> None:
    _about_email("email.confirmed", request, email_address)


def _about_email(action: str, request: HttpRequest, email_address: Any) -> None:
    user, email = email_address.user, email_address.email
    record_for(user, action, actor=user, request=request, target=email)


def factor_added(request: HttpRequest, user: User, authenticator: Any, **kwargs: Any) -> None:
    _about_factor("mfa.added", request, user, authenticator)


def factor_removed(request: HttpRequest, user: User, authenticator: Any, **kwargs: Any) -> None:
    _about_factor("mfa.removed", request, user, authenticator)


def factor_reset(request: HttpRequest, user: User, authenticator: Any, **kwargs: Any) -> None:
    _about_factor("mfa.reset", request, user, authenticator)


def _about_factor(action: str, request: HttpRequest, user: User, authenticator: Any) -> None:
    kind = str(authenticator.get_type_display())
    record_for(user, action, actor=user, request=request, target=kind)
