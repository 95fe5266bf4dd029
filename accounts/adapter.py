"""Where allauth's sign-up and log-in meet the product.

Called by allauth (the adapter) and by axes, which counts failed log-ins of one name together
(`login_name`).
"""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core import context
from django.http import HttpRequest

from accounts.fresh import is_fresh


def login_name(request: HttpRequest, credentials: dict[str, Any] | None = None) -> str | None:
    """The address that somebody tries to sign in with, whichever form she uses.

    allauth calls it `email` (in the form: `login`), the admin `username`. Were one of them missed,
    failures would be counted for nobody, and the right password would end a lock.
    """
    given = credentials if credentials is not None else request.POST
    name = given.get("email") or given.get("username") or given.get("login")
    return str(name).strip().lower() if name else None


class AccountAdapter(DefaultAccountAdapter):
    """Sign-up is open to everybody; where to go after it, the home page decides."""

    def is_reauthentication_required(self, *, app: str, **kwargs: Any) -> bool:
        """allauth's pages for e-mail and second factors follow the rule of accounts/fresh.py."""
        return not is_fresh(context.request)
