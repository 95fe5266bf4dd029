"""Users in a file: CSV with a header, or one JSON object a line.

Enters: a file's bytes. Leaves: (line number, user as people.judge() takes it), or Unreadable with
the line and what to do. Of a CSV the columns id, signed_up and time have their meaning, every
other one is a trait; an empty cell tells nothing. Called by `manage.py import_users`.
"""

import csv
import io
import json
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

MOST_COLUMNS: Final = 200
LONGEST_LINE: Final = 200_000
FIXED: Final = ("id", "signed_up", "time")


class Unreadable(Exception):
    """The file is not what it should be; nothing of it was imported."""


def users_in(stream: BinaryIO) -> Iterator[tuple[int, Any]]:
    """Each user of the file, with the number of its line."""
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
    try:
        first = text.readline(LONGEST_LINE)
        if not first.strip():
            raise Unreadable("The file is empty: its first line names the columns, or is JSON.")
        lines = _lines(first, text)
        yield from _of_json(lines) if first.lstrip().startswith("{") else _of_csv(first, lines)
    except UnicodeDecodeError as error:
        raise Unreadable("The file is not in UTF-8. Save it as UTF-8.") from error
    finally:
        text.detach()


def _lines(first: str, text: io.TextIOWrapper) -> Iterator[str]:
    line, number = first, 1
    while line:
        if len(line) >= LONGEST_LINE:
            raise Unreadable(f"Line {number} is longer than {LONGEST_LINE:,} characters.")
        if "\0" in line:
            raise Unreadable(f"Line {number} holds NUL: the file is not in UTF-8, or is damaged.")
        yield line
        line, number = text.readline(LONGEST_LINE), number + 1


def _of_json(lines: Iterator[str]) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                raise Unreadable(f"Line {number} is no JSON: {error}.") from error


def _of_csv(first: str, lines: Iterator[str]) -> Iterator[tuple[int, Any]]:
    delimiter = max(",;\t", key=first.count)
    rows = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        header = [name.strip() for name in next(rows)]
        _check(header)
        for row in rows:
            if len(row) > len(header) or (len(row) < len(header) and row):
                raise Unreadable(
                    f"Line {rows.line_num} has {len(row)} cells, the first line {len(header)}."
                )
            if any(row):
                yield rows.line_num, _user(header, row)
    except csv.Error as error:
        raise Unreadable(f"Line {rows.line_num} cannot be read: {error}.") from error


def _check(header: list[str]) -> None:
    if "id" not in header:
        raise Unreadable("Line 1 names no column id. It names the columns: id, signed_up, plan.")
    if len(header) > MOST_COLUMNS:
        raise Unreadable(f"Line 1 names {len(header):,} columns; {MOST_COLUMNS} are the most.")
    if "" in header or len(set(header)) < len(header):
        raise Unreadable("Line 1 leaves a column without a name, or names one twice.")


def _user(header: list[str], row: list[str]) -> dict[str, Any]:
    cells = {name: cell for name, cell in zip(header, row, strict=True) if cell}
    user: dict[str, Any] = {name: cells.pop(name) for name in FIXED if name in cells}
    return user | ({"traits": cells} if cells else {})
