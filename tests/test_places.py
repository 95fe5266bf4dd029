"""Whose address is believed, where it lies, and how little of it is kept."""

from __future__ import annotations

import re
from ipaddress import ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounts.addresses import visitor_address
from tracking import places
from tracking.places import country, country_name, mask

PROXIES = [ip_network("10.0.0.0/8"), ip_network("2001:db8:ffff::/48"), ip_network("127.0.0.1/32")]
CLIENT = "203.0.113.7"


@pytest.mark.parametrize(
    ("remote", "forwarded", "address"),
    [
        # not from a proxy of ours: the header is somebody's wish
        (CLIENT, None, CLIENT),
        (CLIENT, "1.2.3.4", CLIENT),
        (CLIENT, "1.2.3.4, 10.0.0.1", CLIENT),
        # from a proxy of ours: the last hop that is none
        ("10.0.0.1", CLIENT, CLIENT),
        ("10.0.0.1", f"1.2.3.4, {CLIENT}", CLIENT),
        ("10.0.0.1", f"1.2.3.4,{CLIENT},10.0.0.9", CLIENT),
        ("127.0.0.1", f"1.2.3.4, {CLIENT}", CLIENT),
        ("10.0.0.1", ", ".join(["1.2.3.4"] * 1000 + [CLIENT]), CLIENT),
        ("10.0.0.1", f"{CLIENT}:51234", CLIENT),
        ("10.0.0.1", "[2001:db8::7]:443", "2001:db8::7"),
        ("10.0.0.1", "2001:DB8:0::7", "2001:db8::7"),
        ("2001:db8:ffff::1", CLIENT, CLIENT),
        ("::ffff:10.0.0.1", CLIENT, CLIENT),
        ("10.0.0.1", "::ffff:203.0.113.7", CLIENT),
        ("10.0.0.1", "fe80::1%eth0", "fe80::1"),
        # a chain of our own proxies only: the farthest of them
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        # nothing that can be believed: the peer
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", f"{CLIENT}, unknown", "10.0.0.1"),
        ("10.0.0.1", f"{CLIENT},", "10.0.0.1"),
        ("10.0.0.1", "for=203.0.113.7;proto=https", "10.0.0.1"),
        ("10.0.0.1", "999.1.1.1", "10.0.0.1"),
        ("10.0.0.1", "0x7f.1", "10.0.0.1"),
        ("10.0.0.1", "\x00" * 5000, "10.0.0.1"),
        # a Unix socket has no address
        ("", CLIENT, ""),
        ("unix:", CLIENT, ""),
    ],
)
def test_only_the_hop_seen_by_our_proxies_is_believed(
    remote: str, forwarded: str | None, address: str
) -> None:
    assert visitor_address(remote, forwarded, PROXIES) == address


def test_without_configured_proxies_nothing_is_believed() -> None:
    assert visitor_address("10.0.0.1", CLIENT, []) == "10.0.0.1"


@given(st.text(max_size=100))
@settings(deadline=None)
def test_a_forged_header_never_raises(forwarded: str) -> None:
    assert visitor_address("10.0.0.1", forwarded, PROXIES)
    assert visitor_address(CLIENT, forwarded, PROXIES) == CLIENT


@pytest.mark.parametrize(
    ("ip", "code"),
    [
        ("8.8.8.8", "US"),
        ("::ffff:8.8.8.8", "US"),
        ("2001:4860:4860::8888", "US"),
        ("193.0.6.139", "NL"),
        ("10.0.0.1", ""),
        ("192.168.1.1", ""),
        ("127.0.0.1", ""),
        ("169.254.0.1", ""),
        ("100.64.0.1", ""),
        ("0.0.0.0", ""),
        ("::1", ""),
        ("fe80::1%eth0", ""),
        ("fd00::1", ""),
        ("", ""),
        ("garbage", ""),
        ("8.8.8", ""),
        ("8.8.8.8\x00", ""),
    ],
)
def test_an_address_lies_in_a_country_or_nowhere(ip: str, code: str) -> None:
    assert country(ip) == code


@pytest.mark.parametrize(
    ("ip", "masked"),
    [
        ("203.0.113.7", "203.0.113.0"),
        ("203.0.113.255", "203.0.113.0"),
        ("::ffff:203.0.113.7", "203.0.113.0"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::"),
        ("2001:db8:1::", "2001:db8:1::"),
        ("fe80::1%eth0", "fe80::"),
        ("", ""),
        ("garbage", ""),
    ],
)
def test_an_address_is_masked(ip: str, masked: str) -> None:
    assert mask(ip) == masked


def test_countries_have_names() -> None:
    assert country_name("DE") == "Germany"
    assert country_name("de") == "Germany"
    assert country_name("XK") == "Kosovo"
    assert country_name("") == ""
    assert country_name("ZZ") == "ZZ"


def test_the_table_of_countries_is_complete() -> None:
    names = places.country_names()
    assert len(names) == 250  # the 249 of ISO 3166-1 and Kosovo
    assert all(re.fullmatch("[A-Z]{2}", code) for code in names)
    assert len(set(names.values())) == len(names)
