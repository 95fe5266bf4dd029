"""The map stays true: imports point one way, every rule has one home, nothing unsafe is shown.

Reads the repository's files; needs no server.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
APPS = (
    "accounts",
    "properties",
    "tracking",
    "reports",
    "privacy",
)  # each may import those before it
OURS = (*APPS, "aktivat")
FRONTEND = ROOT / "frontend"


def sources(*packages: str) -> Iterator[Path]:
    """Every .py file of the packages, migrations excepted."""
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            if "migrations" not in path.parts:
                yield path


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of everything a file imports, inside functions as well."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write imports from the root"
            yield node.lineno, node.module or ""


def named(paths: Iterator[Path]) -> list:
    return [pytest.param(path, id=str(path.relative_to(ROOT))) for path in paths]


def test_imports_point_one_way() -> None:
    wrong = []
    for place, app in enumerate(APPS):
        above = {*APPS[place + 1 :], "aktivat", "frontend", "tests"}
        for path in sources(app):
            for line, name in imports(path):
                if name.split(".")[0] in above:
                    wrong.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert wrong == []


def test_tests_are_imported_by_tests_only() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in sources(*OURS)
        for line, name in imports(path)
        if name.split(".")[0] == "tests"
    ]
    assert wrong == []


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in sources(*OURS, "tests")
        if path.read_text().strip() and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


def test_files_are_named_after_what_they_hold() -> None:
    vague = {"utils", "helpers", "common", "services", "manager", "misc", "lib"}
    assert [str(p) for p in sources(*OURS, "tests") if p.stem in vague] == []


# One home per rule: what may be spelt in one file only. (pattern, home, why)
HOMES = [
    (r"\bZoneInfo\(|\bavailable_timezones\(", "properties/periods.py", "time zones"),
    (
        r"^(VERBS|ROLES|MODULES|PROPERTY_MODULES|ACCOUNT_MODULES)\b.*=",
        "accounts/modules.py",
        "roles",
    ),
    (r"f?[\"']\{\{?\{?account", "tracking/keys.py", "hash tags of Valkey keys"),
    (r"aktivat\.account\b", "accounts/tenancy.py", "the tenant of a transaction"),
    (r"CREATE POLICY|ROW LEVEL SECURITY", "accounts/rls.py", "row-level security"),
    (r"\bEUR \w{3}\b", "properties/currencies.py", "currencies"),
    (r"^DEFAULT_RANGE\b", "reports/questions.py", "the range of a reader who names none"),
    (r"\bclass Refusal\b|\bclass Reason\b", "tracking/refusals.py", "reasons of refusals"),
]


@pytest.mark.parametrize(("pattern", "home", "why"), HOMES, ids=[why for _, _, why in HOMES])
def test_a_rule_has_one_home(pattern: str, home: str, why: str) -> None:
    found = {
        str(path.relative_to(ROOT))
        for path in sources(*OURS)
        if re.search(pattern, path.read_text(), re.MULTILINE)
    }
    assert found <= {home}, f"{why}: belongs into {home}"
    assert (ROOT / home).is_file()


def test_cross_tenant_questions_say_so_in_their_name() -> None:
    """`.objects` of a model that belongs to an account begins with of() or across_accounts()."""
    allowed = re.compile(
        r"\b(Property|Grant|ApiKey|ShareLink|Invitation)\.objects\.(?!of\(|across_accounts\(|create\(|bulk_create\(|using\()"
    )
    wrong = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in sources(*OURS)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if allowed.search(line)
    ]
    assert wrong == []


# -- nothing unsafe reaches a page -----------------------------------------------------------------

UNSAFE_IN_PYTHON = (
    r"\bmark_safe\b|\bSafeString\b|autoescape=False|\bpickle\b|(?<![.\w])(eval|exec)\("
)
UNSAFE_IN_TEMPLATES = (
    r"\|\s*safe\b|safeseq|autoescape off|<script(?![^>]*\bsrc=)(?![^>]*application/json)|<style"
    r"|\sstyle=|\son[a-z]+=|javascript:"
)
UNSAFE_IN_SCRIPTS = (
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write\b|\beval\(|new Function\b|\.srcdoc"
)


def faults(pattern: str, paths: Iterator[Path]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
        for path in paths
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(pattern, line)
    ]


def test_python_marks_nothing_safe() -> None:
    assert faults(UNSAFE_IN_PYTHON, sources(*OURS)) == []


def test_templates_escape_everything_and_hold_no_inline_code() -> None:
    pages = sorted((FRONTEND / "templates").rglob("*.html"))
    assert len(pages) > 20
    assert faults(UNSAFE_IN_TEMPLATES, iter(pages)) == []


def test_scripts_build_no_markup_from_text() -> None:
    folders = (FRONTEND / "static" / "js", FRONTEND / "tracker")
    scripts = sorted(path for folder in folders for path in folder.rglob("*.js"))
    assert len(scripts) > 3
    assert faults(UNSAFE_IN_SCRIPTS, iter(scripts)) == []


# -- the look --------------------------------------------------------------------------------------


def tokens() -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """Colours of the light theme, of the dark one by the system, and of the chosen dark one."""
    text = (FRONTEND / "static" / "css" / "tokens.css").read_text()
    blocks = re.findall(r":root[^{]*\{([^}]*)\}", text)
    light, by_system, chosen = (dict(re.findall(r"(--[\w-]+):\s*(#\w+);", b)) for b in blocks)
    return light, by_system, chosen


def test_both_ways_to_the_dark_theme_give_the_same_colours() -> None:
    light, by_system, chosen = tokens()
    assert by_system == chosen
    assert light.keys() == chosen.keys()


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


TEXT_PAIRS = [
    *((text, ground) for text in ("--ink", "--muted", "--accent", "--accent-strong")
      for ground in ("--page", "--surface", "--sunken")),
    *((f"--{word}", ground) for word in ("good", "bad", "warn")
      for ground in ("--page", "--surface", f"--{word}-soft")),
    ("--accent", "--accent-soft"),
    ("--ink", "--accent-soft"),
    ("--ink", "--good-soft"),
    ("--accent-ink", "--accent"),
    ("--accent-ink", "--accent-strong"),
]  # fmt: skip


@pytest.mark.parametrize("theme", [0, 2], ids=["light", "dark"])
def test_text_can_be_read(theme: int) -> None:
    colours = tokens()[theme]
    weak = {
        f"{text} on {ground}": round(contrast(colours[text], colours[ground]), 2)
        for text, ground in TEXT_PAIRS
        if contrast(colours[text], colours[ground]) < 4.5
    }
    assert weak == {}
    for ground in ("--page", "--surface"):  # borders of fields: 3:1
        assert contrast(colours["--line-strong"], colours[ground]) >= 3


def test_stylesheets_take_colours_from_the_tokens() -> None:
    sheets = (FRONTEND / "static" / "css").glob("*.css")
    paths = [path for path in sheets if path.name not in {"tokens.css", "api-docs.css"}]
    assert faults(r":[^;{]*#[0-9a-fA-F]{3,8}\b", iter(paths)) == []
    known = set(re.findall(r"(--[\w-]+):", (FRONTEND / "static/css/tokens.css").read_text()))
    for path in paths:
        text = path.read_text()
        own = set(re.findall(r"(--[\w-]+):", text))
        used = set(re.findall(r"var\((--[\w-]+)\)", text))
        assert used - known - own == set(), path.name
