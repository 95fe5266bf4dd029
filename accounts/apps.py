"""Who: users, accounts and memberships. After every migration, rights and row-level security."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class AccountsConfig(AppConfig):
    name = "accounts"

    def ready(self) -> None:
        from accounts import rls

        post_migrate.connect(rls.protect_after_migrate, sender=self)
