"""Readers of single fields of a payload: each returns a clean value or raises a Refusal.

Nothing is guessed: a field that is there and wrong refuses the event, naming the field and what
to send instead. Called by intake.py.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid5

import orjson

from properties.currencies import DECIMALS
from tracking.addresses import clean_text
from tracking.cards import is_card, without_cards
from tracking.refusals import Reason, Refusal

TEXT = 200
MAX_PROPS_BYTES = 32_000
MAX_KEYS = 200
MAX_DEPTH = 20
NIL = str(UUID(int=0))
LARGEST = 2**63
# Decimal() alone would read 1_000, other scripts' digits and NaN. Floats bring their exponents.
AMOUNT = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]{1,3})?", re.IGNORECASE)
_CANONICAL = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").fullmatch
_NAMESPACE = UUID("b1a1cf6b-7a55-5c0c-9a7e-3a4f0f6f6a11")  # ours; never to be changed

# What careless code sends for "nobody"; merging people over these would join strangers.
NOBODY = frozenset(
    "null undefined none nil nan n/a na true false 0 -1 anonymous anon guest unknown".split()  # noqa: SIM905
) | {"", "[object object]"}


def text(payload: Mapping[str, Any], field: str, limit: int = TEXT) -> tuple[str, bool]:
    """(clean text, was it changed); "" when the field is absent or null."""
    value = payload.get(field)
    if value is None:
        return "", False
    if not isinstance(value, str):
        raise Refusal(Reason.INVALID, f"{field} must be a string.", field)
    return clean_text(value, limit)


def typed_text(payload: Mapping[str, Any], field: str, limit: int = TEXT) -> tuple[str, bool]:
    """`text` of a field that may hold what a visitor typed."""
    value = payload.get(field)
    return typed(value, limit) if isinstance(value, str) else text(payload, field, limit)


def typed(value: str, limit: int) -> tuple[str, bool]:
    """clean_text of what a visitor may have typed: numbers of payment cards are not kept."""
    kept = without_cards(value)
    clean, changed = clean_text(kept, limit)
    return clean, changed or kept is not value


def identifier(payload: Mapping[str, Any], field: str, key: str) -> str | None:
    """A UUID as sent, in canonical text; any other string becomes uuid5(property, string).
    None when absent."""
    value = payload.get(field)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise Refusal(Reason.INVALID, f"{field} must be a string, at best a UUID.", field)
    found = value if _CANONICAL(value) else _uuid(value)
    if found is not None:
        if found == NIL:
            raise Refusal(Reason.NIL_UUID, f"{field} is the nil UUID; make a random one.", field)
        return found
    if len(value) > TEXT or clean_text(value, TEXT)[1]:
        raise Refusal(
            Reason.INVALID, f"{field} must be at most {TEXT} characters of valid text.", field
        )
    return named_uuid(key, value)


def _uuid(value: str) -> str | None:
    """The canonical text of a UUID in another spelling; None when it is none."""
    if len(value) in (36, 32):
        try:
            return str(UUID(value))
        except ValueError:
            pass
    return None


def named_uuid(key: str, value: str) -> str:
    """The UUID of a string inside a property."""
    return str(uuid5(_NAMESPACE, f"{key}\n{value}"))


def moment(value: Any, field: str = "time") -> int:
    """Epoch milliseconds of ISO 8601 with an offset, or of a number of milliseconds."""
    if isinstance(value, str) and len(value) <= 40:
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            found = None
        if found is not None and found.tzinfo is not None:
            try:
                return int(found.astimezone(UTC).timestamp() * 1000)
            except (OverflowError, ValueError):
                pass
    elif _is_number(value) and 0 <= value < 4_102_444_800_000:  # 2100; neither NaN nor infinite
        return int(value)
    raise Refusal(
        Reason.TIMESTAMP,
        f"{field} must be ISO 8601 with an offset, like 2026-01-31T12:00:00Z, "
        "or milliseconds since 1970.",
        field,
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)  # True is an int


def number(payload: Mapping[str, Any], field: str, highest: int) -> int | None:
    """A whole number from 0 to `highest`; fractions are rounded. None when absent."""
    value = payload.get(field)
    if value is None:
        return None
    if not _is_number(value):
        raise Refusal(Reason.INVALID, f"{field} must be a number.", field)
    if not 0 <= value <= highest:
        raise Refusal(Reason.NUMBER_RANGE, f"{field} must lie between 0 and {highest:,}.", field)
    return round(value)


def user(payload: Mapping[str, Any]) -> tuple[str, bool]:
    """The sender's id of the signed-in user; "" for the usual stand-ins for nobody."""
    value = payload.get("user")
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if value is None:
        return "", False
    clean, changed = text({"user": value}, "user")
    return ("", changed) if clean.strip().lower() in NOBODY else (clean, changed)


