"""What every answer says to browsers, whoever asks for what: a page, JSON, a file, a refusal.

The routes are those of the table in tests/test_access.py and those of the packages that guard
themselves, so that a new one is asked by itself."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.people import fresh, new_key, signed_in_as, with_key
from tests.test_access import PRIVACY, REPORTS, ROWS, Row, path_of, places, routes, send_row

__all__ = ["places"]
TABLE: list[Row] = [*ROWS, *PRIVACY, *REPORTS]
OTHERS = [
    "/nothing",
    "/p/AK-ZZZZZZZZ/",
    "/api/v1/properties/AK-ZZZZZZZZ",
    "/api/v1/nothing",
    "/api/schema/",
    "/api/docs/",
    "/healthz",
    "/readyz",
    "/login-link/spent/",
    "/invitation/spent/",
    "/share/spent/",
    "/.well-known/security.txt",
    "/.well-known/gpc.json",
]


def of_packages() -> list[str]:
    """A path for every route of allauth and of the administration, with made-up names in it."""
    found = []
    for route, _ in routes():
        if route.startswith(("user/", "admin/")):
            plain = re.sub(r"\(\?P<\w+>[^()]*\)|<[^>]+>", "1", route)
            found.append("/" + re.sub(r"\\Z|[\^$?\\]|\.\*", "", plain))
    return list(dict.fromkeys(found))


def guard(answer: Any, path: str) -> list[str]:
    """What an answer lacks."""
    headers = answer.headers
    policy = headers.get("Content-Security-Policy", "")
    shared = path.startswith("/share/")
    caching = set(headers.get("Cache-Control", "").split(", "))
    holds = {
        "kept by nobody": "private" in caching and bool({"no-store", "no-cache"} & caching),
        "policy": all(
            rule in policy
            for rule in (
                "default-src 'none'",
                "script-src 'self'",
                "object-src 'none'",
                "base-uri 'none'",
                "frame-ancestors 'none'",
            )
        ),
        "inline": ("unsafe-inline" in policy) == path.startswith("/admin/"),
        "scripts": "unsafe" not in policy.split("script-src")[-1].split(";")[0],
        "nosniff": headers.get("X-Content-Type-Options") == "nosniff",
        "frames": headers.get("X-Frame-Options") == "DENY",
        "referrer": headers.get("Referrer-Policy") == "same-origin",
        "robots": ("noindex" in headers.get("X-Robots-Tag", "")) == shared,
        "opener": headers.get("Cross-Origin-Opener-Policy") == "same-origin",
        "permissions": "geolocation=()" in headers.get("Permissions-Policy", ""),
        "id": bool(headers.get("X-Request-Id")),
        # Only the collector's paths, which stand in front of Django, are open to other sites.
        "cors": not any(name.lower().startswith("access-control-") for name in headers),
    }
    return [name for name, held in holds.items() if not held]


def asked(places: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """(who, path, answer) of every row and route, for somebody who may and for nobody."""
    origin = {"origin": "https://elsewhere.example", "sec-fetch-site": "cross-site"}
    program = with_key(new_key(places["acme"], "audience:view")[1])
    for who in ("alice", "vera", None):
        client = signed_in_as(places.get(who or ""))
        for row in TABLE:
            if row.method == "GET":
                path = path_of(row, places)
                yield str(who), path, client.get(path, headers=origin)
        for path in (*OTHERS, *of_packages()):
            yield str(who), path, client.get(path, headers=origin)
    for row in TABLE:
        if row.key is not None:
            path = path_of(row, places)
            yield "key", path, program.get(path, headers=origin)
            yield "key", path, program.options(path, headers=origin)


def test_every_answer_is_guarded_kept_by_nobody_and_for_this_site_alone(
    places: dict[str, Any],
) -> None:
    places["alice"].is_staff = places["alice"].is_superuser = True
    places["alice"].save()
    lacking, paths = [], set()
    for who, path, answer in asked(places):
        assert answer.status_code < 500, (who, path)
        paths.add(path)
        if lacks := guard(answer, path):
            lacking.append((who, path, answer.status_code, lacks))
    assert lacking == []
    assert len(paths) > 150


# -- writing needs a token -------------------------------------------------------------------------


def strict(user: Any) -> Any:
    """A browser in which she is signed in, and whose forms need their token."""
    client = signed_in_as(user)
    client.handler.enforce_csrf_checks = True
    return client


def written_by(connection: Any) -> Any:
    """A recorder of the statements that write."""
    found: list[str] = []

    def note(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        text = str(sql).lstrip().upper()
        if text.startswith(("INSERT", "UPDATE", "DELETE", "COPY")):
            found.append(str(sql))
        return execute(sql, params, many, context)

    return found, connection.execute_wrapper(note)


# What any request may leave behind: an entry of the audit log, when the session was last used.
OF_ITS_OWN = ('"audit_entries"', '"django_session"', '"usersessions_usersession"')


def writing() -> list[Row]:
    """Whose form is a visitor's own, the password of a link, stands in test_shared_reports.py."""
    found = [row for row in TABLE if row.method != "GET" and row.owner != 405]
    return [row for row in found if row.name != "unlock_share"]


def test_a_form_or_a_call_of_a_session_without_its_token_changes_nothing(
    places: dict[str, Any],
) -> None:
    client = strict(places["alice"])
    got = {}
    for row in writing():
        got[str(row)] = send_row(client, row, path_of(row, places)).status_code
    assert len(got) > 40
    assert {name: status for name, status in got.items() if status != 403} == {}


def test_no_link_writes(places: dict[str, Any]) -> None:
    """Every address that takes a form, fetched: a page, or that it takes no GET."""
    from django.db import connection

    client = signed_in_as(places["alice"])
    client.get("/")
    written, recording = written_by(connection)
    odd = []
    with recording:
        for row in writing():
            path = path_of(row, places)
            written.clear()
            status = client.get(path).status_code
            told = [sql for sql in written if not any(name in sql for name in OF_ITS_OWN)]
            if told or status not in (200, 405):
                odd.append((str(row), status, told))
    assert odd == []


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
)
def test_json_in_disguise_is_refused(kind: str, places: dict[str, Any]) -> None:
    """What a form of another site can send without asking; a key may not either."""
    rights = {row.right for row in TABLE if row.key is not None}
    program = with_key(new_key(places["acme"], *sorted(rights))[1])
    browser = signed_in_as(places["alice"])
    got = {}
    for row in writing():
        if row.key is not None and row.method in ("POST", "PUT", "PATCH") and row.body is not None:
            path = path_of(row, places)
            for who, client in (("key", program), ("session", browser)):
                answer = client.generic(row.method, path, '{"name": "X"}', content_type=kind)
                got[f"{who} {row}"] = answer.status_code
    assert len(got) > 20
    assert {name: status for name, status in got.items() if status not in (403, 415)} == {}


def test_allauths_forms_need_their_token(alice: Any) -> None:
    for client in (strict(alice), strict(None)):
        for path in ("login", "signup", "logout", "password/reset", "email", "2fa/authenticate"):
            answer = client.post(f"/user/{path}/", {"email": f"{fresh('x')}@example.com"})
            assert answer.status_code == 403, path
    assert signed_in_as(alice).get("/user/logout/").status_code == 200
