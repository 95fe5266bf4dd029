"""Is this event acceptable? Payload in, Event or Ping out, or a Refusal with its reason.

Pure but for the country and agent tables: no Django request, no SQL, no Valkey. `judge` reads
like the list of questions that it asks, in their order. Called by collecting.py for every
payload, however it came (HTTP, pixel, import).
"""

import json
import uuid
import zlib
from collections.abc import Container, Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, NamedTuple

import orjson

from accounts.addresses import visitor_address
from tracking import (
    agents,
    commerce,
    consent,
    elements,
    fields,
    places,
    searches,
    sources,
    tombstones,
)
from tracking.addresses import CLICK_IDS, Page, clean_text, host_allowed, split
from tracking.directory import Record
from tracking.event import Event
from tracking.refusals import Reason, Refusal

MINUTE_MS = 60_000
DAY_MS = 86_400_000
MOST_AHEAD = 5 * MINUTE_MS
MOST_BEHIND = 7 * DAY_MS
SKEW_TOLERATED = 2_000  # ms between a sender's clock and ours that is put down to the network
PAGE_BYTES = 1_000  # a page stands in index entries, which Postgres bounds at a third of a page
STATES = ("engaged", "visible", "hidden", "gone")
LONGEST_NEXT = 60_000
_DEEPEST = 250  # levels that any JSON encoder writes
_PROPS_OF_SENDER = ("sent_at", "property")  # differ between a try and its retry


@dataclass(frozen=True, slots=True)
class Origin:
    """Who sent a request, as far as the server itself knows."""

    address: str = ""
    agent: str = ""
    prefetch: bool = False
    signal: Reason | None = None  # GPC or DNT, when the request's headers say so
    site: str = ""  # the host in its Origin header; "" for none and for null
    privileged: bool = False  # an API key that may manage events: any past time, own addresses
    visitor_salt: bytes = b""  # of the day, for visitors without an id


@dataclass(frozen=True, slots=True)
class Ping:
    """A heartbeat: feeds the live set, is never stored. expires_at 0: gone."""

    visitor_uuid: str
    tab: str | None
    state: str
    expires_at: int
    page: str
    country: str
    device: str
    bot: bool


def judge(
    payload: Any, record: Record, origin: Origin, now: int, sent_at: int | None = None
) -> Event | Ping:
    """The event that this payload is. Times in epoch ms; raises Refusal."""
    consent.check_signal(record, origin.signal)
    if not isinstance(payload, dict):
        raise Refusal(Reason.SHAPE, "An event must be a JSON object.")
    nameless = consent.is_nameless(payload, record, origin.signal, origin.privileged)
    named = payload.get("property")
    if named is not None and named not in record.keys:
        raise Refusal(
            Reason.MIXED_PROPERTY, "One request, one property: send this one apart.", "property"
        )
    if origin.privileged:
        origin = _own_origin(payload, origin)
    elif record.strict_origin:
        _check_site(record, origin)
    if len(payload) > fields.MAX_KEYS:
        raise Refusal(
            Reason.TOO_MANY_PROPERTIES,
            f"An event holds at most {fields.MAX_KEYS} fields; put your own into props.",
        )
    unknown = nameless or record.cookieless  # no id that could tell of a second day
    name, changed = _name(payload)
    agent = agents.identify(origin.agent)
    _check_address(record, origin)
    url, url_changed = fields.text(payload, "url", 8_192)
    if not url and name == "pageview":
        raise Refusal(Reason.MISSING, "A pageview needs the url of its page.", "url")
    referrer, _ = ("", False) if name == "ping" else fields.text(payload, "referrer", 2_048)
    way = way_to(url, referrer, record.hostnames)
    visitor = None if unknown else fields.identifier(payload, "visitor", record.first_key)
    cookieless = visitor is None
    visitor = visitor or _visitor_of_day(record, origin, now)
    if record.erased:
        _refuse_erased(record, "visitor", visitor)
    tab = fields.identifier(payload, "tab", record.first_key)
    bot = agent.bot or origin.prefetch
    if name == "ping":
        return _ping(payload, visitor, tab, way.page, origin, agent, bot, now)

    event_id = fields.identifier(payload, "event_id", record.first_key) or str(uuid.uuid4())
    time = _time(payload, origin, now, sent_at)
    if way.is_spam:
        raise Refusal(Reason.REFERRER_SPAM, "The referrer is on the list of spammers.", "referrer")
    title, title_changed = fields.typed_text(payload, "title", 512)
    language, language_changed = fields.text(payload, "language", 35)
    user, user_changed = ("", False) if nameless else fields.user(payload)
    if user and record.erased:
        _refuse_erased(record, "user", user)
    props: bytes | None
    if commerce.speaks(name, payload):
        order = commerce.read(name, payload)
        props, props_changed = order.props, order.changed
        revenue, currency = fields.revenue({"revenue": order.revenue}, record.currency)
    else:
        revenue, currency = fields.revenue(payload, record.currency)
        own = elements.props if name in elements.NAMES else fields.props
        props, props_changed = own(payload)
    if name == "pageview" and searches.SWITCH in record.capture:
        props = searches.with_term(props, url, record.search_parameters)
    came = way.came
    return Event(
        event_id,
        time,
        received_at=now,
        fingerprint=fingerprint(payload),
        visitor_uuid=visitor,
        name=name,
        bot=bot,
        sanitized=changed
        or url_changed
        or title_changed
        or language_changed
        or user_changed
        or props_changed,
        hostname=way.hostname,
        page=way.page,
        query=way.query_of_nobody if unknown else way.query,
        title=title,
        referrer=came.referrer,
        source=came.source,
        medium=came.medium,
        campaign=came.campaign,
        term=came.term,
        content=came.content,
        channel=came.channel,
        country=places.country(origin.address),
        device=agent.device,
        browser=agent.browser,
        browser_version=agent.browser_version,
        os=agent.os,
        language=language,
        screen=_screen(payload),
        tab=tab,
        session=None if unknown else fields.identifier(payload, "session", record.first_key),
        user=user,
        engaged_ms=fields.number(payload, "engaged_ms", DAY_MS),
        scroll=fields.number(payload, "scroll", 100),
        load_ms=fields.number(payload, "load_ms", 3_600_000),
        revenue=revenue,
        currency=currency,
        props=props,
        live=tab is not None and name == "pageview" and abs(now - time) < MINUTE_MS,
        cookieless=cookieless,
    )


