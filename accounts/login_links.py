"""One-time links that sign a user in without a password; `create_account` prints them.

Enters: a user. Leaves: a signed token that names her and the state of her account (password and
last log-in), so that signing in, by the link or otherwise, ends every link made before.
"""

import hashlib

from django.core import signing
from django.utils import timezone

from accounts.models import User

SALT = "accounts.login-link"
LIVES = 24 * 60 * 60  # seconds


def token_for(user: User) -> str:
    """A token for `redeem`: good once, for 24 hours."""
    return signing.dumps([user.pk, _state(user)], salt=SALT)


def redeem(token: str) -> User | None:
    """The user, whose link is spent now; None when it was spent, is too old or was not ours."""
    try:
        pk, state = signing.loads(token, salt=SALT, max_age=LIVES)
    except (signing.BadSignature, ValueError, TypeError):
        return None
    user = User.objects.filter(pk=pk, is_active=True).first()
    if user is None or _state(user) != state:
        return None
    # Of two requests at once, one changes the row; the other finds nothing to change.
    unspent = User.objects.filter(pk=user.pk, last_login=user.last_login)
    spent = unspent.update(last_login=timezone.now())
    return user if spent else None


def _state(user: User) -> str:
    moment = user.last_login.isoformat() if user.last_login else ""
    return hashlib.sha256(f"{user.password}\n{moment}".encode()).hexdigest()[:32]
