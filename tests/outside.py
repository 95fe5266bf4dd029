"""Pytest plugin: what tests need from outside the repository, real data and a browser.

In: AKTIVAT_TESTDATA (a folder), AKTIVAT_CHROMIUM (a program), AKTIVAT_BROWSER=0 (no browser
tests), AKTIVAT_REQUIRE_ALL=1 (what is missing fails: .ci/run sets it). Out: the fixtures
`testdata` and Playwright's `page`; closing lines that name what did not run and why.
"""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

# Debian's Chromium without windows: a page opens in it for a quarter of the CPU time.
WINDOWLESS = "chromium-headless-shell"
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
# Chromium obeys the last list of features alone, so Playwright's own stands here again. Ours are
# the first two: pages behind the address field that nobody types in, made anew with every window.
UNUSED = (
    "WebUIOmniboxPopup",
    "WebUIOmniboxAimPopup",
    "AimEnabled",
    "AvoidCorsURLLoaderRestartOnRedirect",
    "AvoidUnnecessaryBeforeUnloadCheckSync",
    "DestroyProfileOnBrowserClose",
    "HttpsFirstBalancedModeAutoEnable",
    "HttpsUpgrades",
    "LensOverlay",
    "MediaRouter",
    "NetworkTimeServiceQuerying",
    "OptimizationHints",
    "PaintHolding",
    "PreconnectToSearch",
    "ThirdPartyStoragePartitioning",
)
ARGUMENTS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    f"--disable-features={','.join(UNUSED)}",
]
MISSING: dict[str, str] = {}  # what -> what to do; printed at the end


def miss(what: str, remedy: str) -> None:
    """End the asking test: skipped with a closing line, or failed where all is required."""
    MISSING[what] = remedy
    if os.environ.get("AKTIVAT_REQUIRE_ALL") == "1":
        pytest.fail(f"{what} did not run. {remedy}", pytrace=False)
    pytest.skip(f"{what} did not run. {remedy}")


@pytest.fixture(scope="session")
def testdata() -> Path:
    """The folder with the real data."""
    folder = Path(os.environ.get("AKTIVAT_TESTDATA") or "nowhere")
    if not folder.is_dir():
        miss("Tests on real data", "Set AKTIVAT_TESTDATA to the folder that holds it.")
    return folder


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """Playwright starts the system's Chromium; nothing is downloaded."""
    return browser_type_launch_args | {
        "executable_path": find_chromium(WINDOWLESS, *CHROMIUMS),
        "args": ARGUMENTS,
    }


def find_chromium(*names: str) -> str:
    """The program that AKTIVAT_CHROMIUM names, or the first of these that the system has."""
    if os.environ.get("AKTIVAT_BROWSER") == "0":
        miss("Browser tests", "AKTIVAT_BROWSER=0 is set: unset it to run them.")
    chosen = os.environ.get("AKTIVAT_CHROMIUM")
    if chosen:
        program = chosen if Path(chosen).is_file() else None
    else:
        program = next((found for name in names if (found := shutil.which(name))), None)
    if program is None:
        miss(
            "Browser tests",
            "Install Chromium (Debian, Ubuntu: apt-get install chromium), "
            "or set AKTIVAT_CHROMIUM to its program.",
        )
    return str(program)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of pytest-xdist prints nothing: it hands what it missed to the one that does."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["missing"] = MISSING


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    MISSING.update(getattr(node, "workeroutput", {}).get("missing", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for what, remedy in MISSING.items():
        terminalreporter.section("NOT EVERYTHING RAN", red=True)
        terminalreporter.write_line(f"{what} did not run. {remedy}", red=True)
