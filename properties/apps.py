"""What may be measured and by whom: properties, grants, API keys, THE DOOR and its pages."""

from django.apps import AppConfig


class PropertiesConfig(AppConfig):
    name = "properties"

    def ready(self) -> None:
        from django.db.models.signals import pre_delete

        from accounts.models import User
        from properties import (
            openapi,  # noqa: F401  drf-spectacular learns how callers sign in
            revoking,
        )

        pre_delete.connect(revoking.before_deletion, sender=User, dispatch_uid="revoke her keys")
