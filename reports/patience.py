"""How long a question may take: beyond that it ends with a sentence, and holds no connection.

Enters: the statements of a question, inside the tenant's transaction. Leaves: TooSlow instead of
an endless wait; the transaction is lost then, and the caller must leave it. Called by queries.py.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg.errors
from django.conf import settings
from django.db import DatabaseError, connection
from rest_framework import status
from rest_framework.exceptions import APIException


class TooSlow(APIException):
    """Not a 5xx: asking the same again would take as long."""

    status_code = status.HTTP_422_UNPROCESSABLE_ENTITY
    default_code = "too_slow"

    def __init__(self) -> None:
        super().__init__(
            f"This question took longer than {settings.QUESTION_TIMEOUT} seconds. Choose a shorter "
            "range, or fewer dimensions and filters.",
            self.default_code,
        )


@contextmanager
def patience(*, is_set: bool = False) -> Iterator[None]:
    """No statement in it runs for longer than QUESTION_TIMEOUT; nor does a later one of the same
    transaction. `is_set`: an earlier one has seen to that."""
    if not is_set:
        with connection.cursor() as cursor:
            limit = f"{settings.QUESTION_TIMEOUT}s"
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [limit])
    try:
        yield
    except (DatabaseError, psycopg.Error) as error:
        cause = error if isinstance(error, psycopg.Error) else error.__cause__
        if isinstance(cause, psycopg.errors.QueryCanceled):
            raise TooSlow from error
        raise
