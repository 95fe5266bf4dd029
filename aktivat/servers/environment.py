"""The addresses of a running `make run`, left in AKTIVAT_HOME for the command line.

In: what the supervisor gives to its programs. Out: the same variables for `manage.py`, so that
`manage.py create_account` in another terminal needs no setting. Called by supervisor.py (write)
and manage.py (adopt).
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path

# Adopted together or not at all: half of one installation and half of another would mix data.
GROUPS = (
    ("DATABASE_URL", "DATABASE_OWNER_URL", "DATABASE_WORKER_URL"),
    ("REDIS_URL", "BROKER_URL"),
    ("SECRET_KEY",),
    ("PORT", "BIND"),  # where the links that a command prints lead
)


def write(home: Path, values: Mapping[str, str]) -> None:
    """Leave the addresses (they hold passwords: readable by us only)."""
    kept = {name: values[name] for group in GROUPS for name in group if name in values}
    draft = home / "environment.new"
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600, exist_ok=False)
    with draft.open("w") as file:
        json.dump(kept, file, indent=1)
    draft.replace(home / "environment.json")


def adopt(home: Path) -> None:
    """Complete os.environ from the home's file; what is set there already is left alone."""
    try:
        kept = json.loads((home / "environment.json").read_text())
    except (OSError, ValueError):
        return
    if os.environ.get("AKTIVAT_ENV") == "production":
        return
    for group in GROUPS:
        if not any(os.environ.get(name) for name in group):
            os.environ.update({name: kept[name] for name in group if name in kept})
