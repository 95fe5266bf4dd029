"""The form of signing up, as allauth has it, but as slow for an address that is known."""

from typing import Any

from allauth.account import forms
from django.contrib.auth.hashers import make_password
from django.http import HttpRequest


class SignupForm(forms.SignupForm):
    def try_save(self, request: HttpRequest) -> Any:
        """Hashing takes longest of all; without it a stop watch would tell who is known."""
        if self.account_already_exists:
            make_password(self.cleaned_data["password1"])
        return super().try_save(request)
