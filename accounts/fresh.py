"""Did this browser's person prove lately that she is who she says?

A cookie is enough to read and to work; dangerous acts (keys, e-mail, ownership, erasure, export of
everything) want a password, a code or a sign-in of the last quarter of an hour. Asked by
`fresh_login` (properties/access.py) and, through the adapter, by allauth's own pages.
"""

import time

from allauth.account.authentication import get_authentication_records
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest


def is_fresh(request: HttpRequest) -> bool:
    """Whether the user signed in or confirmed that in the last ACCOUNT_REAUTHENTICATION_TIMEOUT
    seconds. Never for support that acts as her: raises PermissionDenied."""
    if getattr(request, "impersonator", None) is not None:
        raise PermissionDenied("Only the user herself does this, not support that acts as her.")
    records = get_authentication_records(request, request.user)  # type: ignore[arg-type]
    latest = max((record["at"] for record in records), default=0.0)
    return time.time() - latest < settings.ACCOUNT_REAUTHENTICATION_TIMEOUT
