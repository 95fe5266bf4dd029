"""What every answer says to browsers, whoever asks for what: a page, JSON, a file, a refusal."""

from typing import Any

import pytest

from tests.people import signed_in_as

PATHS = [
    "/",
    "/nothing",
    "/user/login/",
    "/p/{key}/",
    "/p/{key}/settings/",
    "/p/{key}/table/page.csv",
    "/p/AK-ZZZZZZZZ/",
    "/a/{account}/",
    "/api/v1/accounts",
    "/api/v1/properties/{key}",
    "/api/v1/properties/AK-ZZZZZZZZ",
    "/api/v1/nothing",
    "/api/stats/track/{account}/pageview/2026",
    "/api/schema/",
    "/api/docs/",
    "/admin/",
    "/admin/login/",
    "/healthz",
    "/login-link/spent/",
]


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_is_guarded_and_kept_by_nobody(
    path: str, alice: Any, shop: Any, acme: Any
) -> None:
    for client in (signed_in_as(alice), signed_in_as(None)):
        headers = client.get(path.format(key=shop.key, account=acme.slug)).headers
        assert "private" in headers["Cache-Control"]
        assert {"no-store", "no-cache"} & set(headers["Cache-Control"].split(", "))
        policy = headers["Content-Security-Policy"]
        for rule in ("default-src 'none'", "object-src 'none'", "base-uri 'none'"):
            assert rule in policy
        assert "script-src 'self'" in policy
        assert ("unsafe-inline" in policy) == path.startswith("/admin/")
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert "geolocation=()" in headers["Permissions-Policy"]
