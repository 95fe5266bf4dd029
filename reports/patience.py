"""How long a question may take: beyond that it ends with a sentence, and holds no connection.

Enters: the statements of a question, inside the tenant's transaction; or the rows of a file while
they are counted. Leaves: TooSlow instead of an endless wait; the transaction is lost then, and the
caller must leave it. Called by queries.py.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import psycopg.errors
from django.conf import settings
from django.db import DatabaseError, connection
from rest_framework import status
from rest_framework.exceptions import APIException


class TooSlow(APIException):
    """Not a 5xx: asking the same again would take as long."""

    status_code = status.HTTP_422_UNPROCESSABLE_ENTITY
    default_code = "too_slow"

    def __init__(self, seconds: int) -> None:
        super().__init__(
            f"This question took longer than {seconds} seconds. Choose a shorter "
            "range, or fewer dimensions and filters.",
            self.default_code,
        )


@contextmanager
def patience(seconds: int | None = None, *, is_set: bool = False) -> Iterator[None]:
    """No statement in it runs for longer than that (by default QUESTION_TIMEOUT); nor does a later
    one of the same transaction. `is_set`: an earlier one has seen to that."""
    seconds = settings.QUESTION_TIMEOUT if seconds is None else seconds
    if not is_set:
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [f"{seconds}s"])
    try:
        yield
    except (DatabaseError, psycopg.Error) as error:
        cause = error if isinstance(error, psycopg.Error) else error.__cause__
        if isinstance(cause, psycopg.errors.QueryCanceled):
            raise TooSlow(seconds) from error
        raise


ALONE = "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))"


def for_a_file(account_id: int) -> int:
    """Seconds in which a table may be counted for a file. More than for a page, but only for one
    file of an account at a time: the next one has what a page has, so that nobody's files hold
    more than one thread and connection for long."""
    with connection.cursor() as cursor:
        cursor.execute(ALONE, [f"file of {account_id}"])
        is_alone = cursor.fetchone()[0]
    return settings.FILE_TIMEOUT if is_alone else settings.QUESTION_TIMEOUT


T = TypeVar("T")


def in_time(seconds: int, rows: Iterable[T]) -> Iterator[T]:
    """The rows, for so long: each of their statements may take its time, and they are many."""
    deadline = time.monotonic() + seconds
    for row in rows:
        if time.monotonic() > deadline:
            raise TooSlow(seconds)
        yield row
