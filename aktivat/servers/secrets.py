"""Passwords and keys made at the first start and kept in one file that only we can read.

In: the path of secrets.json. Out: values by name, made on first use. Called by postgres.py, the
supervisor and the set-up of the databases.
"""

import json
import os
import secrets
from pathlib import Path


class Secrets:
    """The file's values; `get_or_make` writes a new one at once."""

    def __init__(self, path: Path) -> None:
        """Raises SystemExit when the file is there but is no JSON object."""
        self.path = path
        self._values: dict[str, str] = {}
        if not path.exists():
            return
        try:
            self._values = dict(json.loads(path.read_text()))
        except ValueError:
            raise SystemExit(
                f"{path} is damaged. Restore it from a backup, or remove it: passwords are then "
                "made anew, and everybody has to log in again."
            ) from None

    def get_or_make(self, name: str) -> str:
        """The secret of this name: 43 characters that need no quoting in a URL."""
        if name not in self._values:
            self._values[name] = secrets.token_urlsafe(32)
            self._write()
        return self._values[name]

    def _write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_suffix(".new")
        draft.unlink(missing_ok=True)
        draft.touch(mode=0o600, exist_ok=False)
        with draft.open("w") as file:
            json.dump(self._values, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.path)
