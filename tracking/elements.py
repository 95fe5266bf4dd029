"""What marked elements of a page are called: bounded, for pages choose these texts freely.

In: the payload of an event in NAMES. Out: its properties as fields.props gives them, with type,
label and position cut: they are what reports list, and a page may put its whole text there.
Called by intake.py.
"""

from collections.abc import Mapping
from typing import Any

from tracking import fields

NAMES = frozenset({"element", "element_shown"})  # done to one by the visitor; came into view
PARTS = frozenset({"type", "label", "position"})


def props(payload: Mapping[str, Any]) -> tuple[bytes | None, bool]:
    """The event's properties as clean JSON, and whether a text in them had to be changed."""
    given = payload.get("props")
    if not isinstance(given, dict):
        return fields.props(payload)
    short = {name: _cut(item) if name in PARTS else item for name, item in given.items()}
    line, changed = fields.props({"props": short})
    return line, changed or short != given


def _cut(item: Any) -> Any:
    return item[: fields.TEXT] if isinstance(item, str) else item
