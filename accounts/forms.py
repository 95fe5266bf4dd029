"""What names an account (name and slug, checked for pages and commands alike), and a user."""

from typing import Any, ClassVar

from django import forms
from django.utils.text import slugify

from accounts.models import Account, User

# `all` means "every account" in /api/stats/track/all/...
RESERVED = frozenset({"all", "api", "admin", "new"})


def clean_name(text: str) -> str:
    """Not blank; control characters have no place in a name."""
    name = "".join(c for c in text if c.isprintable()).strip()
    if not name:
        raise forms.ValidationError("Enter a name.")
    return name


class AccountForm(forms.ModelForm):
    """A new account. An empty slug is made from the name."""

    class Meta:
        model = Account
        fields = ("name", "slug")
        widgets: ClassVar = {
            "name": forms.TextInput(
                attrs={"autocomplete": "organization", "autofocus": True, "placeholder": "Acme"}
            ),
            "slug": forms.TextInput(attrs={"autocomplete": "off", "data-slug-of": "id_name"}),
        }
        help_texts: ClassVar = {
            "name": "Your company, team or customer.",
            "slug": "Part of your links. Lower-case letters, digits and hyphens.",
        }
        labels: ClassVar = {"slug": "Short name"}
        error_messages: ClassVar = {"slug": {"unique": "This short name is taken. Choose another."}}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["slug"].required = False

    def clean_name(self) -> str:
        return clean_name(self.cleaned_data["name"])

    def clean_slug(self) -> str:
        made = slugify(self.cleaned_data.get("name", ""))[:40].strip("-")
        slug = self.cleaned_data["slug"] or made
        if not slug:
            raise forms.ValidationError("Enter a short name of letters and digits.")
        if slug in RESERVED:
            raise forms.ValidationError(f"{slug!r} is used by Aktivat itself. Choose another.")
        return slug


class AccountSettingsForm(forms.ModelForm):
    """What an account's owner may change about it."""

    class Meta:
        model = Account
        fields = ("name", "allow_support")
        help_texts: ClassVar = {
            "name": "Your company, team or customer.",
            "allow_support": "When you ask for help, whoever runs this installation can see your "
            "pages as one of your members for 30 minutes: never passwords, keys or two-factor "
            "codes. Each time stands in your audit log, with the reason.",
        }
        labels: ClassVar = {"allow_support": "Let support look at this account"}

    def clean_name(self) -> str:
        return clean_name(self.cleaned_data["name"])


class SupportForm(forms.Form):
    """Why somebody of the staff looks at the product as a user (accounts/support.py)."""

    reason = forms.CharField(
        min_length=5,
        max_length=300,
        widget=forms.TextInput(attrs={"class": "vTextField", "autocomplete": "off"}),
        help_text="The customer reads it in the audit log: a ticket, or what was asked for.",
    )
    may_write = forms.BooleanField(
        required=False,
        label="Also change things",
        help_text="Without it nothing can be changed. Keys and members stay closed either way.",
    )

    def __init__(self, *args: Any, may_write: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["may_write"].disabled = not may_write

    def clean_reason(self) -> str:
        return clean_name(self.cleaned_data["reason"])


class ProfileForm(forms.ModelForm):
    """What others see of a user."""

    class Meta:
        model = User
        fields = ("name",)
        widgets: ClassVar = {"name": forms.TextInput(attrs={"autocomplete": "name"})}
        help_texts: ClassVar = {"name": "Shown to the other members of your accounts."}

    def clean_name(self) -> str:
        return "".join(c for c in self.cleaned_data["name"] if c.isprintable()).strip()
