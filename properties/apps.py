"""What may be measured and by whom: properties, grants, API keys, THE DOOR and its pages."""

from django.apps import AppConfig


class PropertiesConfig(AppConfig):
    name = "properties"

    def ready(self) -> None:
        from properties import openapi  # noqa: F401  drf-spectacular learns how callers sign in
