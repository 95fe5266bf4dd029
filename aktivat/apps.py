"""The wiring of the product: settings, routes, servers; on start its system checks."""

from django.apps import AppConfig


class AktivatConfig(AppConfig):
    name = "aktivat"

    def ready(self) -> None:
        from aktivat import checks  # noqa: F401  registers the system checks
