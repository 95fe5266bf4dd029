"""Forms of privacy: who is meant, and that it is meant."""

from typing import Any

from django import forms
from django.db import connection

from privacy.subjects import NoSuchSubject, Subject, subject_of
from properties.models import Property

LONGEST = 200


class SubjectForm(forms.Form):
    """A visitor or a person. `subject` after it is valid."""

    by = forms.ChoiceField(
        label="Known by",
        choices=[
            ("visitor", "Visitor id, as the cookie trackit_v_visitor has it"),
            ("number", "Virtual visitor id, the number in reports"),
            ("user", "User id, as loginUser was told"),
        ],
        widget=forms.RadioSelect,
        initial="visitor",
    )
    value = forms.CharField(
        label="Id",
        max_length=LONGEST,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )

    subject: Subject

    def __init__(self, *args: Any, place: Property, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.place = place

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if "by" in cleaned and "value" in cleaned:
            try:
                self.subject = self._named(cleaned["by"], cleaned["value"])
            except NoSuchSubject as error:
                self.add_error("value", str(error))
        return cleaned

    def _named(self, by: str, value: str) -> Subject:
        named: dict[str, Any] = {by: value}
        if by == "number":
            if not (value.isascii() and value.isdecimal()):
                raise NoSuchSubject("A virtual visitor id is a whole number.")
            named = {"number": int(value)}
        with connection.cursor() as cursor:
            return subject_of(cursor, self.place, **named)


class ExportForm(SubjectForm):
    kind = forms.ChoiceField(choices=[("json", "JSON"), ("csv", "CSV")], required=False)


class EraseForm(SubjectForm):
    sure = forms.BooleanField(
        label="Erase everything about this visitor or person, for good",
        error_messages={"required": "Tick this: nobody can bring it back."},
    )


class DeleteForm(forms.Form):
    """Deleting wants the name typed, so that it is this one that is meant."""

    typed = forms.CharField(
        label="Type the name to confirm",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )

    def __init__(self, *args: Any, name: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.name = name
        self.fields["typed"].label = f"Type {name} to confirm"

    def clean_typed(self) -> str:
        typed = self.cleaned_data["typed"]
        if typed.strip() != self.name:
            raise forms.ValidationError(f"That is not the name. Type {self.name}.")
        return typed
