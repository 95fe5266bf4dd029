"""Ending API keys and share links: one, or all that somebody made.

Called by their pages and API, and by the removal of a member, whose keys and links may end with
her. A request with an ended key or link is refused from then on in every process: nothing of
either is kept in memory.
"""

from collections.abc import Iterable
from datetime import datetime
from itertools import chain
from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts import audit
from accounts.models import Account, User
from properties import granting
from properties.models import ApiKey, ShareLink


def made_by(user: User, account: Account, now: datetime) -> list[ApiKey | ShareLink]:
    """What still works of the keys and links that she made in the account, newest first."""
    every: Iterable[ApiKey | ShareLink] = chain(
        ApiKey.objects.of(account).made_by(user), ShareLink.objects.of(account).made_by(user)
    )
    usable = [made for made in every if made.is_usable(now)]
    return sorted(usable, key=lambda made: made.created, reverse=True)


@transaction.atomic
def revoke(made: ApiKey | ShareLink, request: Any = None, actor: Any = None) -> bool:
    """End it and tell the audit log; False when it was revoked already."""
    granting.lock(made.account)
    if not made.revoke(timezone.now()):
        return False
    kind = "api_key" if isinstance(made, ApiKey) else "share_link"
    place = made.property if isinstance(made, ShareLink) else None
    audit.record(
        made.account_id,
        f"{kind}.revoked",
        actor=actor,
        request=request,
        property=place,
        target=str(made),
    )
    return True


@transaction.atomic
def revoke_made_by(
    user: User, account: Account, *, actor: Any = None, request: Any = None
) -> list[ApiKey | ShareLink]:
    """End what she made; returns what was ended by this."""
    return [
        made
        for made in made_by(user, account, timezone.now())
        if revoke(made, request=request, actor=actor)
    ]


def before_deletion(instance: User, **kwargs: Any) -> None:
    """A user goes, by whatever way (the administration's, too): nobody holds keys of nobody."""
    belongs = instance.memberships.select_related("account")  # type: ignore[attr-defined]
    for membership in belongs.order_by("account_id"):
        revoke_made_by(instance, membership.account)
