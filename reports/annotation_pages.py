"""The pages on which notes are written, changed and deleted by hand.

Enters: a request behind THE DOOR (looking: `audience:view`, writing: `audience:manage`). Leaves:
the list of a property's notes with its form, or a redirect to the chart that the form stood below.
The rules are those of reports/annotations.py.
"""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from accounts.audit import snapshot
from properties.access import actor_of, door
from properties.forms import ParsedField
from properties.models import Property
from properties.periods import from_wall, wall, zone
from reports import annotations
from reports.models import Annotation

MOST_LISTED = 500


class AnnotationForm(forms.Form):
    """A note by hand; times are the property's."""

    text = ParsedField(
        parse=annotations.text_of,
        max_length=annotations.LONGEST,
        label="Note",
        widget=forms.TextInput(attrs={"placeholder": "Newsletter sent", "autocomplete": "off"}),
    )
    at = forms.DateTimeField(
        required=False,
        label="When",
        input_formats=[annotations.TYPED, "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M"],
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format=annotations.TYPED),
    )
    url = ParsedField(
        parse=annotations.url_of,
        required=False,
        max_length=annotations.LONGEST_URL,
        label="Link",
        widget=forms.TextInput(attrs={"placeholder": "https://", "inputmode": "url"}),
    )

    def __init__(self, *args: Any, place: Property, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._zone = zone(place.timezone)
        self.fields["at"].help_text = f"In {place.timezone}. Empty: now."

    def clean_at(self) -> datetime | None:
        at = self.cleaned_data["at"]
        if at is None:
            return None
        # The form read it in the zone of the process (UTC): what was typed is the property's.
        return from_wall(annotations.moment_of(at).replace(tzinfo=None), self._zone)


@require_http_methods(["GET", "HEAD", "POST"])
@door("audience", POST="manage")
def notes(request: HttpRequest, place: Property) -> HttpResponse:
    """All notes of a property, newest first, and the form for one more."""
    actor = actor_of(request)
    assert actor is not None, "THE DOOR lets nobody in without an actor"
    form = AnnotationForm(request.POST or None, place=place)
    if request.method == "POST" and form.is_valid() and _add(request, place, form):
        return _back(request, place)
    listed = list(annotations.of(place).order_by("-at", "-pk")[:MOST_LISTED])
    names, tz = annotations.makers(place.account, listed), zone(place.timezone)
    context = {
        "property": place,
        "form": form,
        "notes": [
            (note, _read_off(note.at, tz), annotations.maker_of(note, names)) for note in listed
        ],
        "may_manage": actor.may("manage", "audience", place),
        "view": _view(request),
    }
    return render(request, "reports/annotations.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@door("audience", "manage")
def note(request: HttpRequest, place: Property, pk: int) -> HttpResponse:
    """One note, to be changed or deleted."""
    found = annotations.find(place, pk)
    before, tz = snapshot(found, Annotation.SETTINGS), zone(place.timezone)
    initial = {"text": found.text, "url": found.url, "at": wall(found.at, tz).replace(tzinfo=None)}
    form = AnnotationForm(request.POST or None, place=place, initial=initial)
    if request.method == "POST" and form.is_valid():
        written = form.cleaned_data
        found.text, found.url = written["text"], written["url"]
        # The form shows minutes: seconds go only with a time that was really changed.
        if written["at"] and written["at"] != found.at.replace(second=0, microsecond=0):
            found.at = written["at"]
        found.save()
        annotations.changed(request, place, found, before)
        messages.success(request, "Saved.")
        return redirect("annotations", place.key)
    context = {"property": place, "form": form, "note": found}
    return render(request, "reports/annotation.html", context)


@require_POST
@door("audience", "manage")
def delete_note(request: HttpRequest, place: Property, pk: int) -> HttpResponse:
    found = annotations.find(place, pk)
    gone = snapshot(found, Annotation.SETTINGS)
    found.delete()
    annotations.deleted(request, place, found)
    messages.success(request, f"The note “{gone['text']}” is deleted.")
    return redirect("annotations", place.key)


def _read_off(at: datetime, tz: ZoneInfo) -> str:
    here = wall(at, tz)  # a template would turn it back to the zone of the process
    return f"{here.day} {here:%b %Y %H:%M}"


def _add(request: HttpRequest, place: Property, form: AnnotationForm) -> bool:
    actor = actor_of(request)
    assert actor is not None
    try:
        made = annotations.new(place, actor)
    except ValidationError as error:
        form.add_error(None, error)
        return False
    written = form.cleaned_data
    made.at = written["at"] or timezone.now()
    made.text, made.url = written["text"], written["url"]
    made.save()
    annotations.created(request, place, made)
    return True


def _view(request: HttpRequest) -> str:
    """The query string of the chart that the form stood below."""
    view = request.POST.get("view", "")
    return view if view.startswith("?") and len(view) < 4000 else ""


def _back(request: HttpRequest, place: Property) -> HttpResponse:
    """Where the form was sent from: the chart it stood below, with its range and filters."""
    if "view" in request.POST:
        return redirect(reverse("overview", args=[place.key]) + _view(request))
    messages.success(request, "The note is on the charts.")
    return redirect("annotations", place.key)
