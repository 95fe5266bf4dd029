"""Which country an address lies in, and how little of it is kept.

In comes an address (accounts/addresses.py says whose), out come a country code and a masked
address. Called by intake (where) and by report pages (`country_name`). What is no address is
never an error here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache, lru_cache
from ipaddress import ip_network
from pathlib import Path
from typing import Final

import iptocc

from accounts.addresses import parsed

_COUNTRIES: Final = Path(__file__).parent / "data" / "countries.json"


@lru_cache(maxsize=20_000)
def country(ip: str) -> str:
    """ISO 3166-1 code of the country that the address was given to; "" if private or unknown."""
    address = parsed(ip)
    if address is None or not address.is_global:
        return ""
    return iptocc.country_code(str(address)) or ""


def mask(ip: str) -> str:
    """The address without what tells one household from another: its /24, or /48 for IPv6.

    "" for what is no address, so that nothing unmasked gets through.
    """
    address = parsed(ip)
    if address is None:
        return ""
    prefix = 24 if address.version == 4 else 48
    return str(ip_network((address, prefix), strict=False).network_address)


def country_name(code: str) -> str:
    """English short name, for display; the code itself if it is none, "" for ""."""
    return country_names().get(code.upper(), code)


@cache
def country_names() -> Mapping[str, str]:
    """English short name by code."""
    names: dict[str, str] = json.loads(_COUNTRIES.read_text(encoding="utf-8"))
    return names
