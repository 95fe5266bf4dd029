"""The matrix of a member's rights: a row for each module, a column for the account and for each
property, and in each cell nothing, view or manage.

Enters: rights, or the fields of the form. Leaves: rows for the template, or rights. What may be
given, granting.py decides; a choice that the actor cannot make is disabled here, and refused there.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from accounts import modules
from accounts.models import Account
from properties.access import Right
from properties.granting import Grantable, preset_in, rights_of_role, scope_of
from properties.models import Property

EVERYWHERE = "everywhere"
MOST_COLUMNS = 6  # of properties that are shown although nothing is given in them
CHOICES = (("", "–"), ("view", "view"), ("manage", "manage"))


@dataclass(frozen=True)
class Choice:
    value: str
    label: str
    is_chosen: bool
    can_be_chosen: bool


@dataclass(frozen=True)
class Cell:
    """One module in one place. `role`: what the role gives there, which makes a change visible."""

    name: str
    where: str
    is_everywhere: bool
    role: str
    choices: list[Choice]


@dataclass(frozen=True)
class Line:
    """One module: its name, what it is about, and its cells; None where it has no meaning."""

    name: str
    about: str
    cells: list[Cell | None]


@dataclass(frozen=True)
class Matrix:
    account: Account
    columns: Sequence[Property]  # beside that of the whole account
    rights: frozenset[Right]
    role: str
    own: Grantable

    def groups(self) -> Iterator[tuple[str, list[Line]]]:
        """(heading, lines) in the order of the rulebook."""
        scope = scope_of(self.role, self.account, self.rights)
        preset = preset_in(self.role, self.account, scope)
        for heading, members in modules.GROUPS.items():
            lines = []
            for module, (name, about) in members.items():
                cells: list[Cell | None] = [self._cell(module, None, preset)]
                only_account = module in modules.ASKED_OF_ACCOUNTS
                cells += [
                    None if only_account else self._cell(module, place, preset)
                    for place in self.columns
                ]
                lines.append(Line(name, about, cells))
            yield heading, lines

    def _cell(self, module: str, place: Property | None, preset: frozenset[Right]) -> Cell:
        chosen = verb_in(self.rights, module, place)
        choices = [
            Choice(verb, label, verb == chosen, verb == chosen or self._can(module, verb, place))
            for verb, label in CHOICES
        ]
        return Cell(
            name=field_of(module, place),
            where=place.name if place else "Everywhere",
            is_everywhere=place is None,
            role=verb_in(preset, module, place),
            choices=choices,
        )

    def _can(self, module: str, verb: str, place: Property | None) -> bool:
        if not verb:
            return self.own.may_give
        return self.own.has(Right(self.account.pk, place.pk if place else None, module, verb))


def field_of(module: str, place: Property | None) -> str:
    return f"{module}@{place.key if place else EVERYWHERE}"


def verb_in(rights: Iterable[Right], module: str, place: Property | None) -> str:
    """The strongest verb that is given for this place itself; "" for none."""
    pk = place.pk if place else None
    verbs = {right.verb for right in rights if (right.module, right.property_id) == (module, pk)}
    return "manage" if "manage" in verbs else "view" if verbs else ""


def read(data: Mapping[str, str], account: Account, places: Iterable[Property]) -> frozenset[Right]:
    """The rights that the form's fields say; other fields and other values are passed over."""
    return frozenset(
        Right(account.pk, place.pk if place else None, module, verb)
        for module in modules.MODULES
        for place in (None, *places)
        if (verb := data.get(field_of(module, place), "")) in modules.VERBS
    )


def filled(
    rights: frozenset[Right], role: str, where: Property | None, own: Grantable
) -> frozenset[Right]:
    """With one column as the role has it, as far as the actor can give it; role "": emptied."""
    pk = where.pk if where else None
    others = frozenset(right for right in rights if right.property_id != pk)
    preset = rights_of_role(role, own.account, [where]) if role else frozenset()
    return others | frozenset(right for right in own.cut(preset) if right.property_id == pk)


def columns(
    rights: Iterable[Right], places: Sequence[Property], asked: Iterable[str] = ()
) -> list[Property]:
    """Which properties have a column: all of few; of many, those with rights and those asked for
    by their keys."""
    if len(places) <= MOST_COLUMNS:
        return list(places)
    wanted, held = set(asked), {right.property_id for right in rights}
    return [place for place in places if place.pk in held or place.key in wanted]
