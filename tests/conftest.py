"""Fixtures of all tests; the servers come from tests/servers.py."""

from typing import Any

pytest_plugins = ["tests.servers", "tests.people"]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """How large the proof of access was (tests/test_proof.py)."""
    passed = terminalreporter.stats.get("passed", [])
    cells = sum(
        value for report in passed for name, value in report.user_properties if name == "cells"
    )
    if cells:
        terminalreporter.write_line(f"access: {cells:,} cells of route x actor hold")
