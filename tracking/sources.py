"""Where a visit comes from: source, medium, campaign and channel.

In comes the page's kept query (`addresses.Page`), the referrer's address and the property's own
hostnames; out comes an `Attribution` of bounded strings. Called by intake per event; the session
keeps that of its first event. The hosts it knows stand in data/sources.json, referrer spam in
data/referrer_spammers.txt (a public-domain list, one domain a line).

Who wins: UTM tags, then click ids, then the referrer, else Direct. `ref` and `source` in the
query stand in for a missing utm_source. A referrer on one of the property's own hosts is no
referrer.

Spelling: a known source bears its display name ("google", "Google.com" and www.google.de are all
"Google"), another one is lower case; the medium is lower case; campaign, term and content stay as
sent. What is absent is "", only a source that is absent is "Direct".

Channels, the first rule that fits. "paid" is a medium with cpc, cpm, cpv ..., ppc or
retargeting in it, or paid-anything; "known as" is the kind of the source in sources.json:

    Direct          no source, medium or campaign
    Paid Search     paid, source known as search engine (or medium names search)
    Paid Social     paid, source known as social network (or medium names social)
    Display         medium display, banner, expandable, interstitial, cpm
    Paid Other      otherwise paid (video too)
    Email           medium e-mail or newsletter
    Affiliates      medium affiliate
    AI Assistant    source known as assistant, or medium ai
    Organic Social  source known as social network, or medium social, sm ...
    Organic Video   source known as video site, or medium names video
    Organic Search  source known as search engine, or medium organic
    Email           source known as mail reader (webmail), or called e-mail or newsletter
    Referral        everything else
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Final, NamedTuple

from tracking.addresses import (
    VALUE_LIMIT,
    Page,
    clean_text,
    host_allowed,
    normal_host,
    split,
    without_www,
)

DIRECT: Final = "Direct"
CHANNELS: Final = (
    DIRECT,
    "Organic Search",
    "Paid Search",
    "Organic Social",
    "Paid Social",
    "Email",
    "Affiliates",
    "Referral",
    "AI Assistant",
    "Display",
    "Organic Video",
    "Paid Other",
)
_DATA: Final = Path(__file__).parent / "data"

# click id -> (source, medium). Facebook marks every outgoing link, so its id alone proves no ad.
_CLICK_IDS: Final[Mapping[str, tuple[str, str]]] = {
    "gclid": ("Google", "cpc"),
    "gbraid": ("Google", "cpc"),
    "wbraid": ("Google", "cpc"),
    "msclkid": ("Bing", "cpc"),
    "ttclid": ("TikTok", "cpc"),
    "twclid": ("X", "cpc"),
    "li_fat_id": ("LinkedIn", "cpc"),
    "fbclid": ("Facebook", "social"),
}
_MEDIUM_OF_KIND: Final[Mapping[str, str]] = {
    "search": "organic",
    "social": "social",
    "video": "video",
    "ai": "ai",
    "email": "email",
    "": "referral",
}
_ALIASES: Final[Mapping[str, str]] = {
    "adwords": "Google",
    "google ads": "Google",
    "google_ads": "Google",
    "googleads": "Google",
    "bing ads": "Bing",
    "ddg": "DuckDuckGo",
    "fb": "Facebook",
    "meta": "Facebook",
    "ig": "Instagram",
    "insta": "Instagram",
    "li": "LinkedIn",
    "tw": "X",
    "twitter": "X",
    "yt": "YouTube",
    "openai": "ChatGPT",
    "chat-gpt": "ChatGPT",
    "anthropic": "Claude",
    "hn": "Hacker News",
}
# A tag "free", "orange" or "inbox" means something else than the engine of that name, so only
# these go by name; the others, and the sites in _WORDS, must be tagged with their host.
_NAMED_ENGINES: Final = frozenset(
    (
        "Google",
        "Bing",
        "Yahoo",
        "DuckDuckGo",
        "Baidu",
        "Yandex",
        "Ecosia",
        "Qwant",
        "Startpage",
        "Brave",
        "Kagi",
        "Naver",
        "Seznam",
        "Sogou",
        "AOL",
        "Mojeek",
    )
)
_WORDS: Final = frozenset(("you", "pi", "line", "tagged", "multiply"))
# Subdomains under which a search engine still searches; mail. or docs. are other things.
_SEARCHING_PREFIX: Final = re.compile(r"(m|mobile|lite|html|r|l|lm|search|images?|video|[a-z]{2})")
_SECOND_LEVEL: Final = frozenset(("ac", "co", "com", "edu", "gov", "net", "ne", "or", "org"))

_PAID: Final = re.compile(r"(?<![a-z])cp[a-z](?![a-z])|ppc|retargeting|^paid")
_DISPLAY: Final = frozenset(("display", "banner", "expandable", "interstitial", "cpm"))
_SOCIAL: Final = frozenset(
    ("social", "social-network", "social-media", "sm", "social network", "social media")
)
_EMAIL: Final = frozenset(("email", "e-mail", "e_mail", "e mail", "newsletter"))
_AFFILIATE: Final = frozenset(("affiliate", "affiliates"))
_AI: Final = frozenset(("ai", "ai-assistant", "ai assistant", "llm"))


class Attribution(NamedTuple):
    """Each at most 200 code points. `referrer` is a host without www., "" if none or our own."""

    source: str = DIRECT
    medium: str = ""
    campaign: str = ""
    term: str = ""
    content: str = ""
    channel: str = DIRECT
    referrer: str = ""


NO_ATTRIBUTION: Final = Attribution()


class _Known(NamedTuple):
    """A source as reports show it and its kind in sources.json, "" if it stands in no list."""

    name: str
    kind: str = ""


def attribute(page: Page | None, referrer: str, own_hosts: Iterable[str]) -> Attribution:
    """Where the visitor of that page came from.

    `own_hosts` are the property's hostname patterns as in `addresses.host_allowed`; "*" says
    nothing about what is our own and is passed over. The page's own host always counts as ours.
    """
    query = page.query if page else {}
    host = _referrer_host(referrer, page.hostname if page else "", own_hosts) if referrer else ""
    if not query and not host:
        return NO_ATTRIBUTION
    came_by = _known_host(host) if host else None
    clicked = next((_CLICK_IDS[name] for name in _CLICK_IDS if name in query), None)

    tagged = query.get("utm_source") or query.get("ref") or query.get("source") or ""
    medium = query.get("utm_medium", "").lower()
    campaign = query.get("utm_campaign", "")
    if tagged:
        source = _known_tag(tagged.lower())
        medium = medium or (clicked[1] if clicked else "")
    elif clicked:
        source = _known_tag(clicked[0].lower())
        medium = medium or clicked[1]
    elif came_by:
        source = came_by
        medium = medium or _MEDIUM_OF_KIND[came_by.kind]
    elif medium or campaign:
        source = _Known(DIRECT)
    else:
        return NO_ATTRIBUTION
    return Attribution(
        source=source.name[:VALUE_LIMIT],
        medium=medium[:VALUE_LIMIT],
        campaign=campaign,
        term=query.get("utm_term", ""),
        content=query.get("utm_content", ""),
        channel=_channel(source, medium, campaign),
        referrer=host[:VALUE_LIMIT],
    )


def _referrer_host(referrer: str, page_host: str, own_hosts: Iterable[str]) -> str:
    came_from = split(referrer)
    if came_from is None:
        return ""
    host = without_www(came_from.hostname)
    if host == without_www(page_host):
        return ""
    ours = [pattern for pattern in own_hosts if pattern != "*"]
    return "" if host_allowed(came_from.hostname, ours) or host_allowed(host, ours) else host


def _channel(source: _Known, medium: str, campaign: str) -> str:
    kind = source.kind
    if source.name == DIRECT and not medium and not campaign:
        return DIRECT
    if medium in _DISPLAY and kind not in ("search", "social"):
        return "Display"
    if _PAID.search(medium):
        if kind == "search" or "search" in medium:
            return "Paid Search"
        if kind == "social" or "social" in medium:
            return "Paid Social"
        return "Paid Other"
    if medium in _DISPLAY:
        return "Display"
    if medium in _EMAIL:
        return "Email"
    if medium in _AFFILIATE:
        return "Affiliates"
    return _unpaid_channel(source, medium)


def _unpaid_channel(source: _Known, medium: str) -> str:
    kind = source.kind
    if kind == "ai" or medium in _AI:
        return "AI Assistant"
    if kind == "social" or medium in _SOCIAL:
        return "Organic Social"
    if kind == "video" or "video" in medium:
        return "Organic Video"
    if kind == "search" or medium == "organic":
        return "Organic Search"
    if kind == "email" or source.name in _EMAIL:
        return "Email"
    return "Referral"


@lru_cache(maxsize=20_000)
def _known_host(host: str) -> _Known:
    """The source behind a hostname (without www.), itself if it is in no list."""
    hosts, _ = _tables()
    labels = host.split(".")
    for start in range(len(labels) - 1):
        found = hosts.get(".".join(labels[start:])) or hosts.get(_any_country(labels[start:]))
        if found is None:
            continue
        if start == 0 or found.kind != "search" or _searches(labels[:start]):
            return found
        break  # docs.google.com is not a search
    return _Known(host)


def _searches(prefix: list[str]) -> bool:
    return len(prefix) == 1 and _SEARCHING_PREFIX.fullmatch(prefix[0]) is not None


def _any_country(labels: list[str]) -> str:
    """google.de, google.co.uk and google.com.br as google.{}; "" if it is no country's name."""
    if len(labels[-1]) != 2:
        return ""
    if len(labels) > 2 and labels[-2] in _SECOND_LEVEL:
        labels = labels[:-1]
    return ".".join([*labels[:-1], "{}"])


