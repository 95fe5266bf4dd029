"""Inviting somebody by e-mail: from the mail to the membership.

Enters: an address, a role and its rights. Leaves: an Invitation, and a mail whose link is good
once, for a week, for whoever has proved that the address is hers. What the invitation gives is
judged twice: when it is sent, and when it is accepted, by what its sender may still give then.

Every sentence is the same whether or not the address has an account here.
"""

import hashlib
import logging
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from allauth.account.models import EmailAddress
from django.core.mail import EmailMultiAlternatives
from django.db import transaction
from django.db.models import Sum
from django.template.loader import render_to_string
from django.urls import reverse

from accounts import audit
from accounts.models import Account, Membership, User
from properties import allowance, granting
from properties.access import Actor, Right
from properties.granting import Refused
from properties.models import ApiKey, Invitation, Property

LIVES = timedelta(days=7)
MOST_OPEN = 50  # in one account
MOST_A_DAY = 100  # from one account
MOST_TO_ONE = 10  # to one address a day, from all accounts together
PAUSE = timedelta(minutes=1)  # between two mails to one address

log = logging.getLogger(__name__)


class Ended(Exception):
    """The link does not work: used, revoked, too old, or never given out. Nobody learns which."""


class OtherAddress(Exception):
    """Whoever is signed in has not proved to be the one who was invited."""


# -- sending ---------------------------------------------------------------------------------------


@transaction.atomic
def invite(
    actor: Actor, account: Account, email: str, role: str, rights: Iterable[Right],
    *, origin: str, now: datetime, request: Any = None,
) -> Invitation:  # fmt: skip
    """Offer these rights to an address, and send the mail once all this is stored.

    `origin` is where this installation is reached: `https://stats.example.com`.
    """
    granting.lock(account)
    actor = actor.anew()  # while she waited for the lock, her rights may have gone
    email, wanted = email.strip().lower(), granting.tidy(rights)
    if role not in granting.ASSIGNABLE:
        known = ", ".join(granting.ASSIGNABLE)
        raise Refused("role", f"There is no role {role!r} to invite to. Known: {known}.")
    if not wanted:
        raise Refused("empty", "Give at least one right.")
    granting.check(wanted, account)
    granting.refuse_more(actor, account, wanted)
    if Membership.objects.filter(account=account, user__email=email).exists():
        raise Refused("member", f"{email} is a member already. Change the rights in the list.")
    _close_expired(account, email, now)
    _refuse_flood(account, email, now)
    if full := allowance.why_no_member(account, now):
        raise Refused("plan", full)
    person = actor.holder if isinstance(actor.holder, User) else None
    key = actor.holder if isinstance(actor.holder, ApiKey) else None
    token = secrets.token_urlsafe(32)
    invitation = Invitation.objects.create(
        account=account,
        email=email,
        role=role,
        rights=[[right.module, right.verb, right.property_id] for right in granting.listed(wanted)],
        invited_by=person,
        invited_by_key=key,
        digest=digest_of(token),
        sent=now,
        expires=now + LIVES,
    )
    _send(invitation, token, origin)
    told = {"role": role, "rights": granting.told(wanted, account)}
    _record("invitation.sent", invitation, actor, request, new=told)
    return invitation


@transaction.atomic
def resend(
    actor: Actor, invitation: Invitation, *, origin: str, now: datetime, request: Any = None
) -> None:
    """A new mail with a new link, good for another week; the link before is dead."""
    granting.lock(invitation.account)
    invitation.refresh_from_db()
    if invitation.accepted or invitation.revoked:
        raise Refused("ended", "This invitation has ended. Invite the address again.")
    _refuse_pause(invitation.email, now)
    token = secrets.token_urlsafe(32)
    invitation.digest, invitation.sent, invitation.expires = digest_of(token), now, now + LIVES
    invitation.mails += 1
    invitation.save(update_fields=["digest", "sent", "expires", "mails"])
    _send(invitation, token, origin)
    _record("invitation.resent", invitation, actor, request)


@transaction.atomic
def revoke(actor: Actor, invitation: Invitation, *, now: datetime, request: Any = None) -> None:
    """End it: its link is dead. Of an accepted one nothing is left to end."""
    granting.lock(invitation.account)
    invitation.refresh_from_db()
    if invitation.accepted is None and invitation.revoked is None:
        invitation.revoked = now
        invitation.save(update_fields=["revoked"])
        _record("invitation.revoked", invitation, actor, request)


def _record(
    action: str, invitation: Invitation, actor: Actor | User, request: Any, **more: Any
) -> None:
    audit.record(
        invitation.account, action, actor=actor, request=request, target=invitation.email, **more
    )


def open_of(account: Account) -> list[Invitation]:
    """Those that wait, expired ones too (they can be sent again), newest first."""
    waiting = Invitation.objects.of(account).filter(accepted=None, revoked=None)
    return list(waiting.select_related("invited_by", "invited_by_key"))


def _close_expired(account: Account, email: str, now: datetime) -> None:
    waiting = Invitation.objects.of(account).filter(email=email, accepted=None, revoked=None)
    if waiting.filter(expires__gt=now).exists():
        raise Refused("invited", f"{email} is invited already. Send the mail again from the list.")
    waiting.update(revoked=now)


