"""Pages of a property's settings: general, tracking, goals, keys.

Enters: a request that passed THE DOOR. Leaves: a rendered page or a redirect. Whoever may only
view sees the same pages with everything disabled. Forms judge what is typed (forms.py).
"""

from datetime import datetime
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from accounts.audit import snapshot
from properties import currencies, forms, recording
from properties.access import actor_of, door, fresh_login
from properties.models import Goal, Property, RetiredKey


def may_manage(request: HttpRequest, place: Property) -> bool:
    actor = actor_of(request)
    return actor is not None and actor.may("manage", "property", place)


@require_http_methods(["GET", "HEAD", "POST"])
@door("property", POST="manage")
def general(request: HttpRequest, place: Property) -> HttpResponse:
    """What is measured, and by which clock, currency and rules."""
    choices = {"zones": forms.zone_names(), "currencies": sorted(currencies.DECIMALS)}
    return _settings(request, place, forms.GeneralForm, "property_settings", choices)


@require_http_methods(["GET", "HEAD", "POST"])
@door("property", POST="manage")
def tracking(request: HttpRequest, place: Property) -> HttpResponse:
    """Who is counted, as whom, and what is recorded."""
    return _settings(request, place, forms.TrackingForm, "property_tracking", {})


def _settings(
    request: HttpRequest,
    place: Property,
    form_class: type[forms.GeneralForm] | type[forms.TrackingForm],
    route: str,
    context: dict[str, Any],
) -> HttpResponse:
    # The form writes into its instance even when it is refused; the frame shows `place`.
    instance = Property.objects.of(place.account).get(pk=place.pk)
    before = snapshot(instance, Property.SETTINGS)
    form = form_class(request.POST or None, instance=instance)
    if request.method == "POST" and form.is_valid():
        form.save()
        recording.property_changed(request, instance, before)
        messages.success(request, "Saved. New events follow the new settings.")
        return redirect(route, place.key)
    may = _disable_unless_managed(request, place, form)
    context |= {"form": form, "property": place, "may_manage": may}
    return render(request, f"properties/{route}.html", context)


def _disable_unless_managed(request: HttpRequest, place: Property, form: Any) -> bool:
    may = may_manage(request, place)
    for field in form.fields.values():
        field.disabled = not may
    return may


@require_http_methods(["GET", "HEAD", "POST"])
@door("property", POST="manage")
def goals(request: HttpRequest, place: Property) -> HttpResponse:
    """The goals, and a form for one more."""
    form = forms.GoalForm(request.POST or None, place=place)
    if request.method == "POST" and form.is_valid():
        goal = form.save()
        recording.goal_created(request, goal)
        messages.success(request, f"{goal.name} is a goal now.")
        return redirect("property_goals", place.key)
    context = {
        "property": place,
        "goals": Goal.objects.of(place.account).filter(property=place),
        "form": form,
        "may_manage": may_manage(request, place),
    }
    return render(request, "properties/property_goals.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@door("property", POST="manage")
def goal(request: HttpRequest, place: Property, pk: int) -> HttpResponse:
    """One goal, to be changed or deleted."""
    found = _goal(place, pk)
    name, before = found.name, snapshot(found, Goal.SETTINGS)
    form = forms.GoalForm(request.POST or None, instance=found, place=place)
    if request.method == "POST" and form.is_valid():
        form.save()
        recording.goal_changed(request, found, before)
        messages.success(request, "Saved.")
        return redirect("property_goals", place.key)
    may = _disable_unless_managed(request, place, form)
    context = {"property": place, "form": form, "pk": pk, "name": name, "may_manage": may}
    return render(request, "properties/property_goal.html", context)


@require_POST
@door("property", "manage")
def delete_goal(request: HttpRequest, place: Property, pk: int) -> HttpResponse:
    """Events stay; reports no longer count them as conversions of this goal."""
    found = _goal(place, pk)
    found.delete()
    recording.goal_deleted(request, found)
    messages.success(request, f"{found.name} is deleted.")
    return redirect("property_goals", place.key)


def _goal(place: Property, pk: int) -> Goal:
    return get_object_or_404(Goal.objects.of(place.account), property=place, pk=pk)


@require_http_methods(["GET", "HEAD", "POST"])
@door("property", POST="manage")
@fresh_login
def keys(request: HttpRequest, place: Property) -> HttpResponse:
    """The public key, the ones it had before, and the form that replaces it."""
    form = forms.ReplaceKeyForm(request.POST or None)
    now = timezone.now()
    if request.method == "POST" and form.is_valid() and (old := _replace(place, form, now)):
        recording.key_replaced(request, place, old)
        ends = "is refused from now on" if old.until <= now else f"goes on until {old.until:%d %B}"
        messages.success(request, f"The key is {place.key} now; {old.key} {ends}.")
        return redirect("property_keys", place.key)
    context = {
        "property": place,
        "retired": [(old, old.is_accepted(now)) for old in place.retired_keys.all()],
        "form": form,
        "may_manage": may_manage(request, place),
    }
    return render(request, "properties/property_keys.html", context)


def _replace(place: Property, form: forms.ReplaceKeyForm, now: datetime) -> RetiredKey | None:
    try:
        return place.replace_key(form.cleaned_data["days"], now)
    except ValidationError as error:
        form.add_error(None, error)
        return None


@require_POST
@door("property", "manage")
def end_key(request: HttpRequest, place: Property, pk: int) -> HttpResponse:
    """Let a replaced key end before its day."""
    old = get_object_or_404(place.retired_keys, pk=pk)
    if place.end_key(old, timezone.now()):
        recording.key_ended(request, place, old)
    messages.success(request, f"{old.key} is refused from now on.")
    return redirect("property_keys", place.key)
