"""Who: users, accounts, memberships and the audit log. After every migration, rights and row-level
security."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class AccountsConfig(AppConfig):
    name = "accounts"

    def ready(self) -> None:
        from accounts import rls, sign_ins

        post_migrate.connect(rls.protect_after_migrate, sender=self)
        sign_ins.connect()