def _refuse_flood(account: Account, email: str, now: datetime) -> None:
    ours = Invitation.objects.of(account)
    if ours.filter(accepted=None, revoked=None, expires__gt=now).count() >= MOST_OPEN:
        raise Refused(
            "too_many", f"{MOST_OPEN} invitations wait already. Revoke one before you send another."
        )
    if ours.filter(created__gt=now - timedelta(days=1)).count() >= MOST_A_DAY:
        raise Refused("too_many", f"{MOST_A_DAY} invitations a day are the most. Go on tomorrow.")
    _refuse_pause(email, now)


def _refuse_pause(email: str, now: datetime) -> None:
    """Nobody's mailbox is flooded through us, from however many accounts."""
    to_her = Invitation.objects.across_accounts().filter(email=email)
    if to_her.filter(sent__gt=now - PAUSE).exists():
        raise Refused("too_soon", "A mail went to this address a moment ago. Wait a minute.")
    today = to_her.filter(sent__gt=now - timedelta(days=1)).aggregate(mails=Sum("mails"))
    if (today["mails"] or 0) >= MOST_TO_ONE:
        raise Refused("too_many", "Too many invitations went to this address. Go on tomorrow.")


def digest_of(token: str) -> str:
    """What is kept of a token. The word in front parts it from every other kind of secret."""
    return hashlib.sha256(f"invitation\n{token}".encode("utf-8", "replace")).hexdigest()


def _send(invitation: Invitation, token: str, origin: str) -> None:
    """After the commit, for a mail must not promise what is not stored; and outside of it, for a
    slow mail server must hold no row."""
    context = {
        "invitation": invitation,
        "inviter": inviter_name(invitation),
        "link": origin + reverse("invitation", args=[token]),
        "days": LIVES.days,
    }
    subject = f"{context['inviter']} invites you to {invitation.account.name} on Aktivat"
    mail = EmailMultiAlternatives(
        " ".join(subject.split()),
        render_to_string("properties/email/invitation.txt", context),
        to=[invitation.email],
    )
    mail.attach_alternative(
        render_to_string("properties/email/invitation.html", context), "text/html"
    )

    def deliver() -> None:
        try:
            mail.send()
        except OSError:  # what smtplib and sockets raise; the invitation can be sent again
            log.exception("An invitation could not be sent. Check EMAIL_HOST and its settings.")

    transaction.on_commit(deliver)


def inviter_name(invitation: Invitation) -> str:
    """Whom the mail names: the person, also of an invitation that her program sent."""
    key = invitation.invited_by_key
    person = invitation.invited_by or (key.made_by if key else None)
    return person.get_full_name() if person else "Somebody"


# -- accepting -------------------------------------------------------------------------------------


def find(token: str, now: datetime) -> Invitation:
    """The open invitation with that token; raises Ended."""
    found = (
        Invitation.objects.across_accounts()
        .select_related("account", "invited_by", "invited_by_key")
        .filter(digest=digest_of(token))
        .first()
    )
    if found is None or not found.is_open(now) or not still_given(found):
        raise Ended
    return found


def is_hers(invitation: Invitation, user: User) -> bool:
    """Whether the user has proved that the address of the invitation is hers."""
    proved = EmailAddress.objects.filter(user=user, email__iexact=invitation.email, verified=True)
    return proved.exists()


def still_given(invitation: Invitation) -> frozenset[Right]:
    """What it gives now: its rights, cut to what its sender may still give. Nothing when she was
    removed, and nothing of properties that are gone."""
    holder = invitation.invited_by or invitation.invited_by_key
    if holder is None:
        return frozenset()
    return granting.grantable_by(Actor(holder), invitation.account).cut(rights_in(invitation))


def rights_in(invitation: Invitation) -> frozenset[Right]:
    """What it was sent with, as far as the properties still exist."""
    known = {None, *Property.objects.of(invitation.account).values_list("pk", flat=True)}
    return frozenset(
        Right(invitation.account_id, where, module, verb)
        for module, verb, where in invitation.rights
        if where in known
    )


@transaction.atomic
def accept(token: str, user: User, now: datetime, *, request: Any = None) -> Membership:
    """Make the user a member; raises Ended or OtherAddress. Of two requests, one finds it used.

    Whoever belongs to the account already keeps her rights as they are.
    """
    account = granting.lock(find(token, now).account)
    invitation = find(token, now)  # again: behind the lock nobody else can be using it
    if not is_hers(invitation, user):
        raise OtherAddress
    invitation.accepted = now
    invitation.save(update_fields=["accepted"])
    membership, is_new = Membership.objects.get_or_create(
        account=account, user=user, defaults={"role": invitation.role}
    )
    if is_new:
        given = still_given(invitation)
        granting.store(membership, given)
        told = {"role": membership.role, "rights": granting.told(given, account)}
        _record("invitation.accepted", invitation, user, request, new=told)
    return membership


def revoke_sent_by(
    user: User, account: Account, *, actor: Actor, now: datetime, request: Any = None
) -> None:
    """End the open invitations of somebody who leaves."""
    for sent in Invitation.objects.of(account).filter(invited_by=user, accepted=None, revoked=None):
        revoke(actor, sent, now=now, request=request)
