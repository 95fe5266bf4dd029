"""Where to tell of a hole: as RFC 9116 wants it, or nothing."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aktivat.security_txt import contact

PATH = "/.well-known/security.txt"


def test_it_names_the_contact_and_ends_within_a_year(client: Any, settings: Any) -> None:
    settings.SECURITY_CONTACT = "mailto:security@example.com"
    settings.PUBLIC_URL = "https://stats.example.com"
    answer = client.get(PATH)
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    fields = dict(line.split(": ", 1) for line in answer.content.decode().splitlines())
    assert fields["Contact"] == "mailto:security@example.com"
    assert fields["Canonical"] == f"https://stats.example.com{PATH}"
    end = datetime.fromisoformat(fields["Expires"])
    assert timedelta(days=7) < end - datetime.now(UTC) < timedelta(days=365)


def test_without_a_contact_there_is_none(client: Any) -> None:
    assert client.get(PATH).status_code == 404


@pytest.mark.parametrize(
    ("given", "uri"),
    [
        ("", ""),
        ("security@example.com", "mailto:security@example.com"),
        ("mailto:security@example.com", "mailto:security@example.com"),
        ("https://example.com/security", "https://example.com/security"),
    ],
)
def test_a_contact_is_an_address_of_mail_or_of_the_web(given: str, uri: str) -> None:
    assert contact(given) == uri


@pytest.mark.parametrize("given", ["somebody", "http://example.com", "a@b\nPolicy: x", "js:x"])
def test_anything_else_ends_the_start(given: str) -> None:
    with pytest.raises(SystemExit, match="SECURITY_CONTACT"):
        contact(given)
