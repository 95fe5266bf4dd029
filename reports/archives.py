"""All tables of a report in one file: a ZIP with each as CSV, the curve, and what they are about.

Enters: a request behind THE DOOR (urls.py names the right), with the address of the report's page.
Leaves: the file. It is made whole, on disk, before its first byte is sent: a table that cannot be
counted is an answer in words, and not half a file. A report that may be viewed with other rights
than some of its tables comes without these.
"""

from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing
from tempfile import TemporaryFile
from typing import IO, Any, NamedTuple
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.text import wrap
from django.views.decorators.http import require_safe

from properties.models import Property
from properties.periods import Range, RangeError
from properties.strangers_text import visible
from properties.streaming import Streamed, csv_lines
from reports import catalogue, curves, files
from reports.address import AddressError
from reports.catalogue import OVERVIEW
from reports.compared import of_tables
from reports.formatting import range_name
from reports.parts import Page, Table, asked, whole
from reports.patience import for_a_file, in_time
from reports.picks import WITH_BOTS
from reports.tables import Order
from reports.views import _read

PIECE = 1 << 16  # bytes that are sent at a time
WIDTH = 90  # letters in a line of the text


class Part(NamedTuple):
    """One of the files inside."""

    name: str
    columns: files.Columns
    rows: Iterator[dict[str, Any]]


@require_safe
def tables_zip(
    request: HttpRequest, place: Property, report: str = OVERVIEW.name
) -> HttpResponseBase:
    """Every row of every table of a report that may be viewed."""
    found = catalogue.find(report)
    try:
        page = _read(request, place, found, found.own)
    except (AddressError, RangeError) as error:
        return files.refused(str(error))
    file, count = _written(page)
    files.told(request, page, f"all of {report}", count)
    name = files.file_name(request, page, report, "zip")
    return Streamed(
        _pieces(file),
        content_type="application/zip",
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "Content-Length": str(file.seek(0, 2)),
        },
    )


def _written(page: Page) -> tuple[IO[bytes], int]:
    """The archive, in a file without a name, and how many rows are in it. Raises TooSlow."""
    seconds = for_a_file(page.place.account_id)
    with ExitStack() as unless_whole:
        file = unless_whole.enter_context(TemporaryFile(dir=settings.SPOOL_DIR))
        with ZipFile(file, "w", ZIP_DEFLATED) as archive:
            archive.writestr(_entry(page, "about.txt"), "\n".join(_about(page)) + "\n")
            with closing(_filled(page, archive)) as blocks:
                count = sum(in_time(seconds, blocks))
        unless_whole.pop_all()
    return file, count


def _filled(page: Page, archive: ZipFile) -> Generator[int, None, None]:
    """How many rows each block has that was written."""
    for name, columns, rows in _parts(page):
        # How large it becomes, nobody knows yet: over 2 GB it has to be of another kind.
        with archive.open(_entry(page, name), "w", force_zip64=True) as entry:
            for at, block in enumerate(files.blocks(columns, rows)):
                entry.write(csv_lines(block).encode())
                yield len(block) if at else 0  # the heading is no row


def _entry(page: Page, name: str) -> ZipInfo:
    found = ZipInfo(name, page.now.timetuple()[:6])
    found.compress_type = ZIP_DEFLATED
    return found


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        file.seek(0)
        while piece := file.read(PIECE):
            yield piece


def _parts(page: Page) -> Iterator[Part]:
    """Each is counted when it is taken."""
    if page.tiles:
        yield Part("curve.csv", files.columns_of_series(page), iter(files.series(page)))
    for table in _tables(page):
        _, columns, rows = files.rows_of(page, table, Order(table.columns[0]))
        yield Part(f"{table.name}.csv", columns, rows)


def _tables(page: Page) -> Iterator[Table]:
    """What the links to whole tables lead to: those of the overview have every metric."""
    for card in page.report.cards:
        for table in page.shown(card):
            if page.report is OVERVIEW:
                yield page.fitted(whole(table.dimension, page.may_view))
            else:
                yield table


def _about(page: Page) -> Iterator[str]:
    """Of what, from when to when, and what the columns mean."""
    address = page.address
    yield f"{visible(page.place.name)}: {page.report.title}"
    yield f"{range_name(address.range)}, {_from_until(address.range)}; {curves.caption_of(page)}"
    yield from (f"Only where {each.words}" for each in address.filters)
    if page.report.bots is None:
        yield WITH_BOTS[address.bots]
    if (other := of_tables(page)) is not None:
        yield f"Columns that end in _before: {other.what}"
        if other.range is not None:
            yield _from_until(other.range)
    yield ""
    yield "Every row of each table. Rates are 0 to 1, durations milliseconds, an empty cell is"
    yield "unknown. A text that a spreadsheet would take for a formula begins with '."
    words = {name: page.report.words_of(name) for name in page.tiles}
    for table in _tables(page):
        words |= {name: table.words_of(name) for name in asked(table.columns)}
    for name, (label, definition) in words.items():
        yield ""
        yield from wrap(f"{name}: {label}. {definition}", WIDTH).splitlines()


def _from_until(shown: Range) -> str:
    return f"from {shown.span.start:%Y-%m-%d %H:%M} until {shown.span.end:%Y-%m-%d %H:%M} UTC"
