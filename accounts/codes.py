"""The forms that ask for the code of an authenticator app, or for a recovery code.

allauth remembers for one step that a code was used; with MFA_TOTP_TOLERANCE it is good for three.
Here it is remembered for as long as it is good, so that it works once. Called by allauth.mfa
(settings.MFA_FORMS).
"""

from allauth.core.internal.cryptokit import normalize_user_code
from allauth.mfa import app_settings
from allauth.mfa.adapter import get_adapter
from allauth.mfa.base import forms
from django.core.cache import cache


class WorksOnce:
    """For a form of allauth's that checks a code; recovery codes are struck out by themselves."""

    def clean_code(self) -> str:
        code: str = super().clean_code()  # type: ignore[misc]
        kind = self.authenticator.type  # type: ignore[attr-defined]
        if kind == "totp" and not _first_use(self.authenticator.user_id, code):  # type: ignore[attr-defined]
            raise get_adapter().validation_error("incorrect_code")
        return code


class AuthenticateForm(WorksOnce, forms.AuthenticateForm):
    pass


class ReauthenticateForm(WorksOnce, forms.ReauthenticateForm):
    pass


def _first_use(user_id: int, code: str) -> bool:
    good_for = app_settings.TOTP_PERIOD * (2 * app_settings.TOTP_TOLERANCE + 1)  # seconds
    return bool(cache.add(f"totp-used:{user_id}:{normalize_user_code(code)}", 1, timeout=good_for))
