"""What tests need from outside and do not find: said at the end, and a failure where required."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.servers import ROOT

ASKS = "def test_real_data(testdata):\n    pass\n\ndef test_own(): pass\n"
WORKERS = ("-p", "xdist", "-n", "2", "--dist", "loadfile")


@pytest.mark.parametrize("required", [False, True])
def test_what_workers_miss_is_named_and_fails_where_all_is_required(
    tmp_path: Path, required: bool
) -> None:
    asking = tmp_path / "test_asking.py"
    asking.write_text(ASKS)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # schemathesis alone takes seconds to load
        "AKTIVAT_TESTDATA": "",
        "AKTIVAT_REQUIRE_ALL": "1" if required else "0",
    }
    del environment["DJANGO_SETTINGS_MODULE"]
    place = ("--rootdir", tmp_path, "-c", "/dev/null", "--basetemp", tmp_path / "base")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.outside", *WORKERS, *place, asking],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert "NOT EVERYTHING RAN" in done.stdout, done.stdout + done.stderr
    assert "Set AKTIVAT_TESTDATA" in done.stdout.split("NOT EVERYTHING RAN")[1]
    assert ("1 passed, 1 error" if required else "1 passed, 1 skipped") in done.stdout
    assert done.returncode == (1 if required else 0)


def test_workers_leave_no_server_and_no_folder(tmp_path: Path) -> None:
    """Also when they stop at the first failure; the process that hands out tests starts none."""
    failing = tmp_path / "test_failing.py"
    failing.write_text("def test_it():\n    assert False\n")
    ours = ("AKTIVAT_", "DATABASE_", "DJANGO_", "REDIS_", "BROKER_", "PYTEST_", "SECRET_KEY")
    environment = {name: v for name, v in os.environ.items() if not name.startswith(ours)}
    environment |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "TMPDIR": str(tmp_path)}
    plugins = ("-p", "xdist", "-p", "pytest_django.plugin", "-p", "tests.servers")
    place = ("--rootdir", tmp_path, "-c", "/dev/null", "--basetemp", tmp_path / "base")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-n", "1", *plugins, *place, failing],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert "1 failed" in done.stdout, done.stdout + done.stderr
    assert list(tmp_path.glob("aktivat-test-*")) == []
    assert [p for p in psutil.process_iter(["cmdline"]) if str(tmp_path) in str(p.info)] == []
