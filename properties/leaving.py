"""Leaving an account, or being removed from it: the membership ends, and what hangs on it.

Called by pages and API. Rights are read with every request, so that the next click of an open page,
the next poll and the next second of a stream are refused. Open invitations of hers are taken back.
Keys and links that she made end as well, unless whoever does it keeps them for the account.
"""

from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts.models import Membership
from properties import granting, invitations, revoking
from properties.access import Actor


@transaction.atomic
def leave(actor: Actor, membership: Membership, *, keep: bool = False, request: Any = None) -> None:
    """Raises granting.Refused when the actor may not, or for the last owner."""
    granting.remove(actor, membership, request=request)
    end_what_she_made(membership, actor, keep=keep, request=request)


def end_what_she_made(
    membership: Membership, actor: Actor, *, keep: bool = False, request: Any = None
) -> None:
    """What hangs on a membership that has just ended."""
    user, account, now = membership.user, membership.account, timezone.now()
    invitations.revoke_sent_by(user, account, actor=actor, now=now, request=request)
    if not keep:
        revoking.revoke_made_by(user, account, actor=actor, request=request)
