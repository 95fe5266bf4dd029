"""The documentation of each report, from the catalogue: `python -m tests.instruments.report_pages`.

Enters: nothing. Leaves: docs/reports/<name>.md and their list, which tests/test_docs_reports.py
compares. What a report shows and what its numbers mean stands in the code once.
"""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reports.parts import Report, Table

FOLDER = Path(__file__).parent.parent.parent / "docs" / "reports"
_MADE = "Made from `reports/catalogue.py` and `reports/metrics.py`; a test compares."


def pages() -> dict[str, str]:
    """File name -> text, of every report and of their list."""
    from reports.catalogue import OVERVIEW, REPORTS

    reports = [OVERVIEW, *REPORTS.values()]
    return {"README.md": _list(reports)} | {f"{one.name}.md": _page(one) for one in reports}


def _list(reports: "list[Report]") -> str:
    lines = [
        "# Reports",
        "",
        f"One page each, below a property and below a share link alike. {_MADE}",
        "",
        "A whole table, and its file, takes a second dimension after `by=`, such as `by=device` or "
        "`by=props:plan`; whoever asks must be allowed to view the modules of both.",
        "",
        "With `changes=1` (in the menu of the comparison) every row of every table stands beside "
        "its own numbers in the range compared with: in the same hours of it, as long as the range "
        "is not over. A dash is unknown; `was 0` had nothing that a percentage could lead away "
        "from. Files have columns `<metric>_before` then, empty where nothing is known. Each table "
        "is asked twice.",
        "",
        "| report | question | needs |",
        "| --- | --- | --- |",
    ]
    for report in reports:
        question = report.question or "How many come, from where, to what, and is it more or less?"
        lines.append(f"| [{report.title}]({report.name}.md) | {question} | `{report.module}` |")
    return "\n".join(lines) + "\n"


def _page(report: "Report") -> str:
    address = "/p/<key>/" if report.name == "overview" else f"/p/<key>/{report.name}/"
    parts = [f"# {report.title}"]
    if report.question:
        parts.append(report.question)
    parts.append(
        f"`{address}`; opens with the right to view `{report.module}`. What needs another module "
        "is left out for whoever may not view that, and conversions where there is no goal. Range, "
        "comparison, filters and order stand in "
        f"the address; the same by a share link. {_MADE}"
    )
    if report.switches:
        names = ", ".join(f"`{name}`" for name in report.switches)
        parts.append(f"Needs switches of the [property](../properties.md): {names}.")
    if report.bots:
        parts.append("Of bots only, whatever the reader chooses elsewhere.")
    if report.tiles:
        parts.append("## Totals and curve")
        parts += _always(report.filters)
        parts.append(_numbers([(name, *report.words_of(name)) for name in report.tiles]))
    for block in report.blocks:
        parts.append(f"## {block.name.capitalize()}")
        parts.append(block.about)
    for card in report.cards:
        parts.append(f"## {card.title}")
        for table in card.tables:
            parts += _table(report, table, alone=len(card.tables) == 1)
    return "\n\n".join(parts) + "\n"


def _always(filters: list[Any] | None) -> list[str]:
    return [f"Always filtered by `{json.dumps(filters)}`."] if filters else []


def _table(report: "Report", table: "Table", alone: bool) -> list[str]:
    parts = [] if alone else [f"### {table.heading}"]
    place = f"{report.name}/{table.name}"
    whole = f"table/{table.dimension}" if report.name == "overview" else place
    each = " and ".join(f"`{name}`" for name in table.dimensions)
    parts.append(
        f"A row for each {each}; whole: `/p/<key>/{whole}/`, as a file: `/p/<key>/{whole}.csv`."
    )
    parts += _always(table.filters)
    shown = (*table.columns, *table.extra)
    parts.append(_numbers([(name, *table.words_of(name)) for name in shown]))
    return parts


def _numbers(rows: list[tuple[str, str, str]]) -> str:
    lines = ["| number | of the API | what it means |", "| --- | --- | --- |"]
    for name, label, definition in rows:
        asked = "" if name == "share" else f"`{name}`"
        lines.append(f"| {label} | {asked} | {definition} |")
    return "\n".join(lines)


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    made = pages()
    for old in FOLDER.glob("*.md"):
        if old.name not in made:
            old.unlink()
    for name, text in made.items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aktivat.settings")
    import django

    django.setup()
    main()