def _own_origin(payload: Mapping[str, Any], origin: Origin) -> Origin:
    """A privileged sender speaks for others: an event carries its visitor's address and agent,
    and the sender's own say nothing about the visitor."""
    return Origin(
        address=visitor_address(str(payload.get("_address") or "")[:64], None, ()),
        agent=clean_text(str(payload.get("_agent") or ""), agents.AGENT_LIMIT)[0],
        privileged=True,
        visitor_salt=origin.visitor_salt,
    )


def _name(payload: Mapping[str, Any]) -> tuple[str, bool]:
    usual = payload.get("name")
    if usual == "ping" or usual == "pageview":  # most of what comes: neither is looked through
        return usual, False
    name, changed = fields.typed_text(payload, "name")
    name = name.strip()
    if not name:
        raise Refusal(Reason.MISSING, 'Every event needs a name, like "pageview".', "name")
    return name, changed


def _check_site(record: Record, origin: Origin) -> None:
    if not (origin.site and host_allowed(origin.site, record.hostnames)):
        raise Refusal(
            Reason.ORIGIN,
            f"The property takes no events from {origin.site[:100] or 'requests without Origin'}; "
            "add the site in the settings, or send an API key.",
        )


def site_of(origin: str) -> str:
    """The host of an Origin header; "" when there is none, or the browser hides it (null)."""
    page = split(origin) if origin else None
    return page.hostname if page else ""


def _check_address(record: Record, origin: Origin) -> None:
    if record.excluded and origin.address:
        address = ip_address(origin.address)
        if any(address in network for network in record.excluded):
            raise Refusal(
                Reason.EXCLUDED_ADDRESS, "The property does not count visits from this address."
            )


class Way(NamedTuple):
    """Where an event happened and where its visitor came from: all that two addresses tell."""

    hostname: str = ""
    page: str = ""
    query: str = ""
    query_of_nobody: str = ""  # without the ids of clicks, each of which is one person's
    came: sources.Attribution = sources.NO_ATTRIBUTION
    is_spam: bool = False


_NOWHERE = Way()


def way_to(url: str, referrer: str, hostnames: tuple[str, ...]) -> Way:
    """The page, on a host that the property allows, and the way there. Raises Refusal."""
    if not url and not referrer:
        return _NOWHERE
    # A site's pages and referrers come again and again; what is long is rarely seen twice.
    if len(url) + len(referrer) <= _OFTEN:
        return _way_again(url, referrer, hostnames)
    return _way(url, referrer, hostnames)


def _way(url: str, referrer: str, hostnames: tuple[str, ...]) -> Way:
    page = _page(url, hostnames) if url else None
    came_from = split(referrer) if referrer else None
    return Way(
        hostname=page.hostname if page else "",
        page=page.path if page else "",
        query=_joined(page.query) if page else "",
        query_of_nobody=_joined(page.query, without=CLICK_IDS) if page else "",
        came=sources.attribute(page, referrer, hostnames),
        is_spam=came_from is not None and sources.is_spam(came_from.hostname),
    )


