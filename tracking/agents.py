"""What a user-agent string tells: browser, system, kind of device, and whether it is a crawler.

In comes the header (or the event's own field), out comes an `Agent` of short names for reports.
Called by intake once per event, so answers are remembered: a new string costs some 100 us, a
known one next to nothing. Crawlers are those of the crawler-user-agents list, matched as that
list defines it: any pattern found anywhere, case as written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Final, NamedTuple

import ua_parser
from crawleruseragents import is_crawler

from tracking.addresses import clean_text

UNKNOWN: Final = "Unknown"
# Longer strings say nothing more, and expressions that backtrack get little to chew on.
AGENT_LIMIT: Final = 512
CACHE_SIZE: Final = 20_000
NAME_LIMIT: Final = 64

# One name for a browser on all its devices; the device is a dimension of its own.
_BROWSERS: Final[Mapping[str, str]] = {
    "Chrome Mobile": "Chrome",
    "Chrome Mobile iOS": "Chrome",
    "Chrome Mobile WebView": "Chrome WebView",
    "Edge Mobile": "Edge",
    "Firefox Mobile": "Firefox",
    "Firefox iOS": "Firefox",
    "IE": "Internet Explorer",
    "IE Mobile": "Internet Explorer",
    "Mobile Safari": "Safari",
    "Mobile Safari UI/WKWebView": "Safari WebView",
    "Opera Mobile": "Opera",
    "Yandex Browser Mobile": "Yandex Browser",
    "Other": UNKNOWN,
}
_SYSTEMS: Final[Mapping[str, str]] = {
    "Mac OS X": "macOS",
    "Mac OS": "macOS",
    "Chrome OS": "ChromeOS",
    "Other": UNKNOWN,
}
_DESKTOP_SYSTEMS: Final = frozenset(
    (
        "Windows",
        "macOS",
        "ChromeOS",
        "Linux",
        "Ubuntu",
        "Kubuntu",
        "Fedora",
        "Red Hat",
        "CentOS",
        "Debian",
        "Gentoo",
        "SUSE",
        "Mint",
        "Linux Mint",
        "Mandriva",
        "Mageia",
        "Slackware",
        "Arch Linux",
        "PCLinuxOS",
        "FreeBSD",
        "OpenBSD",
        "NetBSD",
        "DragonFly BSD",
        "Solaris",
        "BeOS",
        "Haiku",
        "OS/2",
    )
)
_TV: Final = re.compile(
    r"smart[-_ ]?tv|google ?tv|apple ?tv|hbbtv|netcast|roku|crkey|bravia|viera|webtv|"
    r"\b(?-i:AFT[A-Z]{1,6})\b|web0s|\btv safari\b|android tv|\bdtv\b",
    re.IGNORECASE,
)
_TABLET: Final = re.compile(
    r"ipad|tablet(?! pc)|kindle|silk/|playbook|nexus (?:7|9|10)\b|"
    r"\Amozilla/.*android(?!.*(?:mobi|opera mini))",
    re.IGNORECASE | re.DOTALL,
)
_MOBILE: Final = re.compile(
    r"mobi|iphone|ipod|android|phone|blackberry|bb10|opera mini|symbian|j2me|midp|palm|up\.browser",
    re.IGNORECASE,
)

PREFETCH_HEADERS: Final = ("sec-purpose", "purpose", "x-purpose", "x-moz")
_PREFETCH: Final = ("prefetch", "prerender", "preview")


class Agent(NamedTuple):
    """`browser_version` is the major number or ""; `device` is Desktop, Mobile, Tablet, TV or
    Unknown."""

    browser: str
    browser_version: str
    os: str
    device: str
    bot: bool


NOBODY: Final = Agent(UNKNOWN, "", UNKNOWN, UNKNOWN, False)


def identify(user_agent: str | None) -> Agent:
    """The agent behind the string; `NOBODY` if it is missing or says nothing."""
    if not user_agent:
        return NOBODY
    return _identify(user_agent[:AGENT_LIMIT])


@lru_cache(maxsize=CACHE_SIZE)
def _identify(user_agent: str) -> Agent:
    # The parser is written in Rust and cannot take lone surrogates.
    text = clean_text(user_agent, AGENT_LIMIT)[0].strip()
    if text in ("", "-"):
        return NOBODY
    found = _parser().parse(text)
    browser = found.user_agent.family if found.user_agent else UNKNOWN
    version = (found.user_agent.major or "") if found.user_agent else ""
    system = found.os.family if found.os else UNKNOWN
    system = _SYSTEMS.get(system, system)
    return Agent(
        browser=_BROWSERS.get(browser, browser)[:NAME_LIMIT],
        browser_version=version[:16],
        os=system[:NAME_LIMIT],
        device=_device(text, system),
        bot=is_crawler(text),
    )


@cache
def _parser() -> ua_parser.Parser:
    """Built at first use: it compiles some thousand expressions, 0.1 s."""
    return ua_parser.parser


def _device(text: str, system: str) -> str:
    """The first rule that fits: what calls itself a television; a tablet by name, or a browser on
    Android that does not call itself mobile; anything else mobile; a desktop system; else Unknown.

    An iPad that asks for desktop pages calls itself a Macintosh, and counts as one.
    """
    if _TV.search(text):
        return "TV"
    if _TABLET.search(text):
        return "Tablet"
    if _MOBILE.search(text):
        return "Mobile"
    return "Desktop" if system in _DESKTOP_SYSTEMS else UNKNOWN


def is_prefetch(headers: Mapping[str, str]) -> bool:
    """Whether a browser fetches ahead of a reader who may never come.

    `headers` has names in lower case; only `PREFETCH_HEADERS` are looked at.
    """
    for name in PREFETCH_HEADERS:
        value = headers.get(name)
        if value and any(word in value.lower() for word in _PREFETCH):
            return True
    return False
