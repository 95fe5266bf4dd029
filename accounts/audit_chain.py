"""Is the audit log as it was written? Called by `manage.py verify_audit`.

Enters: an account's id, and perhaps a head that somebody kept elsewhere. Leaves: how many entries
there are, the head (the last number and its hash), and the numbers at which the chain breaks. Asks
as the worker's user, who sees every tenant.
"""

from dataclasses import dataclass, field

from django.db import connections

MOST_BROKEN = 1_000  # numbers that are told; one is enough to know

_ACCOUNTS = "SELECT DISTINCT account_id FROM audit_entries ORDER BY account_id"
_HEAD = """
    SELECT count(*), max(number), (array_agg(hash ORDER BY number DESC))[1]
    FROM audit_entries WHERE account_id = %s
"""
_BROKEN = """
    SELECT number FROM (
        SELECT
            number,
            number IS DISTINCT FROM coalesce(lag(number) OVER w, 0) + 1
            OR hash IS DISTINCT FROM audit_hash(coalesce(lag(hash) OVER w, ''), entry) AS broken
        FROM audit_entries AS entry
        WHERE account_id = %s
        WINDOW w AS (ORDER BY number)
    ) AS checked WHERE broken ORDER BY number LIMIT %s
"""
_HASH_OF = "SELECT hash FROM audit_entries WHERE account_id = %s AND number = %s"


@dataclass(frozen=True)
class Chain:
    """broken: numbers of entries that were changed, or before which one is missing."""

    entries: int
    head: str  # "number:hash"; "" for an empty log
    broken: list[int] = field(default_factory=list)


def accounts_with_entries() -> list[int]:
    with connections["worker"].cursor() as cursor:
        cursor.execute(_ACCOUNTS)
        return [account_id for (account_id,) in cursor.fetchall()]


def check(account_id: int, kept_head: str = "") -> Chain:
    """The chain of one account. `kept_head`, as this gave it once, must still be in it."""
    with connections["worker"].cursor() as cursor:
        cursor.execute(_HEAD, [account_id])
        count, last, digest = cursor.fetchone()
        cursor.execute(_BROKEN, [account_id, MOST_BROKEN])
        broken = {number for (number,) in cursor.fetchall()}
        if kept_head:
            number, kept = parse_head(kept_head)
            cursor.execute(_HASH_OF, [account_id, number])
            if cursor.fetchone() != (kept,):
                broken.add(number)
    head = f"{last}:{bytes(digest).hex()}" if last else ""
    return Chain(count, head, sorted(broken))


def parse_head(text: str) -> tuple[int, bytes]:
    """`"12:ab34..."` -> its number and hash; ValueError for anything else."""
    number, _, digest = text.partition(":")
    return int(number), bytes.fromhex(digest)
