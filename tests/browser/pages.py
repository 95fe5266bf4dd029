"""The pages there are, from the table of tests/test_access.py: a new one is looked at by itself."""

from typing import Any

from tests.test_access import PRIVACY, REPORTS, ROWS, Row, path_of

OWN = (
    "profile", "email", "password/change", "2fa", "2fa/webauthn", "2fa/webauthn/add", "sessions",
    "connections", "logout",
)  # fmt: skip


def pages_of(places: dict[str, Any]) -> list[str]:
    """Every page that the owner may look at, and those of her own user."""
    found = [path_of(row, places) for row in (*ROWS, *PRIVACY, *REPORTS) if _is_page(row)]
    return list(dict.fromkeys([*found, *(f"/user/{page}/" for page in OWN)]))


def _is_page(row: Row) -> bool:
    return (row.method, row.key, row.owner) == ("GET", None, 200) and not row.name.endswith(
        ("_csv", "_svg", "_zip", "_values", "live_now", "_stream")  # files, JSON, without end
    )
