"""The seed's pixel protocol: the query of `GET /track/it` becomes a payload of the collector.

The names are those of the original trackr.js (flattened with underscores). Field values and key
codes, which it sent along, are thrown away unread. A bare pixel, without any script, is a pageview
of the page that the browser names in its Referer header. In: the raw query string and that header;
out: a `PixelHit`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote

from tracking.addresses import split
from tracking.refusals import Fault

MAX_QUERY = 16_000
MAX_PARAMETERS = 500
LONGEST_LOAD = 3_600_000  # ms, as of any sender

_OF_USERS = ("signupUser", "loginUser", "importUser", "updateUser", "logoutUser")
_USER_EVENTS = {f"trackr_{name}_event": name for name in _OF_USERS}
_NAMES = {
    "": "pageview",
    "trackr_pageloaded_event": "pageview",
    "trackr_visitDuration_event": "engagement",
    "trackr_element_event": "element",
    **_USER_EVENTS,
}
_ELEMENT = ("event", "label", "position", "type")  # never _value or _char
_KNOWN_PREFIXES = ("config_", "args_", "trackr_", "props_")
_KNOWN = {"hostname", "path", "hash", "event_id", "url", "referrer", "title", "time"}
_KNOWN |= {"language", "state", "next_ms", "consent"}
_NUMBERED = re.compile(r"_[0-9]{1,3}$")  # a parameter that an address repeats: args_x_0, args_x_1


@dataclass(frozen=True, slots=True)
class PixelHit:
    """`account` is a property key or an account slug; `hostname` chooses among its properties."""

    account: str
    hostname: str
    payload: dict[str, Any]


def read(query: bytes, referer: str = "") -> PixelHit:
    """The hit of a query string; `referer` is the page when the query names none. Raises Fault
    (414 or 400)."""
    if len(query) > MAX_QUERY:
        raise Fault(414, "too_long", f"The query may have {MAX_QUERY:,} bytes.")
    try:
        pairs = parse_qsl(
            query.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_PARAMETERS
        )
    except ValueError as error:
        raise Fault(400, "malformed", f"The query cannot be read: {error}.") from error
    given = dict(pairs)
    if not given.get("url") and not given.get("hostname"):
        given["url"] = referer
    kind = given.get("trackr_event_type", "")
    name = _NAMES.get(kind, kind.removeprefix("trackr_").removesuffix("_event"))
    return PixelHit(
        account=given.get("config_account", ""),
        hostname=given.get("hostname") or _host(given["url"]),
        payload=_payload(name, given),
    )


def _payload(name: str, given: Mapping[str, str]) -> dict[str, Any]:
    payload: dict[str, Any] = {
        "name": name,
        "event_id": _said(given, "event_id"),
        "visitor": _said(given, "config_cookies_v_visitor"),
        "session": _said(given, "config_cookies_session"),
        "tab": _said(given, "config_tab"),
        "user": _said(given, "config_cookies_visitor"),
        "url": _url(given),
        "referrer": _said(given, "referrer"),
        "title": _said(given, "title"),
        "screen": _screen(given),
        "language": _said(given, "language"),
        "time": _number(given, "time"),
        "load_ms": _load_ms(given) if name == "pageview" else None,
        "engaged_ms": _number(given, "engaged_ms"),
        "scroll": _number(given, "scroll"),
        "state": _said(given, "state"),
        "next_ms": _number(given, "next_ms"),
        "consent": _said(given, "consent"),
        "props": _props(name, given),
    }
    return {field: value for field, value in payload.items() if value is not None}


def _host(url: str) -> str:
    page = split(url)
    return page.hostname if page else ""


def _said(given: Mapping[str, str], name: str) -> str | None:
    value = given.get(name, "")
    return None if value in ("", "undefined", "null") else value


def _number(given: Mapping[str, str], name: str) -> int | None:
    """A number that the page measured; browsers send NaN and negative ones, which say nothing."""
    value = given.get(name, "").partition(".")[0]
    return int(value) if value.isdecimal() and len(value) < 14 else None


def _load_ms(given: Mapping[str, str]) -> int | None:
    """The first tracker subtracted clocks: left at 0, one gives the milliseconds since 1970."""
    measured = _number(given, "trackr_page_loadtime")
    return measured if measured is not None and measured <= LONGEST_LOAD else None


def _screen(given: Mapping[str, str]) -> str | None:
    width, height = _number(given, "config_screen_width"), _number(given, "config_screen_height")
    return f"{width}x{height}" if width and height and max(width, height) < 100_000 else None


def _url(given: Mapping[str, str]) -> str | None:
    if given.get("url"):
        return given["url"]
    host = given.get("hostname", "")
    if not host:
        return None
    tags = "&".join(
        f"{_NUMBERED.sub('', name[5:])}={quote(value)}"
        for name, value in given.items()
        if name.startswith("args_")
    )
    path = given.get("path") or "/"
    return f"https://{host}{path if path.startswith('/') else '/' + path}" + (
        f"?{tags}" if tags else ""
    )


def _props(name: str, given: Mapping[str, str]) -> dict[str, Any] | None:
    own: dict[str, Any] = {
        field.removeprefix("props_"): value
        for field, value in given.items()
        if field.startswith("props_")
    }
    if name == "element":
        own |= {
            part: given[f"trackr_element_{part}"] for part in _ELEMENT if _said_part(given, part)
        }
    elif name == "engagement" and "engaged_ms" not in given:
        # The first tracker measured how long a page was open, which is not engaged time.
        own |= {"open_ms": _number(given, "trackr_visit_time")}
    elif name in _USER_EVENTS.values():
        own |= {
            field: value
            for field, value in given.items()
            if field not in _KNOWN and not field.startswith(_KNOWN_PREFIXES)
        }
    return own or None


def _said_part(given: Mapping[str, str], part: str) -> str | None:
    return _said(given, f"trackr_element_{part}")
