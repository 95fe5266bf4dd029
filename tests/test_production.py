"""What holds in production, looked at from outside: Django's own check, and the cookies."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.people import PASSWORD

ROOT = Path(__file__).parents[1]
PRODUCTION = {
    "AKTIVAT_ENV": "production",
    "ALLOWED_HOSTS": "stats.example.com",
    "SECRET_KEY": "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
}


def run(*command: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | PRODUCTION
    environment.pop("DJANGO_ALLOW_ASYNC_UNSAFE")  # for playwright, in the tests only
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True
    )


def test_djangos_check_finds_nothing() -> None:
    done = run("manage.py", "check", "--deploy", "--fail-level", "WARNING")
    assert done.returncode == 0, done.stderr[-2_000:]
    assert "no issues" in done.stdout


LOG_IN = """
import json, sys
import django
django.setup()
from django.conf import settings
from django.test import Client
from django.test.utils import override_settings
plain = {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
with override_settings(STORAGES=settings.STORAGES | plain):
    client = Client(headers={"host": "stats.example.com"})
    bare = client.get("/user/login/")
    page = client.get("/user/login/", secure=True)
    answer = client.post("/user/login/", json.loads(sys.argv[1]), secure=True)
    cookies = {**page.cookies, **answer.cookies}
    print(json.dumps({
        "bare": [bare.status_code, bare.headers["Location"]],
        "strict": page.headers["Strict-Transport-Security"],
        "status": answer.status_code,
        "cookies": {name: morsel.OutputString() for name, morsel in cookies.items()},
    }))
"""


def test_cookies_are_bound_to_the_host_and_to_https(alice: Any) -> None:
    done = run("-c", LOG_IN, json.dumps({"login": alice.email, "password": PASSWORD}))
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["bare"] == [301, "https://stats.example.com/user/login/"]
    assert seen["strict"] == "max-age=31536000; includeSubDomains; preload"
    assert seen["status"] == 302
    assert seen["cookies"].keys() == {"__Host-sessionid", "__Host-csrftoken"}
    for name, cookie in seen["cookies"].items():
        parts = {part.strip().lower() for part in cookie.split(";")[1:]}
        assert {"secure", "path=/", "samesite=lax"} <= parts, cookie
        assert not any(part.startswith("domain") for part in parts)
        assert ("httponly" in parts) == (name == "__Host-sessionid")
        assert len(cookie) < 4096
