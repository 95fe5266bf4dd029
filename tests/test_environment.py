"""The command line in another terminal: it finds what `make run` serves, and where."""

import os
from pathlib import Path

import pytest


def test_a_command_knows_the_port_that_make_run_listens_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aktivat.servers import environment
    from properties.management.answers import public_url

    environment.write(tmp_path, {"PORT": "8123", "BIND": "0.0.0.0", "HOME": "/nowhere"})
    for name in ("PORT", "BIND"):
        monkeypatch.delenv(name, raising=False)
    home = os.environ.get("HOME")
    environment.adopt(tmp_path)
    try:
        assert public_url() == "http://127.0.0.1:8123"
        assert os.environ.get("HOME") == home
    finally:
        for name in ("PORT", "BIND"):
            os.environ.pop(name, None)


def test_what_is_set_already_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from aktivat.servers import environment
    from properties.management.answers import public_url

    environment.write(tmp_path, {"PORT": "8123", "BIND": "127.0.0.1"})
    monkeypatch.setenv("PORT", "9000")
    monkeypatch.delenv("BIND", raising=False)
    environment.adopt(tmp_path)
    assert public_url() == "http://127.0.0.1:9000"
