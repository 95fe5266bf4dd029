"""The rulebook: which modules, verbs and roles exist.

A table and nothing else. Grants (properties/models.py) name its modules and verbs, THE DOOR
(properties/access.py) reads it; a module or verb that does not stand here raises at import.
"""

from collections.abc import Iterator

VERBS = ("view", "manage")  # whoever may manage a module may view it

PROPERTY_MODULES = (
    "realtime",
    "audience",
    "sources",
    "content",
    "events",
    "people",
    "ecommerce",
    "experiments",
    "queries",
    "chat",
)
ACCOUNT_MODULES = ("property", "members", "api_keys", "usage", "audit")
MODULES = PROPERTY_MODULES + ACCOUNT_MODULES
ASKED_OF_ACCOUNTS = ("members", "api_keys", "usage", "audit")  # never of a single property

_REPORTS = ("realtime", "audience", "sources", "content", "events")

# role -> {module: verb}; a preset of grants, which can then be changed one by one.
ROLES: dict[str, dict[str, str]] = {
    "owner": dict.fromkeys(MODULES, "manage"),
    "admin": dict.fromkeys(MODULES, "manage"),
    "analyst": dict.fromkeys(PROPERTY_MODULES, "view") | {"queries": "manage"},
    "marketer": dict.fromkeys((*_REPORTS, "ecommerce"), "view") | {"experiments": "manage"},
    "support": dict.fromkeys(("realtime", "people", "events"), "view") | {"chat": "manage"},
    "viewer": dict.fromkeys(_REPORTS, "view"),
}


class UnknownRight(LookupError):
    """A route, grant or key names a module or verb that the rulebook does not know."""


def check(module: str, verb: str) -> None:
    """Raise UnknownRight unless both names stand in the rulebook."""
    if module not in MODULES:
        raise UnknownRight(f"There is no module {module!r}. Known: {', '.join(MODULES)}.")
    if verb not in VERBS:
        raise UnknownRight(f"There is no verb {verb!r}. Known: {', '.join(VERBS)}.")


def parse_grant(text: str) -> tuple[str, str]:
    """`"audience:view"` -> `("audience", "view")`; raises UnknownRight for anything else."""
    module, _, verb = text.partition(":")
    check(module, verb)
    return module, verb


def preset(role: str) -> Iterator[tuple[str, str]]:
    """(module, verb) pairs that a role starts with."""
    yield from ROLES[role].items()
