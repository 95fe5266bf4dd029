"""Fixtures of all tests; the servers come from tests/servers.py."""

from typing import Any

pytest_plugins = ["tests.servers", "tests.people", "tests.savings"]


# Files of half a minute and more: they begin first, or one worker would end alone with the last.
# Before them what looks through all there is: a worker's servers still hold little.
LONG = (
    "test_supervisor",
    "test_erasing",
    "test_register",
    "test_isolation",
    "test_openapi",
    "test_every_page",
    "test_proof",
    "test_import_log",
    "test_pipeline",
    "test_docker",
    "test_report_browser",
    "test_external_servers",
    "test_live_page",
    "test_queries",
    "test_truth_wikiticker",
    "test_headers",
    "test_shared_reports",
    "test_report_page",
    "test_files",
    "test_reports",
    "test_segments",
    "test_delivery",
)


def pytest_collection_modifyitems(items: list[Any]) -> None:
    last = len(LONG)
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else last)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """How large the proof of access was (tests/test_proof.py)."""
    passed = terminalreporter.stats.get("passed", [])
    cells = sum(
        value for report in passed for name, value in report.user_properties if name == "cells"
    )
    if cells:
        terminalreporter.write_line(f"access: {cells:,} cells of route x actor hold")
