"""A saved property reaches every collector with its next call, because Valkey knows its version."""

from typing import Any

import structlog
from django.db import transaction

from properties.models import Property
from tracking import store

log = structlog.get_logger()


def property_saved(instance: Property, created: bool, **kwargs: Any) -> None:
    """Runs after the commit: a collector that hears of a version finds it in Postgres."""
    if not created:
        transaction.on_commit(lambda: _publish(instance))


def _publish(place: Property) -> None:
    try:
        store.publish_version(place.account_id, place.pk, place.version)
    except store.Unavailable as error:
        # Nobody collects while Valkey is away; the first call afterwards compares versions, and
        # collecting.renew publishes the newer one.
        log.warning("version not published", property=place.key, error=str(error))
