"""The product made wrong on purpose: what the checker has to notice, or it is worth nothing.

In: AKTIVAT_SABOTAGE in the environment of programs that product.py starts with this module in the
place of the application. Out: the same application with one promise broken. It lives here and not
in the product, so that no setting of an installation can ever break a promise.
"""

import os
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from aktivat.asgi import application
from aktivat.celery import app
from tracking import batch, collecting, drain

__all__ = ["app", "application"]

ID = 5  # where an item of tracking/items.py has its event id


def acknowledge_before_commit() -> None:
    """The drain takes entries out of the stream before Postgres has them for good."""
    keep = drain._keep

    def keep_and_forget(cursor: Any, read: Sequence[Any]) -> Any:
        outcome = keep(cursor, read)
        for found in read:
            drain._delete(found)
        return outcome

    drain._keep = keep_and_forget


def no_duplicate_check() -> None:
    """Neither Valkey nor Postgres asks whether an event is known."""
    item_of = collecting.item_of

    def item_with_another_id(*args: Any) -> Any:
        item = list(item_of(*args))
        if item[0] != b"p":
            item[ID] = uuid4().bytes
        return tuple(item)

    collecting.item_of = item_with_another_id  # type: ignore[assignment]
    batch._keep_ids = lambda cursor, count: set()


WRONGS = {
    "acknowledge before commit": acknowledge_before_commit,
    "no duplicate check": no_duplicate_check,
}
if wanted := os.environ.get("AKTIVAT_SABOTAGE"):
    WRONGS[wanted]()
