"""Forms of properties and goals. What a value may be stands in inputs.py."""

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from django import forms

from properties import goals, inputs, periods
from properties.capture import SWITCHES, Switch
from properties.models import Goal, Property

Parse = Callable[[str], Any]


class ParsedField(forms.CharField):
    """One line of text, read by a function of inputs.py."""

    def __init__(self, *, parse: Parse, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.parse = parse

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        return self.parse(text) if text else text


class LinesField(forms.CharField):
    """A list, one value a line, read by a function of inputs.py."""

    def __init__(self, *, parse: Callable[[list[str]], list[str]], **kwargs: Any) -> None:
        kwargs.setdefault(
            "widget", forms.Textarea(attrs={"rows": 3, "spellcheck": "false", "class": "mono"})
        )
        super().__init__(**kwargs)
        self.parse = parse

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def clean(self, value: Any) -> Any:
        return self.parse(super().clean(value).splitlines())

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(self.prepare_value(initial), data)


def zone_field() -> ParsedField:
    return ParsedField(
        parse=inputs.timezone,
        label="Time zone",
        max_length=60,
        help_text="Days and hours of the reports begin and end by this clock.",
        widget=forms.TextInput(
            attrs={"list": "zones", "autocomplete": "off", "spellcheck": "false"}
        ),
    )


def currency_field() -> ParsedField:
    return ParsedField(
        parse=inputs.currency,
        label="Currency",
        max_length=3,
        help_text="Three letters, such as EUR. Revenue is shown in it.",
        widget=forms.TextInput(
            attrs={"list": "currencies", "autocomplete": "off", "spellcheck": "false"}
        ),
    )


def zone_names() -> list[str]:
    """What the browser offers while a zone is typed: places, and UTC."""
    return ["UTC", *sorted(name for name in periods.zone_names() if _is_place(name))]


def _is_place(name: str) -> bool:
    return "/" in name and not name.startswith(("Etc/", "SystemV/", "posix/", "right/", "US/"))


class NewPropertyForm(forms.ModelForm):
    """The few things that a first event needs."""

    name = ParsedField(
        parse=inputs.name,
        max_length=120,
        widget=forms.TextInput(attrs={"autofocus": True, "placeholder": "Shop"}),
    )
    hostnames = LinesField(
        parse=inputs.hostnames,
        label="Address",
        help_text="The website, such as example.com (www is included). Several: one a line. "
        "An app or a server: *",
        widget=forms.Textarea(
            attrs={"rows": 1, "spellcheck": "false", "placeholder": "example.com"}
        ),
    )
    timezone = zone_field()
    currency = currency_field()

    class Meta:
        model = Property
        fields = ("name", "hostnames", "timezone", "currency")


class GeneralForm(forms.ModelForm):
    """What is measured, and by which clock, currency and rules."""

    name = ParsedField(parse=inputs.name, max_length=120)
    hostnames = LinesField(
        parse=inputs.hostnames,
        help_text="Events from other hosts are refused. One a line; example.com includes www, "
        "*.example.com every host below it, * allows all.",
    )
    timezone = zone_field()
    currency = currency_field()

    class Meta:
        model = Property
        fields: tuple[str, ...] = (
            "name",
            "hostnames",
            "timezone",
            "currency",
            "session_gap_minutes",
            "retention_days",
        )
        labels: ClassVar = {
            "session_gap_minutes": "Session gap",
            "retention_days": "Keep raw events",
        }
        help_texts: ClassVar = {
            "session_gap_minutes": "Minutes without an event after which a new session begins: "
            "5 to 60.",
            "retention_days": "Days. Reports outlive raw events; rebuilding and the event list "
            "need them.",
        }


class TrackingForm(forms.ModelForm):
    """Who is counted, as whom, and what the tracker records by itself."""

    capture = forms.MultipleChoiceField(
        required=False,
        label="Recorded automatically",
        choices=[(switch.name, switch.label) for switch in SWITCHES],
        widget=forms.CheckboxSelectMultiple,
    )
    search_parameters = LinesField(
        parse=inputs.search_parameters,
        label="Parameters with a search term",
        help_text="With Site search: the first of these that is filled in a page's address tells "
        "what was looked for, q in /find?q=tea. One a line. Counts from now on.",
    )
    excluded_addresses = LinesField(
        parse=inputs.addresses,
        required=False,
        label="Excluded addresses",
        help_text="Visits from these IP addresses or networks are not counted. One a line.",
    )

    class Meta:
        model = Property
        fields: tuple[str, ...] = (
            "privacy",
            "signals",
            "capture",
            "search_parameters",
            "strict_origin",
            "excluded_addresses",
            "rate_limit",
        )
        widgets: ClassVar = {"privacy": forms.RadioSelect, "signals": forms.RadioSelect}
        labels: ClassVar = {
            "privacy": "Visitors",
            "signals": "Browsers that ask not to be tracked",
            "strict_origin": "Take events only from its own sites",
            "rate_limit": "Most events a second",
        }
        help_texts: ClassVar = {
            "signals": "Do Not Track and Global Privacy Control. We obey in the script and again "
            "here, by the headers of the request.",
            "strict_origin": "Refuses requests whose Origin is not one of the hostnames: copies "
            "of your site, and servers and pixels that send none. An API key always passes.",
            "rate_limit": "More than that is told to come again later. 0: as this installation "
            "has it.",
        }

    def clean_capture(self) -> list[str]:
        return inputs.switches(self.cleaned_data["capture"])

    def clean_rate_limit(self) -> int:
        return inputs.rate_limit(self.cleaned_data["rate_limit"], self.instance.rate_limit)

    def switches(self) -> Iterator[tuple[Switch, bool]]:
        """Every switch, and whether it is ticked."""
        ticked = set(self["capture"].value() or [])
        for switch in SWITCHES:
            yield switch, switch.name in ticked


class PropertyForm(TrackingForm, GeneralForm):
    """All settings of a property, for the administration."""

    class Meta(TrackingForm.Meta):
        fields = (*GeneralForm.Meta.fields, *TrackingForm.Meta.fields)
        labels: ClassVar = {**GeneralForm.Meta.labels, **TrackingForm.Meta.labels}
        help_texts: ClassVar = {**GeneralForm.Meta.help_texts, **TrackingForm.Meta.help_texts}

    def clean_rate_limit(self) -> int:
        return self.cleaned_data["rate_limit"]  # who runs the installation may allow more


class GoalForm(forms.ModelForm):
    """A goal: its kind, and what that needs."""

    name = ParsedField(
        parse=inputs.name,
        max_length=120,
        help_text="How reports call it. trackr('convert', name) reaches an event goal, too.",
        widget=forms.TextInput(attrs={"placeholder": "Newsletter"}),
    )
    event = ParsedField(
        parse=inputs.goal_event,
        required=False,
        max_length=200,
        label="Event",
        help_text="Its name, such as signup. With a value, empty means any event.",
        widget=forms.TextInput(attrs={"spellcheck": "false", "autocomplete": "off"}),
    )
    page = ParsedField(
        parse=inputs.goal_page,
        required=False,
        max_length=1000,
        label="Page",
        help_text="Its path, such as /thanks; * stands for anything: /order/*. For a page only.",
        widget=forms.TextInput(attrs={"spellcheck": "false", "autocomplete": "off"}),
    )

    class Meta:
        model = Goal
        fields = ("name", "kind", "event", "page", "minimum")
        widgets: ClassVar = {"kind": forms.RadioSelect}
        labels: ClassVar = {"kind": "Reached when", "minimum": "Amount"}

    def __init__(self, *args: Any, place: Property, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.instance.property, self.instance.account = place, place.account
        self.fields["minimum"].min_value = 0  # type: ignore[attr-defined]
        self.fields[
            "minimum"
        ].help_text = f"In {place.currency}, the property's currency. For a value only."

    def clean_minimum(self) -> Any:
        minimum = self.cleaned_data["minimum"]
        if minimum is not None and minimum < 0:
            raise forms.ValidationError("Write 0 or more.")
        return minimum

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        if not self.errors:
            try:
                goals.clean(self.instance)
            except forms.ValidationError as error:
                self.add_error(None, error)


KEPT_DAYS = (0, 7, 30, 90)  # that a replaced key may go on


class ReplaceKeyForm(forms.Form):
    """A new public key, and how long the old one goes on."""

    days = forms.TypedChoiceField(
        coerce=int,
        initial=30,
        label="The old key goes on for",
        choices=[
            (days, f"{days} days" if days else "not at all: events with it are refused at once")
            for days in KEPT_DAYS
        ],
        widget=forms.RadioSelect,
    )
    sure = forms.BooleanField(
        label="I will put the new key into every page, app and server that sends events",
        error_messages={"required": "Tick this: whatever keeps the old key stops being counted."},
    )
