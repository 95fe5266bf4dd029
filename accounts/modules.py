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

# How people read them: heading -> {module: (its name, what it shows or does)}.
GROUPS: dict[str, dict[str, tuple[str, str]]] = {
    "Reports": {
        "realtime": ("Live", "Who is here now, page by page."),
        "audience": ("Audience", "How many visitors, from which countries, with which devices."),
        "sources": ("Sources", "Where they came from: search, links, campaigns."),
        "content": ("Content", "Which pages they saw, entered and left by."),
        "events": ("Events", "What they did, goals, and each event as it arrives."),
    },
    "People and money": {
        "people": ("People", "Who they are: names, ids and the path of one person."),
        "ecommerce": ("E-commerce", "Orders, products and revenue."),
    },
    "Tools": {
        "experiments": ("Experiments", "Variants and which one won; manage: start and stop them."),
        "queries": ("Queries", "Questions in SQL over raw events, scheduled ones too."),
        "chat": ("Chat", "Conversations with visitors; manage: answer them."),
    },
    "Administration": {
        "property": ("Properties", "Settings, goals and snippets; manage: change them, add more."),
        "members": ("Members", "Who belongs to the account; manage: invite, remove, give rights."),
        "api_keys": ("API keys", "Keys of programs; manage: make and revoke them."),
        "usage": ("Usage", "How many events the account took, and its limits."),
        "audit": ("Audit log", "Who did what, when and from where."),
    },
}
NAMES = {module: name for group in GROUPS.values() for module, (name, _) in group.items()}
ASKED_OF_ACCOUNTS = ("members", "api_keys", "usage", "audit")  # never of a single property
# What a share link may show: an address is handed on, so nobody's name, query or chat is behind it.
SHAREABLE = ("realtime", "audience", "sources", "content", "events", "ecommerce", "experiments")

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
# What each is for, in a line.
ROLES_EXPLAINED = {
    "owner": "Everything, always; makes and ends owners.",
    "admin": "Everything, but for ownership.",
    "analyst": "Sees every report, people and revenue too, and writes queries.",
    "marketer": "Sees reports and revenue, and runs experiments; sees no people.",
    "support": "Sees who is here, people and their events, and answers chats.",
    "viewer": "Sees reports, without people and revenue.",
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
