"""The tracker as it is served: the built file, or its source where nothing was built."""

from dataclasses import dataclass
from functools import cache
from hashlib import sha256

from django.conf import settings


@dataclass(frozen=True)
class Script:
    text: bytes
    etag: str


@cache
def built() -> Script:
    """Read once a process: a new tracker comes with a new release."""
    folder = settings.BASE_DIR / "frontend"
    for path in (folder / "dist" / "js" / "trackr.js", folder / "tracker" / "trackr.js"):
        if path.is_file():
            text = path.read_bytes()
            return Script(text, f'"{sha256(text).hexdigest()[:32]}"')
    raise FileNotFoundError("frontend/tracker/trackr.js is missing from this installation.")
