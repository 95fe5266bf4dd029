"""What of an address is kept: hostname, path, and the few query parameters that reports use.

In comes whatever a sender calls a URL; out comes a `Page`, or None if it is none that can be
reported. Nothing here raises for hostile input. Called by intake for the page and the referrer,
by the log importer, and by `sources`.

The path is stored as sent: percent escapes are not decoded (two spellings of a page are two
rows, and no decoding can turn a harmless path into markup or into another path). Control
characters and bidirectional overrides stay in it, too; making them visible is the display's duty.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple
from urllib.parse import unquote_plus

from tracking.cards import without_cards

PATH_LIMIT: Final = 1024
VALUE_LIMIT: Final = 200
URL_LIMIT: Final = 8192
HOST_LIMIT: Final = 253

UTM: Final = ("utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content")
CLICK_IDS: Final = (
    "gclid",
    "gbraid",
    "wbraid",
    "msclkid",
    "ttclid",
    "twclid",
    "li_fat_id",
    "fbclid",
)
KEPT_PARAMETERS: Final = frozenset((*UTM, *CLICK_IDS, "ref", "source"))

# Anything with "://" and a host may be an app's own scheme; these never are, and the first three
# would be dangerous as a link.
_REFUSED_SCHEMES: Final = frozenset(
    ("javascript", "data", "vbscript", "blob", "about", "file", "filesystem", "view-source")
)
_URL: Final = re.compile(
    r"([A-Za-z][A-Za-z0-9+.-]{0,31})://([^/?#\\]*)([^?#]*)(?:\?([^#]*))?", re.DOTALL
)
_HOST: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?", re.ASCII)
_IPV6: Final = re.compile(r"\[[0-9a-f:.]{2,45}\]", re.ASCII)
_PORT: Final = re.compile(r"[0-9]{0,5}", re.ASCII)
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")
# What browsers strip around an address before they read it.
_EDGES: Final = "".join(map(chr, range(0x21)))
_NO_PARAMETERS: Final[Mapping[str, str]] = MappingProxyType({})
_MOST_PARAMETERS: Final = 200


class Page(NamedTuple):
    """Where an event happened. `query` holds kept parameters only, decoded, never empty ones."""

    hostname: str
    path: str
    query: Mapping[str, str] = _NO_PARAMETERS


def split(url: str) -> Page | None:
    """The parts of an http(s) or app address that are kept, else None.

    Hostname in lower case without port, user or trailing dot (Unicode names as punycode); path
    without query and fragment, at most 1,024 code points, "/" if empty.
    """
    # A site's pages and referrers come again and again; what is long is rarely seen twice.
    return _split_again(url) if len(url) <= _OFTEN else _split(url)


def _split(url: str) -> Page | None:
    match = _URL.match(url[:URL_LIMIT].strip(_EDGES))
    if match is None:
        return None
    scheme, authority, path, query = match.groups()
    if scheme.lower() in _REFUSED_SCHEMES:
        return None
    hostname = _hostname(authority)
    if not hostname:
        return None
    if not path.startswith("/"):
        path = "/" + path
    return Page(
        hostname,
        clean_text(without_cards(path), PATH_LIMIT)[0],
        _kept(query) if query else _NO_PARAMETERS,
    )


_OFTEN: Final = 300
_split_again = lru_cache(maxsize=20_000)(_split)


def _hostname(authority: str) -> str:
    """The host of `user@host:port`, normalised, or "" if it is none."""
    host = authority.rpartition("@")[2].lower()
    if host.startswith("["):
        host, bracket, port = host.partition("]")
        host, port = host + bracket, port.removeprefix(":")
        return host if _IPV6.fullmatch(host) and _PORT.fullmatch(port) else ""
    host, _, port = host.partition(":")
    if not _PORT.fullmatch(port):
        return ""
    return normal_host(host)


def normal_host(host: str) -> str:
    """A hostname in lower case, as punycode, without trailing dot; "" if it cannot be one."""
    host = host.lower().removesuffix(".")
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii").lower()
        except UnicodeError:
            return ""
    if len(host) > HOST_LIMIT or ".." in host or not _HOST.fullmatch(host):
        return ""
    return host


def _kept(query: str) -> Mapping[str, str]:
    """The kept parameters; of a repeated one the first that says something."""
    kept: dict[str, str] = {}
    for pair in query.split("&", _MOST_PARAMETERS)[:_MOST_PARAMETERS]:
        name, _, raw = pair.partition("=")
        name = name.lower()
        if name in KEPT_PARAMETERS and name not in kept:
            value = clean_text(without_cards(unquote_plus(raw).strip()), VALUE_LIMIT)[0]
            if value:
                kept[name] = value
    return kept or _NO_PARAMETERS


def clean_text(value: str, limit: int) -> tuple[str, bool]:
    """(text that can be stored, whether it differs from `value`).

    NUL and lone surrogates, which neither Postgres nor JSON can carry, become U+FFFD; the rest
    is cut to `limit` code points. Other control characters and bidirectional overrides stay: they
    are somebody's data, and the display shows them harmlessly.
    """
    text = value if len(value) <= limit else value[:limit]
    if _UNSTORABLE.search(text):
        text = _UNSTORABLE.sub("\ufffd", text)
    return text, text is not value


def without_www(hostname: str) -> str:
    """Both spellings of a site are one source and one place."""
    return hostname.removeprefix("www.")


def host_allowed(hostname: str, patterns: Iterable[str]) -> bool:
    """Whether events may come from that host.

    "*" allows all; "example.com" itself and www.example.com; "*.example.com" every host below
    it, but not example.com. No pattern allows nothing.
    """
    host = hostname.lower().removesuffix(".")
    for pattern in patterns:
        wanted = pattern.lower().removesuffix(".")
        if wanted == "*":
            return True
        if wanted.startswith("*."):
            # longer than the suffix, or ".example.com" itself would pass
            if host.endswith(wanted[1:]) and len(host) > len(wanted) - 1:
                return True
        elif wanted and host in (wanted, "www." + wanted):
            return True
    return False