def revenue(payload: Mapping[str, Any], currency: str) -> tuple[str | None, str]:
    """(amount as plain decimal text, currency); the property's currency unless one is named."""
    value = payload.get("revenue")
    if value is None:
        return None, ""
    if not isinstance(value, dict):
        raise Refusal(
            Reason.INVALID, 'revenue must be {"amount": "12.50", "currency": "EUR"}.', "revenue"
        )
    code = value.get("currency", currency)
    if not isinstance(code, str) or code.upper() not in DECIMALS:
        raise Refusal(
            Reason.CURRENCY,
            "revenue.currency must be an ISO 4217 code like EUR.",
            "revenue.currency",
        )
    return amount(value.get("amount")), code.upper()


def amount(value: Any) -> str:
    """An amount of money as plain decimal text."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise Refusal(
            Reason.INVALID, 'revenue.amount must be a number as a string, like "12.50".',
            "revenue.amount",
        )  # fmt: skip
    if not AMOUNT.fullmatch(str(value)):
        raise Refusal(
            Reason.INVALID, 'revenue.amount must look like "12.50", with a point.', "revenue.amount"
        )
    exact = Decimal(str(value))
    exponent = exact.as_tuple().exponent
    if abs(exact) >= 10**12 or (isinstance(exponent, int) and exponent < -6):
        raise Refusal(
            Reason.NUMBER_RANGE,
            "revenue.amount must be under 1,000,000,000,000 with at most 6 decimals.",
            "revenue.amount",
        )
    return f"{exact + 0:f}"


def props(payload: Mapping[str, Any]) -> tuple[bytes | None, bool]:
    """The event's own properties as clean JSON, and whether a text in it had to be changed."""
    value = payload.get("props")
    if value is None or value == {}:
        return None, False
    if not isinstance(value, dict):
        raise Refusal(Reason.INVALID, "props must be an object.", "props")
    clean, changed = clean_props(value)
    line = orjson.dumps(clean)
    if len(line) > MAX_PROPS_BYTES:
        raise Refusal(
            Reason.TOO_LARGE, f"props hold at most {MAX_PROPS_BYTES:,} bytes as JSON.", "props"
        )
    return line, changed


def clean_props(value: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """Properties within their limits, and whether a text in them had to be changed."""
    changed: list[bool] = []
    clean: dict[str, Any] = _cleaned(value, "props", 1, [0], changed)
    return clean, bool(changed)


def _cleaned(value: Any, path: str, depth: int, seen: list[int], changed: list[bool]) -> Any:
    if isinstance(value, str):
        clean, differs = typed(value, MAX_PROPS_BYTES)
        if differs:
            changed.append(True)
        return clean
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        if not -LARGEST < value < LARGEST:  # what is below it came in as the nearest float
            raise Refusal(Reason.NUMBER_RANGE, f"{path[:80]} is too large a number.", "props")
        if is_card(value):
            changed.append(True)
            return without_cards(str(int(value)))
        return value
    if depth > MAX_DEPTH:
        raise Refusal(Reason.DEPTH, f"props may be nested {MAX_DEPTH} levels deep.", "props")
    if isinstance(value, list):
        return [_cleaned(item, path, depth + 1, seen, changed) for item in value]
    seen[0] += len(value)
    if seen[0] > MAX_KEYS:
        raise Refusal(
            Reason.TOO_MANY_PROPERTIES, f"props hold at most {MAX_KEYS} properties.", "props"
        )
    out = {}
    for name, item in value.items():
        if len(name) > TEXT:
            raise Refusal(
                Reason.TOO_LARGE, f"The name of a property has at most {TEXT} characters.", "props"
            )
        clean_name, differs = typed(name, TEXT)
        if differs:
            changed.append(True)
        out[clean_name] = _cleaned(item, f"{path}.{clean_name}", depth + 1, seen, changed)
    return out
