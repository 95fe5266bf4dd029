"""Files that are sent while they are made, so that a large one is never whole in memory.

Enters: a generator of text or bytes that asks the database. Leaves: a response. The generator runs
outside of the view's transaction: each of its steps opens its own tenant, and closes it before it
yields (a slow reader must not hold a transaction).
"""

import csv
from collections.abc import AsyncIterator, Iterable, Iterator
from io import StringIO
from typing import Any, cast

from asgiref.sync import sync_to_async
from django.http import StreamingHttpResponse

from properties.strangers_text import csv_cell


class Streamed(StreamingHttpResponse):
    """A synchronous generator, of which each step runs in a thread; Django alone would exhaust it
    before it sends the first byte."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        parts = cast(Iterator[bytes], self.streaming_content)
        following = sync_to_async(lambda: next(parts, None))
        while (part := await following()) is not None:
            yield part


def csv_lines(rows: Iterable[Iterable[Any]]) -> str:
    """These rows as CSV, no cell of which a spreadsheet takes for a formula."""
    text = StringIO()
    csv.writer(text).writerows([csv_cell(cell) for cell in row] for row in rows)
    return text.getvalue()


def csv_download(name: str, blocks: Iterator[Iterable[Iterable[Any]]]) -> Streamed:
    """A CSV file of that name, sent block by block of rows."""
    return Streamed(
        (csv_lines(block) for block in blocks),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )
