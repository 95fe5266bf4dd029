"""What people and programs may write for a property: each function takes text and gives what is
stored, or raises ValidationError with what to write instead. Used by forms, API and commands.
"""

import ipaddress
import re
from collections.abc import Iterable

from django.conf import settings
from django.core.exceptions import ValidationError

from properties import capture, currencies, periods

MOST_HOSTNAMES = 100
_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?|\[[0-9a-f:.]{2,45}\]", re.ASCII)


def is_storable(text: str) -> bool:
    """Whether Postgres can hold the text: NUL and lone surrogates it cannot."""
    return "\x00" not in text and not any("\ud800" <= char <= "\udfff" for char in text)


def hostname(text: str) -> str:
    """`https://www.Example.com/shop` -> `example.com`, which stands for both spellings.

    `*` and `*.example.com` stay; names in other scripts become punycode.
    """
    host = text.strip().lower()
    host = host.partition("://")[2] if "://" in host else host
    host = re.split(r"[/?#\\]", host, maxsplit=1)[0].rpartition("@")[2]
    if host == "*":
        return host
    star, host = ("*.", host[2:]) if host.startswith("*.") else ("", host)
    host = re.sub(r":\d{0,5}$", "", host) if not host.endswith("]") else host
    host = host.removesuffix(".")
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            host = ""
    if len(host) > 253 or ".." in host or not _HOST.fullmatch(host):
        raise ValidationError(
            f"{text.strip()[:60]!r} is no hostname. Write one like example.com, *.example.com, "
            "or * for all."
        )
    return star + host.removeprefix("www.")


def hostnames(texts: Iterable[str]) -> list[str]:
    """Each once, in the order given; at least one."""
    found = list(dict.fromkeys(hostname(text) for text in texts if text.strip()))
    if not found:
        raise ValidationError(
            "Without a hostname every event would be refused. Write one, or * for all."
        )
    if len(found) > MOST_HOSTNAMES:
        raise ValidationError(f"{MOST_HOSTNAMES} hostnames are the most. Use *.example.com.")
    return found


MOST_FRAMING_HOSTS = 20


def framing_hosts(texts: Iterable[str]) -> list[str]:
    """Hosts whose pages may show a report in a frame; they must be named, and may be none."""
    found = list(dict.fromkeys(hostname(text) for text in texts if text.strip()))
    if "*" in found:
        raise ValidationError("Name the hosts: * would let every page show it in a frame.")
    if len(found) > MOST_FRAMING_HOSTS:
        raise ValidationError(f"{MOST_FRAMING_HOSTS} hosts are the most. Use *.example.com.")
    return found


def addresses(texts: Iterable[str]) -> list[str]:
    """IP addresses and networks in CIDR notation, normalised."""
    found: dict[str, None] = {}
    for text in texts:
        if not text.strip():
            continue
        try:
            network = ipaddress.ip_network(text.strip(), strict=False)
        except ValueError:
            raise ValidationError(
                f"{text.strip()[:60]!r} is no address. Write one like 192.0.2.7 or 192.0.2.0/24."
            ) from None
        single = network.num_addresses == 1
        found[str(network.network_address if single else network)] = None
    return list(found)


LONGEST_PARAMETER = 40
MOST_PARAMETERS = 20
_PARAMETER = re.compile(r"[^\s&=?#%+\x00-\x1f\x7f]+")


def currency(text: str) -> str:
    code = text.strip().upper()
    if code not in currencies.DECIMALS:
        raise ValidationError(f"{text.strip()[:10]!r} is no currency. Write a code like EUR.")
    return code


def timezone(text: str) -> str:
    try:
        return periods.zone(text.strip()).key
    except ValueError as error:
        raise ValidationError(str(error)) from error


def name(text: str) -> str:
    """Not blank, on one line, without control characters."""
    clean = "".join(char for char in text if char.isprintable()).strip()
    if not clean:
        raise ValidationError("Write a name that can be read.")
    return clean


def switches(names: Iterable[str]) -> list[str]:
    """Names of capture switches, each once, in the order of their table."""
    wanted = set(names)
    for unknown in sorted(wanted - set(capture.NAMES)):
        known = ", ".join(capture.NAMES)
        raise ValidationError(f"There is no switch {unknown[:40]!r}. Known: {known}.")
    return [name for name in capture.NAMES if name in wanted]


def search_parameters(names: Iterable[str]) -> list[str]:
    """Names of parameters of an address, each once and in lower case, the first that is filled
    telling the term."""
    found = list(dict.fromkeys(name.strip().lower() for name in names if name.strip()))
    for name in found:
        is_short = len(name) <= LONGEST_PARAMETER
        if not (is_short and is_storable(name) and _PARAMETER.fullmatch(name)):
            raise ValidationError(
                f"{name[:40]!r} is no name of a parameter. Write one like q: at most "
                f"{LONGEST_PARAMETER} characters without spaces, &, =, ?, # and %."
            )
    if len(found) > MOST_PARAMETERS:
        raise ValidationError(f"At most {MOST_PARAMETERS} parameters can hold a search term.")
    if not found:
        raise ValidationError("Name at least one parameter, or switch Site search off.")
    return found


def rate_limit(value: int, before: int = 0) -> int:
    """Events a second; 0: as the installation has it. More than that only its operator allows."""
    most = settings.KEY_RATE
    if most and value > most and value != before:
        raise ValidationError(
            f"{most:,} events a second are the most here; its operator can allow more."
        )
    return value


def goal_event(text: str) -> str:
    """The name of an event, as events carry it."""
    return name(text)[:200] if text.strip() else ""


def goal_page(text: str) -> str:
    """A path with * for anything: `https://example.com/a?b` -> `/a`."""
    written = text.strip()
    host, scheme, after = written.partition("://")
    if scheme and "/" not in host:
        written = "/" + after.partition("/")[2]
    path = re.split(r"[?#]", written, maxsplit=1)[0]
    if not path:
        return ""
    if not is_storable(path) or not path.startswith(("/", "*")):
        raise ValidationError(f"{text.strip()[:60]!r} is no page. Write one like /thanks or /a/*.")
    return path
