"""Translate connection URLs into the dialects of the libraries that use them.

In: the URLs of the environment (any libpq URL or conninfo string, any redis-py URL).
Out: Django's DATABASES entry, and the URL that Celery's transport understands.
Called by settings.py, the set-up of the databases and the health pages.
"""

from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from psycopg import conninfo
from psycopg.errors import ProgrammingError


def django_database(url: str) -> dict[str, Any]:
    """The DATABASES entry of a libpq URL; whatever Django has no name for goes to OPTIONS.

    Raises SystemExit with the name of the fault when the URL is none, or names no database.
    """
    given = parse(url)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": given.pop("dbname"),
        "USER": given.pop("user", ""),
        "PASSWORD": given.pop("password", ""),
        "HOST": given.pop("host", ""),
        "PORT": given.pop("port", ""),
        "OPTIONS": dict(given),
    }


def parse(url: str) -> dict[str, str]:
    """The parts of a libpq URL as libpq reads them: user, password, host, port, dbname, ..."""
    try:
        given = {key: str(value) for key, value in conninfo.conninfo_to_dict(url).items()}
    except ProgrammingError:
        # Neither the URL nor libpq's words about it, which repeat it: it holds a password.
        raise SystemExit(
            "A database URL cannot be read. "
            "Write it like postgresql://user:password@host:5432/database."
        ) from None
    if not given.get("dbname"):
        raise SystemExit(
            "A database URL names no database. "
            "Write it like postgresql://user:password@host:5432/database."
        )
    return given


def with_user(url: str, user: str, password: str) -> str:
    """The same server and database for another user, as a postgresql:// URL."""
    return to_url({**parse(url), "user": user, "password": password})


def to_url(parts: dict[str, str]) -> str:
    """A postgresql:// URL of libpq's keywords; a socket folder goes into the query part."""
    rest = dict(parts)
    user, password = rest.pop("user", ""), rest.pop("password", "")
    login = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
    login = f"{login}@" if user else ""
    database = quote(rest.pop("dbname"), safe="")
    query = urlencode(rest, quote_via=quote)
    return f"postgresql://{login}/{database}" + (f"?{query}" if query else "")


def celery_url(url: str) -> str:
    """The same Valkey in the spelling of Celery's transport (redis+socket:// for a socket)."""
    parts = urlsplit(url)
    if parts.scheme != "unix":
        return url
    database = parse_qs(parts.query).get("db", ["0"])[0]
    return f"redis+socket://{parts.netloc}{parts.path}?virtual_host={database}"
