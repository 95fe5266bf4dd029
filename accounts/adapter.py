"""Where allauth's sign-up and log-in meet the product.

Called by allauth (the adapter) and by axes, which counts failed log-ins (`login_name`). Leaves:
where to go after signing in; whose failures are counted together.
"""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest
from django.urls import reverse

from accounts.models import Account, User


def login_name(request: HttpRequest, credentials: dict[str, Any] | None = None) -> str | None:
    """The address that somebody tries to sign in with, whichever form she uses.

    allauth calls it `email` (in the form: `login`), the admin `username`. Were one of them missed,
    failures would be counted for nobody, and the right password would end a lock.
    """
    given = credentials if credentials is not None else request.POST
    name = given.get("email") or given.get("username") or given.get("login")
    return str(name).strip().lower() if name else None


class AccountAdapter(DefaultAccountAdapter):
    """Sign-up is open; whoever is new names an account first."""

    def get_login_redirect_url(self, request: HttpRequest) -> str:
        """Home; or the first step for a user who belongs to no account yet."""
        user = request.user
        if isinstance(user, User) and not Account.objects.of_user(user).exists():
            return reverse("new_account")
        return super().get_login_redirect_url(request)
