"""What the collector knows of a property, in process memory: no SQL when warm.

In: a key, a replaced key that still goes on, or an account slug with a hostname. Out: a `Record`,
or None. A record is as new as its version: the Lua call refuses an older one, whatever its age
here, and a newer one under any name makes the others be asked for again.
"""

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network, ip_network

from properties.capture import SEARCH_PARAMETERS
from properties.models import Property, RetiredKey
from properties.periods import Clock
from tracking import keys, tombstones
from tracking.addresses import host_allowed

KEEP = 300.0  # seconds; bounds how long a property erased while Valkey was away is still served
KEEP_UNKNOWN = 2.0
MOST = 50_000  # names remembered; strangers can invent as many as they like


# The word of the tracker's consent mode for each privacy mode.
MODES: dict[str, str] = {
    Property.Privacy.COOKIES: "granted",
    Property.Privacy.COOKIELESS: "cookieless",
    Property.Privacy.REQUIRED: "required",
}
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # of keys and slugs


@dataclass(frozen=True, slots=True)
class Record:
    """The part of a Property that judging and keeping an event needs."""

    account_id: int
    property_id: int
    key: str
    first_key: str  # stable when the key is replaced: what ids made from names start with
    keys: tuple[str, ...]  # what its events may name: key, replaced keys, the name called by
    called: tuple[str, str]  # the name and hostname that it was found by
    prefix: str
    version: int
    hostnames: tuple[str, ...]
    excluded: tuple[IPv4Network | IPv6Network, ...]
    mode: str  # "granted", "cookieless" or "required"
    signals: str  # what DNT and Sec-GPC do: "ignore", "cookieless" or "drop"
    capture: tuple[str, ...]
    strict_origin: bool
    rate_limit: int  # events a second; 0: the installation's
    currency: str
    visitor_limit: int
    clock: Clock
    search_parameters: tuple[str, ...] = SEARCH_PARAMETERS
    erased: frozenset[bytes] = frozenset()  # digests of who is not counted again (tombstones.py)

    @classmethod
    def of(
        cls,
        place: Property,
        called: tuple[str, str] | None = None,
        other_names: Iterable[str] = (),
        erased: frozenset[bytes] = frozenset(),
    ) -> "Record":
        return cls(
            account_id=place.account_id,
            property_id=place.pk,
            key=place.key,
            first_key=place.first_key,
            keys=(place.key, *other_names),
            called=called or (place.key, ""),
            prefix=keys.prefix(place.account_id, place.pk),
            version=place.version,
            hostnames=tuple(place.hostnames),
            excluded=tuple(ip_network(net, strict=False) for net in place.excluded_addresses),
            mode=MODES[place.privacy],
            signals=place.signals,
            capture=tuple(place.capture),
            strict_origin=place.strict_origin,
            rate_limit=place.rate_limit,
            currency=place.currency,
            visitor_limit=place.visitor_limit,
            clock=Clock(place.timezone),
            search_parameters=tuple(place.search_parameters),
            erased=erased,
        )

    @property
    def cookieless(self) -> bool:
        return self.mode == "cookieless"


class Unknown(Exception):
    """The name is not in memory: `load` it."""


_known: dict[tuple[str, str], tuple[float, Record | None]] = {}
_newest: dict[int, int] = {}  # the version of a property that was loaded last, by its id


def recall(name: str, hostname: str = "", within: float = KEEP) -> Record | None:
    """The record of a name already looked up (None: no such property). Raises Unknown, also when
    the record was looked up more than `within` seconds ago."""
    if not _NAME.fullmatch(name):  # nothing that Postgres could not be asked for, or not cheaply
        return None
    entry = _known.get((name, hostname))
    if entry is None or entry[0] < time.monotonic():
        raise Unknown
    record = entry[1]
    if record is not None and entry[0] < time.monotonic() + KEEP - within:
        raise Unknown
    if record is not None and _newest.get(record.property_id) != record.version:
        raise Unknown  # changed under another of its names: this one may have ended
    return record


def load(name: str, hostname: str = "") -> Record | None:
    """Ask Postgres, and remember. `hostname` given: `name` is an account's slug."""
    place, lifetime = _by_slug(name, hostname) if hostname else _by_key(name)
    record = None
    if place:
        names = {name, *_retired_keys(place)} - {place.key}
        record = Record.of(place, (name, hostname), names, tombstones.digests(place))
    if len(_known) >= MOST:
        _known.clear()
        _newest.clear()
    if record is not None:
        _newest[record.property_id] = record.version
    _known[name, hostname] = (time.monotonic() + lifetime, record)
    return record


Found = tuple[Property | None, float]  # and how many seconds that may be remembered


def _by_key(key: str) -> Found:
    place = Property.objects.across_accounts().filter(key=key).first()
    return (place, KEEP) if place else _by_retired_key(key)


def _by_retired_key(key: str) -> Found:
    now = datetime.now(UTC)
    old = RetiredKey.objects.across_accounts().filter(key=key, until__gt=now)
    retired = old.select_related("property").first()
    if retired is None:
        return None, KEEP_UNKNOWN
    return retired.property, min(KEEP, (retired.until - now).total_seconds())


def _retired_keys(place: Property) -> Iterable[str]:
    retired = RetiredKey.objects.across_accounts().filter(property=place)
    return retired.filter(until__gt=datetime.now(UTC)).values_list("key", flat=True)


def _by_slug(slug: str, hostname: str) -> Found:
    """The one property of the account that allows the hostname; none when several do."""
    places = Property.objects.across_accounts().filter(account__slug=slug)
    fitting = [place for place in places if host_allowed(hostname, place.hostnames)]
    return (fitting[0], KEEP) if len(fitting) == 1 else (None, KEEP_UNKNOWN)
