"""Ending API keys and share links: one, or all that somebody made.

Called by their pages and API, and by the removal of a member, whose keys and links may end with
her. A request with an ended key or link is refused from then on in every process: nothing of
either is kept in memory.
"""

from collections.abc import Iterable
from datetime import datetime
from itertools import chain

from django.db import transaction
from django.utils import timezone

from accounts.models import Account, User
from properties.models import ApiKey, ShareLink


def made_by(user: User, account: Account, now: datetime) -> list[ApiKey | ShareLink]:
    """What still works of the keys and links that she made in the account, newest first."""
    every: Iterable[ApiKey | ShareLink] = chain(
        ApiKey.objects.of(account).made_by(user), ShareLink.objects.of(account).made_by(user)
    )
    usable = [made for made in every if made.is_usable(now)]
    return sorted(usable, key=lambda made: made.created, reverse=True)


@transaction.atomic
def revoke_made_by(
    user: User, account: Account, now: datetime | None = None
) -> list[ApiKey | ShareLink]:
    """End them; returns those that were ended, for the record of whoever decides it."""
    at = now or timezone.now()
    return [made for made in made_by(user, account, at) if made.revoke(at)]
