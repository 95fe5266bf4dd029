"""Where allauth's sign-up and log-in meet the product.

Called by allauth (the adapter) and by axes, which counts failed log-ins of one name together
(`login_name`).
"""

from typing import Any

import structlog
from allauth.account.adapter import DefaultAccountAdapter
from allauth.core import context
from django.http import HttpRequest
from django.urls import reverse

from accounts.addresses import address_of
from accounts.fresh import is_fresh

log = structlog.get_logger()


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

    def get_reauthentication_methods(self, user: Any) -> list[dict[str, Any]]:
        """Whoever has neither password nor second factor signs in once more."""
        found = super().get_reauthentication_methods(user)
        if not found and user.is_authenticated:
            again = {"id": "sign_in_again", "description": "Sign in again"}
            return [again | {"url": reverse("sign_in_again")}]
        return found

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """A mail server that is away changes no answer: who is known would show by the error."""
        try:
            super().send_mail(template_prefix, email, context)
        except OSError as error:  # SMTPException is one
            log.error("mail not sent", mail=template_prefix, error=str(error))

    def get_client_ip(self, request: HttpRequest) -> str:
        """As everywhere: through the proxies that settings trust. A Unix socket is this machine."""
        return address_of(request) or "127.0.0.1"

    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: Any) -> str:
        """allauth counts failures by name alone: anybody could lock anybody out, from anywhere."""
        key = super()._get_login_attempts_cache_key(request, **credentials)
        return f"{key}:{self.get_client_ip(request)}"

    def unstash_verified_email(self, request: HttpRequest) -> str | None:
        """The address that an invitation proved, if it is the one that was typed. allauth would
        give it to whoever signs up with any other address as well."""
        proved = super().unstash_verified_email(request)
        typed = str(request.POST.get("email", "")).strip().lower()
        return proved if proved and proved.lower() == typed else None
