"""Where allauth's sign-up and log-in meet the product.

Called by allauth only. Leaves: where to go after signing in, and the words of the messages.
"""

from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest
from django.urls import reverse

from accounts.models import Account, User


class AccountAdapter(DefaultAccountAdapter):
    """Sign-up is open; whoever is new names an account first."""

    def get_login_redirect_url(self, request: HttpRequest) -> str:
        """Home; or the first step for a user who belongs to no account yet."""
        user = request.user
        if isinstance(user, User) and not Account.objects.of_user(user).exists():
            return reverse("new_account")
        return super().get_login_redirect_url(request)
