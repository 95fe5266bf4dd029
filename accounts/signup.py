"""The form of signing up, as allauth has it, but as slow for an address that is known.

Choosing a password counts as giving it (accounts/fresh.py): allauth notes only log-ins, and
whoever made her first key would be asked for what she typed a minute before.
"""

from typing import Any

from allauth.account import forms
from allauth.account.internal.flows.login import record_authentication
from django.contrib.auth.hashers import make_password
from django.http import HttpRequest


class SignupForm(forms.SignupForm):
    def try_save(self, request: HttpRequest) -> Any:
        """Hashing takes longest of all; without it a stop watch would tell who is known."""
        if self.account_already_exists:
            make_password(self.cleaned_data["password1"])
        user, answer = super().try_save(request)
        record_authentication(request, user, method="password")  # no user: notes nothing
        return user, answer
