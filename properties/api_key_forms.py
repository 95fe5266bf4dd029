"""The form for an API key, new or there already. What a key may be stands in issuing.py."""

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from typing import Any

from django import forms
from django.core.validators import MaxValueValidator

from accounts import modules
from accounts.models import Account
from properties import inputs, issuing
from properties.access import Actor
from properties.forms import ParsedField
from properties.granting import Refused
from properties.models import ApiKey, Property


class ApiKeyForm(forms.Form):
    """A name, a matrix of module x verb in one scope, and an end."""

    name = ParsedField(
        parse=inputs.name,
        max_length=120,
        help_text="What will use it, for example “Nightly export”.",
    )
    grants = forms.MultipleChoiceField(
        choices=[
            (f"{module}:{verb}", f"{verb} {module}")
            for module in modules.MODULES
            for verb in modules.VERBS
        ],
        error_messages={"required": "Tick at least one box: a key without rights can do nothing."},
    )
    properties = forms.MultipleChoiceField(
        required=False,
        label="Only in these properties",
        help_text="None ticked: the whole account, later properties included.",
        widget=forms.CheckboxSelectMultiple,
    )
    expires = forms.DateField(
        required=False,
        validators=[MaxValueValidator(issuing.LAST_DAY)],
        label="Ends after",
        help_text="The last day (in UTC) on which it works. Empty: until it is revoked.",
        widget=forms.DateInput(attrs={"type": "date"}),
    )

    def __init__(
        self, *args: Any, actor: Actor, account: Account, key: ApiKey | None = None, **kwargs: Any
    ) -> None:
        if key is not None:
            kwargs["initial"] = _initial(key)
        super().__init__(*args, **kwargs)
        self.actor, self.account, self.key = actor, account, key
        places = actor.properties(account)
        if key is not None:  # what the key has, it may keep
            places = list(
                {place.pk: place for place in [*places, *issuing.grants_of(key)[1]]}.values()
            )
        self.places = {place.key: place for place in places}
        choices = [(place.key, place.name) for place in places]
        self.fields["properties"].choices = choices  # type: ignore[attr-defined]

    def matrix(self) -> Iterator[tuple[str, str, list[tuple[str, str, bool]]]]:
        """(module, its name on the page, [(verb, value of its box, ticked)]) for every module of
        the rulebook, in the order of the page: a row each, a column for each verb."""
        ticked = set(self["grants"].value() or [])
        for module in modules.MODULES:
            values = [(verb, f"{module}:{verb}") for verb in modules.VERBS]
            boxes = [(verb, value, value in ticked) for verb, value in values]
            yield module, modules.NAMES[module], boxes

    def save(self, now: datetime, request: Any) -> str:
        """The secret of a new key, "" for one that was there; None of both and an error when it is
        more than the actor may give."""
        data = self.cleaned_data
        places: list[Property] = [self.places[key] for key in data["properties"]]
        asked: dict[str, Any] = {
            "name": data["name"],
            "grants": [modules.parse_grant(text) for text in data["grants"]],
            "places": places,
            "expires": self._end(),
            "now": now,
            "request": request,
        }
        try:
            if self.key is not None:
                issuing.change_key(self.actor, self.key, **asked)
                return ""
            return issuing.issue_key(self.actor, self.account, **asked)[1]
        except Refused as error:
            self.add_error("expires" if error.code == "expires" else None, str(error))
            return ""

    def _end(self) -> datetime | None:
        day = self.cleaned_data["expires"]
        if self.key is not None and day == _last_day(self.key.expires):
            return self.key.expires  # the API may have set a moment within the day
        return datetime.combine(day + timedelta(days=1), time(), UTC) if day else None


def _initial(key: ApiKey) -> dict[str, Any]:
    grants, places = issuing.grants_of(key)
    return {
        "name": key.name,
        "grants": issuing.texts(grants),
        "properties": [place.key for place in places],
        "expires": _last_day(key.expires),
    }


def _last_day(end: datetime | None) -> Any:
    return (end - timedelta(microseconds=1)).date() if end else None
