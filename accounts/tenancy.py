"""The tenant of a database transaction.

Row-level security (accounts/rls.py) shows the web's database user only the rows of the account
named by the transaction-local setting `aktivat.account`. THE DOOR enters here; nothing else
should. Outside, tenant tables look empty.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction

SETTING = "aktivat.account"
# What stood there before is a row, and so read, when the setting is made.
ENTER_WITHIN = """
WITH before AS MATERIALIZED (SELECT current_setting(%s, true) AS account)
SELECT account, set_config(%s, %s, true) FROM before"""


@contextmanager
def tenant(account_id: int) -> Iterator[None]:
    """A transaction in which the rows of this account, and of no other, are visible."""
    within = connection.in_atomic_block
    with transaction.atomic(), connection.cursor() as cursor:
        if not within:
            # Each request pays this: nothing stood there, and the transaction's end forgets it.
            cursor.execute("SELECT set_config(%s, %s, true)", [SETTING, str(account_id)])
            yield
            return
        cursor.execute(ENTER_WITHIN, [SETTING, SETTING, str(account_id)])
        before = cursor.fetchone()[0] or ""
        yield
        # A nested use (account-wide answers) must give the outer tenant back. A rollback does so
        # by itself, and allows no query before it.
        if not connection.needs_rollback:
            cursor.execute("SELECT set_config(%s, %s, true)", [SETTING, before])
