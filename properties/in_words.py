"""What somebody may do, as a sentence: "May view Audience and Sources of Shop; may manage Chat
everywhere." Shown above the matrix of a member, in the list, and in an invitation.

Enters: rights and the properties they may name. Leaves: text. Nothing is decided here.
"""

from collections.abc import Iterable, Mapping
from itertools import groupby

from accounts import modules
from properties import granting
from properties.access import Right

# What people ask about first when they let somebody in.
SENSITIVE = ("people", "ecommerce")


def sentence(rights: Iterable[Right], names: Mapping[int, str]) -> str:
    """In words; `names` are the names of properties by primary key."""
    held = granting.tidy(rights)
    everything = {(module, "manage", None) for module in modules.MODULES}
    if {(right.module, right.verb, right.property_id) for right in held} == everything:
        return "May view and manage everything."
    if not held:
        return "May do nothing."
    where: dict[tuple[str, str], list[int | None]] = {}
    for right in granting.listed(held):
        where.setdefault((right.verb, right.module), []).append(right.property_id)
    order = {verb: place for place, verb in enumerate(modules.VERBS)}
    rows = sorted(
        ((pks, verb, module) for (verb, module), pks in where.items()),
        key=lambda row: (order[row[1]], [pk or 0 for pk in row[0]]),
    )
    parts = []
    for (pks, verb), group in groupby(rows, key=lambda row: (row[0], row[1])):
        mentioned = [modules.NAMES[module] for _, _, module in group]
        parts.append(f"may {verb} {joined(mentioned)} {places(pks, names)}")
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}. {_hidden(held)}".strip()


def _hidden(rights: frozenset[Right]) -> str:
    """What is worth saying that she cannot see."""
    seen = {right.module for right in rights}
    unseen = [modules.NAMES[module] for module in SENSITIVE if module not in seen]
    return f"Cannot see {joined(unseen, 'or')}." if unseen else ""


def places(pks: Iterable[int | None], names: Mapping[int, str]) -> str:
    known = sorted(names[pk] for pk in pks if pk is not None and pk in names)
    return "everywhere" if None in pks else f"of {joined(known)}"


def joined(words: list[str], last: str = "and") -> str:
    """`A, B and C`; an empty list is "nothing"."""
    if len(words) < 2:
        return words[0] if words else "nothing"
    return f"{', '.join(words[:-1])} {last} {words[-1]}"


def changes(
    more: Iterable[Right], less: Iterable[Right], names: Mapping[int, str]
) -> list[tuple[str, str]]:
    """("+" or "-", what) for each way in which rights differ from those of a role."""
    found: dict[tuple[str, str, str], list[int | None]] = {}
    for sign, rights in (("+", more), ("-", less)):
        for right in granting.listed(rights):
            found.setdefault((sign, right.verb, right.module), []).append(right.property_id)
    return [
        (sign, f"{verb} {modules.NAMES[module]} {places(pks, names)}")
        for (sign, verb, module), pks in found.items()
    ]
