"""Documents say what is there: every setting, every command, every link; and nothing else."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
HOSTING = (ROOT / "docs" / "hosting.md").read_text()
PRIVATE = {
    "AKTIVAT_FAULT",
    "AKTIVAT_STARTED_BY_MAKE",
    "CELERY_BROKER_URL",
}  # of tests and ourselves


def first_column(heading: str) -> set[str]:
    table = HOSTING.split(heading, 1)[1].split("\n\n", 1)[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("|")]
    return {word for cell in cells for word in re.findall(r"`([^`]+)`", cell)}


def test_every_setting_is_described() -> None:
    code = [path.read_text() for path in (ROOT / "aktivat").rglob("*.py")]
    read = {
        name
        for text in code
        for pattern in (
            r'env(?:str|int|bool|list)\("([A-Z_]+)"',
            r'environ(?:\.get)?[\[(]"([A-Z_]+)"',
        )
        for name in re.findall(pattern, text)
    } - PRIVATE
    assert read
    described = first_column("| variable | default | meaning |")
    assert read - described == set()
    known = read | {"PORT", "BIND"}
    assert described - known == set()


def test_every_command_is_described() -> None:
    commands = {
        path.stem for path in ROOT.glob("*/management/commands/*.py") if path.stem != "__init__"
    }
    described = {word.split()[0] for word in first_column("| `manage.py ...` | what |")}
    assert described - {"manage.py"} == commands


def test_every_link_leads_somewhere() -> None:
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")):
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            if "://" not in link:
                assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_models_have_their_migrations() -> None:
    from django.core.management import call_command

    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


def test_the_failure_matrix_is_that_of_make_chaos() -> None:
    from tests.instruments.chaos.controls import CONTROLS
    from tests.instruments.chaos.matrix import CASES

    text = (ROOT / "docs" / "reliability.md").read_text()
    table = text.split("| case | fault | expected | measured |", 1)[1].split("\n\n", 1)[0]
    rows = [line.split("|") for line in table.splitlines()[2:]]
    assert [row[1].strip(" `") for row in rows] == list(CASES)
    for row, case in zip(rows, CASES.values(), strict=True):
        assert (row[2].strip(), row[3].strip()) == (case.fault, case.expected)
        assert row[4].strip()
    for control in CONTROLS:
        assert f"`{control.name}`" in text


def test_every_switch_of_a_property_is_described() -> None:
    from properties.capture import SWITCHES

    text = (ROOT / "docs" / "properties.md").read_text()
    for switch in SWITCHES:
        assert f"| `{switch.name}` | {switch.help} |" in text
    table = text.split("| switch | what |", 1)[1].split("\n\n", 1)[0]
    assert len(table.splitlines()) == len(SWITCHES) + 2


def test_every_choice_of_a_property_is_described() -> None:
    from properties.models import Goal, Property

    text = (ROOT / "docs" / "properties.md").read_text()
    for choice in (*Property.Privacy, *Property.Signals, *Goal.Kind):
        assert f"| `{choice}` |" in text
