"""What pages and API tell the audit log about properties, their goals and their keys.

Enters: the request behind which it happened, and the thing before and after. Leaves: one entry in
the account's log, in the same transaction; none when nothing changed.
"""

from typing import Any

from django.http import HttpRequest
from rest_framework.request import Request

from accounts.audit import record, record_changes, snapshot
from properties.models import Goal, Property, RetiredKey

By = HttpRequest | Request | None  # None: a command, so the system itself


def property_created(by: By, place: Property) -> None:
    new = snapshot(place, Property.SETTINGS)
    record(
        place.account_id, "property.created", request=by, property=place, target=place.key, new=new
    )


def property_changed(by: By, place: Property, before: dict[str, Any]) -> None:
    """`before` is a `snapshot` of its SETTINGS."""
    after = snapshot(place, Property.SETTINGS)
    about = {"request": by, "property": place, "target": place.key}
    record_changes(place.account_id, "property.changed", before, after, **about)


def key_replaced(by: By, place: Property, old: RetiredKey) -> None:
    record(
        place.account_id,
        "property_key.replaced",
        request=by,
        property=place,
        target=place.key,
        old={"key": old.key, "until": old.until},
        new={"key": place.key},
    )


def key_ended(by: By, place: Property, old: RetiredKey) -> None:
    record(
        place.account_id,
        "property_key.ended",
        request=by,
        property=place,
        target=old.key,
        new={"until": old.until},
    )


def goal_created(by: By, goal: Goal) -> None:
    new = snapshot(goal, Goal.SETTINGS)
    record(goal.account_id, "goal.created", new=new, **_about_goal(by, goal))


def goal_changed(by: By, goal: Goal, before: dict[str, Any]) -> None:
    """`before` is a `snapshot` of its SETTINGS."""
    after = snapshot(goal, Goal.SETTINGS)
    record_changes(goal.account_id, "goal.changed", before, after, **_about_goal(by, goal))


def goal_deleted(by: By, goal: Goal) -> None:
    old = snapshot(goal, Goal.SETTINGS)
    record(goal.account_id, "goal.deleted", old=old, **_about_goal(by, goal))


def _about_goal(by: By, goal: Goal) -> dict[str, Any]:
    return {"request": by, "property": goal.property, "target": goal.name}
