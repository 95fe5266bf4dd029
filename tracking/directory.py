"""What the collector knows of a property, in process memory: no SQL when warm.

In: a key, or an account slug with a hostname (the seed's pixel). Out: a `Record`, or None.
A record is as new as its version: the Lua call refuses an older one, whatever its age here.
"""

import re
import time
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network

from properties.models import Property
from properties.periods import Clock
from tracking import keys
from tracking.addresses import host_allowed

KEEP = 300.0  # seconds; bounds how long a property erased while Valkey was away is still served
KEEP_UNKNOWN = 2.0
MOST = 50_000  # names remembered; strangers can invent as many as they like


_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # of keys and slugs


@dataclass(frozen=True, slots=True)
class Record:
    """The part of a Property that judging and keeping an event needs."""

    account_id: int
    property_id: int
    key: str
    prefix: str
    version: int
    hostnames: tuple[str, ...]
    excluded: tuple[IPv4Network | IPv6Network, ...]
    cookieless: bool
    currency: str
    visitor_limit: int
    clock: Clock

    @classmethod
    def of(cls, place: Property) -> "Record":
        return cls(
            account_id=place.account_id,
            property_id=place.pk,
            key=place.key,
            prefix=keys.prefix(place.account_id, place.pk),
            version=place.version,
            hostnames=tuple(place.hostnames),
            excluded=tuple(ip_network(net, strict=False) for net in place.excluded_addresses),
            cookieless=place.privacy == Property.Privacy.COOKIELESS,
            currency=place.currency,
            visitor_limit=place.visitor_limit,
            clock=Clock(place.timezone),
        )


class Unknown(Exception):
    """The name is not in memory: `load` it."""


_known: dict[tuple[str, str], tuple[float, Record | None]] = {}


def recall(name: str, hostname: str = "") -> Record | None:
    """The record of a name already looked up (None: no such property). Raises Unknown."""
    if not _NAME.fullmatch(name):  # nothing that Postgres could not be asked for, or not cheaply
        return None
    entry = _known.get((name, hostname))
    if entry is None or entry[0] < time.monotonic():
        raise Unknown
    return entry[1]


def load(name: str, hostname: str = "") -> Record | None:
    """Ask Postgres, and remember. `hostname` given: `name` is an account's slug."""
    place = _by_slug(name, hostname) if hostname else _by_key(name)
    record = Record.of(place) if place else None
    if len(_known) >= MOST:
        _known.clear()
    lifetime = KEEP if record else KEEP_UNKNOWN
    _known[name, hostname] = (time.monotonic() + lifetime, record)
    return record


def _by_key(key: str) -> Property | None:
    return Property.objects.across_accounts().filter(key=key).first()


def _by_slug(slug: str, hostname: str) -> Property | None:
    """The one property of the account that allows the hostname; none when several do."""
    places = Property.objects.across_accounts().filter(account__slug=slug)
    fitting = [place for place in places if host_allowed(hostname, place.hostnames)]
    return fitting[0] if len(fitting) == 1 else None
