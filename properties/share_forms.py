"""The form for a new share link. What a link may be stands in issuing.py."""

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.core.validators import MaxValueValidator

from accounts import modules
from properties import inputs, periods
from properties.access import Actor
from properties.forms import LinesField, ParsedField
from properties.issuing import (
    ALWAYS,
    LAST_DAY,
    LONGEST_PASSWORD,
    MOST_DAYS,
    WantedLink,
    can_share,
)
from properties.models import Property

ALL, DAYS, DATES = "all", "days", "dates"


class ShareLinkForm(forms.Form):
    """Offers only what the actor may view herself."""

    name = ParsedField(
        parse=inputs.name,
        max_length=120,
        help_text="For whom it is, for example “Agency”. Only members of the account read it.",
    )
    shows = forms.MultipleChoiceField(
        required=False,
        label="Beside the numbers of visitors it shows",
        widget=forms.CheckboxSelectMultiple,
    )
    range = forms.ChoiceField(
        label="Days",
        initial=ALL,
        choices=[
            (ALL, "All of them, also those to come"),
            (DAYS, "Only the last days, today included"),
            (DATES, "Only these dates"),
        ],
        widget=forms.RadioSelect,
    )
    days = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=MOST_DAYS,
        initial=30,
        label="How many of the last days",
    )
    first = forms.DateField(
        required=False, label="From", widget=forms.DateInput(attrs={"type": "date"})
    )
    last = forms.DateField(
        required=False, label="To", widget=forms.DateInput(attrs={"type": "date"})
    )
    password = forms.CharField(
        required=False,
        strip=False,
        max_length=LONGEST_PASSWORD,
        label="Password",
        help_text="At least 8 characters. Tell it apart from the address.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    expires = forms.DateField(
        required=False,
        validators=[MaxValueValidator(LAST_DAY)],
        label="Ends after",
        help_text="The last day on which it works. Empty: until it is revoked.",
        widget=forms.DateInput(attrs={"type": "date"}),
    )
    downloads = forms.BooleanField(required=False, label="Tables can be downloaded as CSV")
    hosts = LinesField(
        parse=inputs.framing_hosts,
        required=False,
        label="May be shown in a frame on",
        help_text="Hostnames such as example.com, one a line. Empty: nowhere. "
        "Not together with a password.",
    )

    def __init__(self, *args: Any, actor: Actor, place: Property, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.place = place
        self.fields["shows"].choices = [  # type: ignore[attr-defined]
            (module, modules.NAMES[module])
            for module in can_share(actor, place)
            if module != ALWAYS
        ]

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        choice = data.get("range")
        if choice == DAYS and not data.get("days") and "days" not in self.errors:
            self.add_error("days", f"Write how many days: 1 to {MOST_DAYS:,}.")
        if choice == DATES:
            first, last = data.get("first"), data.get("last")
            for name in ("first", "last"):
                if not data.get(name) and name not in self.errors:
                    self.add_error(name, "Write a date.")
            if first and last and last < first:
                self.add_error("last", "It ends before it begins: exchange the dates.")
        return data

    def wanted(self) -> WantedLink:
        """What was asked for, of a form without errors."""
        data = self.cleaned_data
        dates = data["range"] == DATES
        return WantedLink(
            name=data["name"],
            shows=data["shows"],
            days=data["days"] if data["range"] == DAYS else None,
            first=data["first"] if dates else None,
            last=data["last"] if dates else None,
            password=data["password"],
            downloads=data["downloads"],
            hosts=data["hosts"],
            expires=self._end(),
        )

    def _end(self) -> datetime | None:
        day = self.cleaned_data["expires"]
        if day is None:
            return None
        return periods.day_start(day + timedelta(days=1), periods.zone(self.place.timezone))
