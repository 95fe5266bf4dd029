"""The id of a request stands on the error page, in the log line and in the audit log."""

import json
import logging
import re
from io import StringIO
from ipaddress import ip_network
from typing import Any

import pytest
import structlog

from tests.people import PASSWORD, signed_in_as

PROXY = "10.0.0.1"


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A browser for which whatever asks THE DOOR breaks, with a secret in the error."""
    from django.urls import get_resolver

    from properties import access

    assert get_resolver().url_patterns  # what annotates with Actor is imported while it is a class

    def bug(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("SELECT secret FROM somewhere")

    monkeypatch.setattr(access, "Actor", bug)
    return access


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> StringIO:
    """What the log's handler writes. It keeps the stderr of the moment in which it was made, which
    pytest may have replaced since."""
    out = StringIO()
    for handler in logging.getLogger().handlers:
        if isinstance(handler.formatter, structlog.stdlib.ProcessorFormatter):
            monkeypatch.setattr(handler, "stream", out)
    return out


def lines_of(text: str, request_id: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [line for line in found if line.get("request_id") == request_id]


@pytest.mark.parametrize("path", ["/p/{}/", "/api/v1/properties/{}"])
def test_a_500_shows_the_id_that_its_log_line_has(
    path: str, broken: Any, alice: Any, shop: Any, written: StringIO
) -> None:
    client = signed_in_as(alice)
    client.raise_request_exception = False
    answer = client.get(path.format(shop.key))
    assert answer.status_code == 500
    known = answer.headers["X-Request-Id"]
    assert re.fullmatch(r"[0-9a-f]{12}", known)
    body = answer.content.decode()
    assert known in body
    assert "SELECT" not in body
    assert "Traceback" not in body
    (line,) = lines_of(written.getvalue(), known)
    assert "SELECT secret" in line["exception"]


def test_the_api_names_it_in_the_error(broken: Any, alice: Any, shop: Any) -> None:
    client = signed_in_as(alice)
    client.raise_request_exception = False
    answer = client.get(f"/api/v1/properties/{shop.key}")
    assert answer.json()["error"]["request_id"] == answer.headers["X-Request-Id"]


def test_a_refusal_is_found_in_the_log_too(client: Any, written: StringIO) -> None:
    answer = client.get("/no-such-page/")
    assert answer.status_code == 404
    (line,) = lines_of(written.getvalue(), answer.headers["X-Request-Id"])
    assert line["level"] == "warning"


def test_every_request_has_another_and_leaves_none_behind(client: Any) -> None:
    from structlog.contextvars import get_contextvars

    seen = {client.get("/healthz").headers["X-Request-Id"] for _ in range(5)}
    assert len(seen) == 5
    assert "request_id" not in get_contextvars()


def test_the_audit_log_keeps_it(alice: Any, acme: Any, client: Any) -> None:
    from accounts.models import AuditEntry
    from accounts.tenancy import tenant

    answer = client.post("/user/login/", {"login": alice.email, "password": PASSWORD})
    with tenant(acme.pk):
        entry = AuditEntry.objects.filter(action="session.opened").latest("pk")
    assert entry.request_id == answer.headers["X-Request-Id"]


@pytest.mark.parametrize(
    ("peer", "given", "believed"),
    [
        (PROXY, "0123-abcd.EF_9", True),
        (PROXY, "short", False),
        (PROXY, "x" * 65, False),
        (PROXY, 'a"b c<d>e;f', False),
        ("192.0.2.9", "0123-abcd.EF_9", False),
    ],
)
def test_an_id_from_outside_is_believed_of_our_proxy_alone(
    peer: str, given: str, believed: bool, client: Any, settings: Any
) -> None:
    settings.TRUSTED_PROXIES = [ip_network(f"{PROXY}/32")]
    answer = client.get("/healthz", headers={"x-request-id": given}, REMOTE_ADDR=peer)
    assert (answer.headers["X-Request-Id"] == given) == believed


def test_lines_of_our_own_have_it(client: Any, capfd: Any, alice: Any, monkeypatch: Any) -> None:
    """What is written while a request is answered: here that a mail could not be sent."""
    from django.core.mail import EmailMessage

    def away(self: EmailMessage, *args: Any, **kwargs: Any) -> int:
        raise ConnectionRefusedError("no mail server")

    monkeypatch.setattr(EmailMessage, "send", away)
    logging.getLogger().setLevel(logging.WARNING)
    answer = client.post("/user/password/reset/", {"email": alice.email})
    lines = lines_of("".join(capfd.readouterr()), answer.headers["X-Request-Id"])
    assert [line["event"] for line in lines] == ["mail not sent"]
