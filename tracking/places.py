"""Whose address a request has, which country it lies in, and how little of it is kept.

In come the socket's peer, the X-Forwarded-For header and the configured proxies; out comes one
normalised address, then a country code and a masked address. Called by views (who is it), by
intake (where) and by report pages (`country_name`). Garbage is never an error here: a forged
header must not turn into a refusal of the proxy's other visitors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Final

import iptocc

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# More proxies than that in a row belong to nobody; a header of a thousand hops costs nothing.
_MOST_HOPS: Final = 20
_LONGEST: Final = 64
_COUNTRIES: Final = Path(__file__).parent / "data" / "countries.json"


def visitor_address(
    remote: str, forwarded_for: str | None, trusted_proxies: Sequence[Network]
) -> str:
    """The visitor's address in normal form, "" if there is none.

    Only what a configured proxy has seen itself is believed: from the right, the first hop of
    X-Forwarded-For that is no configured proxy. If the peer is none, or that hop is no address,
    it is the peer itself.
    """
    peer = _parsed(remote)
    if peer is None:
        return ""
    if not forwarded_for or not _is_in(peer, trusted_proxies):
        return str(peer)
    address = peer
    for hop in reversed(forwarded_for.rsplit(",", _MOST_HOPS)[-_MOST_HOPS:]):
        seen = _parsed(hop)
        if seen is None:
            return str(peer)
        address = seen
        if not _is_in(seen, trusted_proxies):
            break
    return str(address)


def _is_in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


@lru_cache(maxsize=20_000)
def _parsed(text: str) -> Address | None:
    """The address in `1.2.3.4`, `1.2.3.4:80`, `::1`, `[::1]:80`, `fe80::1%eth0`, else None.

    An IPv4 address that came through an IPv6 socket is itself: ::ffff:10.0.0.1 is 10.0.0.1.
    """
    text = text.strip()
    if len(text) > _LONGEST:
        return None
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address


@lru_cache(maxsize=20_000)
def country(ip: str) -> str:
    """ISO 3166-1 code of the country that the address was given to; "" if private or unknown."""
    address = _parsed(ip)
    if address is None or not address.is_global:
        return ""
    return iptocc.country_code(str(address)) or ""


def mask(ip: str) -> str:
    """The address without what tells one household from another: its /24, or /48 for IPv6.

    "" for what is no address, so that nothing unmasked gets through.
    """
    address = _parsed(ip)
    if address is None:
        return ""
    prefix = 24 if address.version == 4 else 48
    return str(ip_network((address, prefix), strict=False).network_address)


def country_name(code: str) -> str:
    """English short name, for display; the code itself if it is none, "" for ""."""
    return _country_names().get(code.upper(), code)


@cache
def _country_names() -> Mapping[str, str]:
    names: dict[str, str] = json.loads(_COUNTRIES.read_text(encoding="utf-8"))
    return names