def _joined(query: Mapping[str, str], without: Container[str] = ()) -> str:
    return "&".join(f"{name}={value}" for name, value in query.items() if name not in without)


_OFTEN = 400
_way_again = lru_cache(maxsize=20_000)(_way)


def _page(url: str, hostnames: tuple[str, ...]) -> Page:
    page = split(url)
    if page is None:
        raise Refusal(
            Reason.INVALID, "url must be a whole address, like https://example.com/path.", "url"
        )
    if not host_allowed(page.hostname, hostnames):
        raise Refusal(
            Reason.HOSTNAME,
            f"The property does not count {page.hostname[:100]}; add it in the settings.",
            "url",
        )
    if len(page.path) > PAGE_BYTES // 4 and len(page.path.encode()) > PAGE_BYTES:
        short = page.path.encode()[:PAGE_BYTES].decode(errors="ignore")
        return page._replace(path=short)
    return page


def _refuse_erased(record: Record, kind: str, target: str) -> None:
    """Who was erased does not come back by a late event, nor by the next visit."""
    if tombstones.digest_of(record.first_key, kind, target) in record.erased:
        raise Refusal(
            Reason.ERASED, f"This {kind} was erased from the property and is not counted.", kind
        )


def _visitor_of_day(record: Record, origin: Origin, now: int) -> str:
    """Who has no id, or must not be known by it, is a visitor of the day of receipt."""
    day = str(now // DAY_MS)
    who = f"{origin.visitor_salt.hex()}\n{day}\n{origin.address}\n{origin.agent}"
    return fields.named_uuid(record.first_key, who)


def _time(payload: Mapping[str, Any], origin: Origin, now: int, sent_at: int | None) -> int:
    """When it happened, by our clock: a sender that says when it sent is corrected by that."""
    if payload.get("time") is None:
        return now
    time = fields.moment(payload["time"])
    if sent_at is not None and not origin.privileged and abs(now - sent_at) > SKEW_TOLERATED:
        time += now - sent_at
    if time > now + MOST_AHEAD:
        raise Refusal(
            Reason.FUTURE, "time lies more than 5 minutes ahead; send sent_at, or set the clock.",
            "time",
        )  # fmt: skip
    if time < 0:
        raise Refusal(Reason.TOO_OLD, "time lies before 1970.", "time")
    if time < now - MOST_BEHIND and not origin.privileged:
        raise Refusal(
            Reason.TOO_OLD,
            "time lies more than 7 days back; import older events with an API key.",
            "time",
        )
    return time


def _screen(payload: Mapping[str, Any]) -> str:
    screen, _ = fields.text(payload, "screen", 20)
    return _screen_of(screen) if screen else ""


@lru_cache(maxsize=1_000)
def _screen_of(screen: str) -> str:
    width, cross, height = screen.partition("x")
    if not (cross and width.isdecimal() and height.isdecimal() and len(screen) <= 11):
        raise Refusal(Reason.INVALID, "screen must look like 1440x900.", "screen")
    return screen


def _ping(
    payload: Mapping[str, Any], visitor: str, tab: str | None, page: str,
    origin: Origin, agent: agents.Agent, bot: bool, now: int,
) -> Ping:  # fmt: skip
    state = payload.get("state", "visible")
    if state not in STATES:
        raise Refusal(Reason.INVALID, f"state must be one of {', '.join(STATES)}.", "state")
    next_ms = fields.number(payload, "next_ms", 10**9)
    return Ping(
        visitor_uuid=visitor,
        tab=tab,
        state=state,
        expires_at=0 if state == "gone" else expiry(now, 15_000 if next_ms is None else next_ms),
        page=page,
        country=places.country(origin.address),
        device=agent.device,
        bot=bot,
    )


def expiry(now: int, next_ms: int) -> int:
    """When a visitor stops being online unless heard of again twice the next beat, + 2 s."""
    return now + 2 * min(next_ms, LONGEST_NEXT) + 2_000


def fingerprint(payload: dict[str, Any]) -> int:
    """crc32 of the payload as sent, signed: equal for a retry, different for a conflict."""
    own = payload.copy()
    for name in _PROPS_OF_SENDER:
        own.pop(name, None)
    try:
        line = orjson.dumps(own, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # lone surrogates, or nested more deeply than orjson writes
        if _is_nested_beyond(own, _DEEPEST):  # where nobody reads: props have their own limit
            raise Refusal(
                Reason.DEPTH, f"An event may be nested {fields.MAX_DEPTH} levels deep."
            ) from None
        line = json.dumps(own, sort_keys=True).encode()
    crc = zlib.crc32(line)
    return crc - 2**32 if crc >= 2**31 else crc


def _is_nested_beyond(value: Any, levels: int) -> bool:
    """Whether there are lists and objects below that level; asks without recursion."""
    level = [value]
    for _ in range(levels):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True
