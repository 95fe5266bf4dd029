"""Whose address a request has.

In come the socket's peer, the X-Forwarded-For header and the configured proxies; out comes one
normalised address. Called by whatever counts, limits or notes by address: the collector, log-in,
the audit log. Garbage is never an error here: a forged header must not turn into a refusal of the
proxy's other visitors.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any, Final

from django.conf import settings

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# More proxies than that in a row belong to nobody; a header of a thousand hops costs nothing.
_MOST_HOPS: Final = 20
_LONGEST: Final = 64


def address_of(request: Any) -> str:
    """The address that a request of Django or REST framework came from; "" if there is none."""
    meta = request.META
    remote, forwarded = meta.get("REMOTE_ADDR") or "", meta.get("HTTP_X_FORWARDED_FOR")
    return visitor_address(remote, forwarded, settings.TRUSTED_PROXIES)


def is_from_trusted_proxy(request: Any) -> bool:
    """Whether the socket's peer is one of TRUSTED_PROXIES, whose headers are believed."""
    peer = parsed(request.META.get("REMOTE_ADDR") or "")
    return peer is not None and _is_in(peer, settings.TRUSTED_PROXIES)


def visitor_address(
    remote: str, forwarded_for: str | None, trusted_proxies: Sequence[Network]
) -> str:
    """The visitor's address in normal form, "" if there is none.

    Only what a configured proxy has seen itself is believed: from the right, the first hop of
    X-Forwarded-For that is no configured proxy. If the peer is none, or that hop is no address,
    it is the peer itself.
    """
    peer = parsed(remote)
    if peer is None:
        return ""
    if not forwarded_for or not _is_in(peer, trusted_proxies):
        return str(peer)
    address = peer
    for hop in reversed(forwarded_for.rsplit(",", _MOST_HOPS)[-_MOST_HOPS:]):
        seen = parsed(hop)
        if seen is None:
            return str(peer)
        address = seen
        if not _is_in(seen, trusted_proxies):
            break
    return str(address)


def _is_in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


@lru_cache(maxsize=20_000)
def parsed(text: str) -> Address | None:
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


@lru_cache(maxsize=4_096)
def household(address: str) -> str:
    """The address as visitor_address writes it; of an IPv6 address the network of its /64."""
    if ":" not in address:
        return address
    return str(IPv6Network((address.partition("%")[0], 64), strict=False))
