"""Forms of members: who is invited as what, and what becomes of the keys of somebody who leaves."""

from typing import Any

from django import forms

from accounts import modules
from accounts.models import Account
from properties import granting
from properties.access import Actor, Right
from properties.models import Property


class InviteForm(forms.Form):
    """An address, a role, and where it holds. Offers roles that the actor can give somewhere."""

    email = forms.EmailField(
        label="Email",
        max_length=254,
        widget=forms.EmailInput(attrs={"placeholder": "bob@example.com", "autocomplete": "off"}),
    )
    role = forms.ChoiceField(
        widget=forms.RadioSelect,
        help_text="What it starts with. You can change every right afterwards.",
        error_messages={"required": "Choose a role."},
    )
    properties = forms.MultipleChoiceField(
        required=False,
        label="Only in these properties",
        help_text="None ticked: the whole account, later properties included.",
        widget=forms.CheckboxSelectMultiple,
    )

    def __init__(self, *args: Any, actor: Actor, account: Account, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.account = account
        self.own = granting.grantable_by(actor, account)
        self.places = {place.key: place for place in self.own.places.values()}
        self.fields["properties"].choices = [  # type: ignore[attr-defined]
            (place.key, place.name) for place in self.places.values()
        ]
        self.fields["role"].choices = [  # type: ignore[attr-defined]
            (role, f"{role.title()}: {modules.ROLES_EXPLAINED[role]}")
            for role in reversed(granting.ASSIGNABLE)
            if self._can_give(role)
        ]

    def _can_give(self, role: str) -> bool:
        scopes: list[Property | None] = [None, *self.places.values()]
        return any(
            all(map(self.own.has, granting.rights_of_role(role, self.account, [scope])))
            for scope in scopes
        )

    def rights(self) -> frozenset[Right]:
        chosen = [self.places[key] for key in self.cleaned_data["properties"]]
        return granting.rights_of_role(self.cleaned_data["role"], self.account, chosen or [None])


class KeysForm(forms.Form):
    """What becomes of the API keys and share links that she made."""

    keys = forms.ChoiceField(
        label="Keys and links that this person made",
        widget=forms.RadioSelect,
        initial="revoke",
        choices=[
            ("revoke", "Revoke them: nothing that this person made works any more"),
            ("keep", "Keep them: programs of the account go on with them"),
        ],
    )
