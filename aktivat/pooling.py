"""Connections of the web's pool, which end together when Postgres restarts.

The pool looks at a connection before it gives it out, but pauses for one second, two, four after
each dead one: with four or more at rest, the first request after a restart would wait in vain for
as long as the pool is patient. So the first one that is found dead takes the others along.
"""

from typing import Any

import psycopg


class PooledConnection(psycopg.Connection[Any]):
    """Of the pool of `default`. Django asks by cursors; `execute` is only how the pool looks."""

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().execute(*args, **kwargs)
        except psycopg.OperationalError:
            if self.closed:
                from django.db import connections  # settings.py imports this module

                connections["default"].pool.drain()  # type: ignore[attr-defined]
            raise
