"""What people may ask for: what is kept of them, and that it goes. And what goes by itself."""

from django.apps import AppConfig


class PrivacyConfig(AppConfig):
    name = "privacy"