@lru_cache(maxsize=20_000)
def _known_tag(tag: str) -> _Known:
    """The source that a lower-case tag names: a name, an alias, or a host in any list."""
    _, names = _tables()
    if found := names.get(tag):
        return found
    host = without_www(normal_host(tag))
    if "." in host and (found := _known_host(host)).kind:
        return found
    return _Known(clean_text(tag, VALUE_LIMIT)[0])


@cache
def _tables() -> tuple[Mapping[str, _Known], Mapping[str, _Known]]:
    """(host -> source, lower-case name -> source), read once."""
    hosts: dict[str, _Known] = {}
    names: dict[str, _Known] = {}
    table = json.loads((_DATA / "sources.json").read_text(encoding="utf-8"))
    for kind in ("ai", "email", "video", "social", "search"):
        for name, its_hosts in table[kind].items():
            known = _Known(name, kind)
            # A name in two lists (MySpace searched, too) means what the earlier kind says.
            if kind != "search" or name in _NAMED_ENGINES:
                names.setdefault(name.lower(), known)
                names.setdefault(name.lower().replace(" ", ""), known)
            hosts.update(dict.fromkeys(its_hosts, known))
    for alias, name in _ALIASES.items():
        names[alias] = names[name.lower()]
    for word in _WORDS:
        names.pop(word, None)
    return hosts, names


def is_spam(host: str) -> bool:
    """Whether the host, or a domain above it, is known for invented referrers."""
    spammers = _spammers()
    domain = host.lower().removesuffix(".")
    while domain:
        if domain in spammers:
            return True
        domain = domain.partition(".")[2]
    return False


@cache
def _spammers() -> frozenset[str]:
    lines = (_DATA / "referrer_spammers.txt").read_text(encoding="utf-8").splitlines()
    return frozenset(line.strip().lower() for line in lines if line.strip())
