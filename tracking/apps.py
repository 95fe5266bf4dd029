"""The write side: collecting events, keeping them. A saved property tells the collectors."""

from django.apps import AppConfig
from django.db.models.signals import post_save


class TrackingConfig(AppConfig):
    name = "tracking"

    def ready(self) -> None:
        from properties.models import Property
        from tracking import signals

        post_save.connect(signals.property_saved, sender=Property, dispatch_uid="publish version")
