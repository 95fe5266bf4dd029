"""docs/members.md says which modules, roles, limits and addresses there are; and no others."""

import re
from pathlib import Path

DOCS = (Path(__file__).parent.parent / "docs" / "members.md").read_text()


def rows(heading: str) -> list[list[str]]:
    table = DOCS.split(heading, 1)[1].split("\n\n", 1)[0]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]


def test_the_modules_are_those_of_the_rulebook() -> None:
    from accounts import modules

    wanted = [
        [
            f"`{module}`",
            name,
            line,
            "account" if module in modules.ASKED_OF_ACCOUNTS else "account, property",
        ]
        for group in modules.GROUPS.values()
        for module, (name, line) in group.items()
    ]
    assert rows("| module | name | what | given for |") == wanted


def test_the_roles_are_those_of_the_rulebook() -> None:
    from accounts import modules

    found = {}
    for role, line, rights in rows("| role | what for | rights |"):
        name = role.strip("`")
        assert line == modules.ROLES_EXPLAINED[name]
        found[name] = {
            module: verb
            for verb, listed in (part.split(": ") for part in rights.split("; "))
            for module in (modules.MODULES if listed == "everything" else listed.split(", "))
        }
    assert found == modules.ROLES


def test_the_limits_of_invitations_are_those_of_the_code() -> None:
    from properties import invitations

    numbers = (
        f"{invitations.MOST_OPEN} invitations of an account may wait, "
        f"{invitations.MOST_A_DAY} a day can be sent"
    )
    assert numbers in DOCS
    assert (invitations.LIVES.days, invitations.PAUSE.seconds) == (7, 60)
    assert invitations.MOST_TO_ONE == 10


def test_every_address_of_the_api_is_described() -> None:
    from properties.urls import api_urlpatterns

    routes = {
        "/api/v1/" + re.sub(r"<str:(\w+)>", r"{\1}", str(p.pattern)).replace("<int:pk>", "{id}")
        for p in api_urlpatterns
        if "members" in str(p.pattern) or "invitations" in str(p.pattern)
    }
    described = {row[0].strip("`").split()[1] for row in rows("| address | needs | what |")}
    assert described == routes
