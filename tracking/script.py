"""The tracker's files as they are served: the built ones, or their source where nothing was built.

In: a file's name (`trackr.js`) or the hash in its address (`/js/<hash>.js`). Out: a `File`. Called
by views.py, which serves them, and by configuration.py, which tells the core their addresses.
"""

import gzip
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

from django.conf import settings

CORE = "trackr.js"


@dataclass(frozen=True, slots=True)
class File:
    text: bytes
    packed: bytes  # gzipped, once and as well as it can be
    digest: str  # what the address of the immutable copy is made of

    @property
    def address(self) -> str:
        return f"/js/{self.digest}.js"


@cache
def files() -> dict[str, File]:
    """By name. Read once a process: a new tracker comes with a new release."""
    front = settings.BASE_DIR / "frontend"
    built = front / "dist" / "js"
    folder = built if (built / CORE).is_file() else front / "tracker"
    if not (folder / CORE).is_file():
        raise FileNotFoundError(f"frontend/tracker/{CORE} is missing from this installation.")
    return {path.name: _read(path) for path in sorted(folder.glob("*.js"))}


def _read(path: Path) -> File:
    text = path.read_bytes()
    return File(text, gzip.compress(text, 9, mtime=0), sha256(text).hexdigest()[:32])


def named(name: str) -> File | None:
    return files().get(name)


@cache
def _by_address() -> dict[str, File]:
    return {file.address: file for file in files().values()}


def at(address: str) -> File | None:
    """The file of a hashed address."""
    return _by_address().get(address)
