"""Second factors: what allauth keeps about them is encrypted with SECRET_KEY.

Whoever reads the database alone learns neither an authenticator's secret nor recovery codes. Called
by allauth.mfa. SECRET_KEY_FALLBACKS still read what they wrote; without any of them the user must
be given a new second factor.
"""

import base64

from allauth.mfa.adapter import DefaultMFAAdapter
from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings
from django.utils.crypto import salted_hmac

MARK = "f1:"  # of an encrypted text, so that it is told apart from one of before


class SecondFactor(DefaultMFAAdapter):
    def encrypt(self, text: str) -> str:
        return MARK + _keys().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        """Raises cryptography's InvalidToken when no key of ours wrote it."""
        if not encrypted_text.startswith(MARK):
            return encrypted_text
        return _keys().decrypt(encrypted_text.removeprefix(MARK).encode()).decode()


def _keys() -> MultiFernet:
    secrets = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return MultiFernet([Fernet(_key(secret)) for secret in secrets])


def _key(secret: str) -> bytes:
    digest = salted_hmac("accounts.second-factor", "", secret, algorithm="sha256").digest()
    return base64.urlsafe_b64encode(digest)
