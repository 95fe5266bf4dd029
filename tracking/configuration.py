"""What the tracker asks before it does anything: how a property wants to be measured.

In: the property's Record. Out: JSON as bytes, the same for every visitor, so any cache may keep
it. Called by views.py for GET /js/<account>.json; frontend/tracker/trackr.js reads it.
"""

from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

import orjson

from properties.capture import MORE, VITALS, asks_for
from tracking import script
from tracking.directory import Record


@dataclass(frozen=True, slots=True)
class Configuration:
    text: bytes
    etag: str


def configuration(record: Record) -> Configuration:
    return _made(record.key, record.mode, record.signals, record.capture)


@lru_cache(maxsize=4_096)
def _made(key: str, mode: str, signals: str, capture: tuple[str, ...]) -> Configuration:
    # more.js asks for consent, and counts the page views of those whom signals hide.
    wants_more = asks_for(MORE, capture) or mode == "required" or signals == "drop"
    text = orjson.dumps(
        {
            "property": key,
            "mode": mode,
            "signals": signals,
            "capture": capture,
            "more": _address("more.js") if wants_more else None,
            "vitals": _address("vitals.js") if asks_for(VITALS, capture) else None,
        }
    )
    return Configuration(text, f'"{sha256(text).hexdigest()[:32]}"')


def _address(name: str) -> str | None:
    file = script.named(name)
    return file.address if file else None
