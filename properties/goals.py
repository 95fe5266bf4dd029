"""Which events reach a goal of a property.

In: a Goal and what reports know of an event. Out: yes or no. Pure, so that every report, import
and test asks the same question. What may be written for a goal says `clean`, for forms and API.
"""

from decimal import Decimal
from typing import NamedTuple

from django.core.exceptions import ValidationError
from django.db import transaction

from properties.models import Goal, Property

MOST = 100  # goals of a property
CONVERSION = "conversion"  # the event of convert(goal, value), which names the goal it reaches


class Happened(NamedTuple):
    """An event. `amount`: its revenue in the property's currency, None when there is none."""

    name: str
    page: str = ""
    amount: Decimal | None = None
    goal: str = ""  # props.goal


def of(place: Property) -> list[Goal]:
    """The goals of a property, which know its currency, by their names."""
    return list(Goal.objects.of(place.account).filter(property=place).select_related("property"))


def exist(place: Property) -> bool:
    return Goal.objects.of(place.account).filter(property=place).exists()


def matches(goal: Goal, event: Happened) -> bool:
    """Whether the event reaches the goal."""
    if goal.kind == Goal.Kind.PAGE:
        return event.name == "pageview" and fits(event.page, goal.page)
    if goal.kind == Goal.Kind.VALUE:
        if event.amount is None or goal.minimum is None or event.amount < goal.minimum:
            return False
        return _is_called(goal, event, any_name=True)
    return _is_called(goal, event)


def _is_called(goal: Goal, event: Happened, any_name: bool = False) -> bool:
    """By the goal's event, or by convert() with the goal's own name."""
    if not goal.event:
        return any_name
    return event.name == goal.event or (event.name == CONVERSION and event.goal == goal.name)


def fits(text: str, pattern: str) -> bool:
    """Whether the pattern covers the whole text; * stands for anything, nothing included.

    Takes the first place for each part: no pattern makes it try twice.
    """
    first, *rest = pattern.split("*")
    if not rest:
        return text == pattern
    *middle, last = rest
    if len(text) < len(first) + len(last) or not text.startswith(first):
        return False
    at, end = len(first), len(text) - len(last)
    for part in middle:
        found = text.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return text.endswith(last)


_NEEDS = {
    Goal.Kind.EVENT: ("event", "Name the event, such as signup."),
    Goal.Kind.PAGE: ("page", "Name the page, such as /thanks or /order/*."),
    Goal.Kind.VALUE: ("minimum", "Say from how much on it counts."),
}


def clean(goal: Goal) -> None:
    """What its kind needs is there, the rest is gone, and the name is new. Raises
    ValidationError by field."""
    field, advice = _NEEDS[Goal.Kind(goal.kind)]
    if getattr(goal, field) in (None, ""):
        raise ValidationError({field: advice})
    if goal.kind != Goal.Kind.PAGE:
        goal.page = ""
    if goal.kind != Goal.Kind.VALUE:
        goal.minimum = None
    if goal.kind == Goal.Kind.PAGE:
        goal.event = ""
    _one_at_a_time(goal)
    others = Goal.objects.of(goal.account).filter(property_id=goal.property_id).exclude(pk=goal.pk)
    if others.filter(name=goal.name).exists():
        raise ValidationError({"name": "Another goal has this name. Choose another."})
    if goal.pk is None and others.count() >= MOST:
        raise ValidationError(f"{MOST} goals are the most. Delete one that nobody looks at.")


def _one_at_a_time(goal: Goal) -> None:
    """Whoever adds to the same property at the same moment (two clicks) waits for our commit."""
    with transaction.atomic():
        place = Property.objects.across_accounts().select_for_update(of=("self",))
        place.filter(pk=goal.property_id).values_list("pk").get()
