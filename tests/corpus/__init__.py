"""The corpus of bad input: what broken pages, odd SDKs and attackers send to the collector, and
the documented answer to each. One table a file; `CASES` are all of them.

A case belongs to a row (C1 to C49) of a list of known kinds of bad input; docs/reliability.md has
the list. tests/test_corpus.py sends every case to a running collector.
"""

from tests.corpus import about_visitors, bodies, event_fields, headers_and_lines
from tests.corpus.case import Case

CASES: tuple[Case, ...] = (
    *bodies.CASES,
    *event_fields.CASES,
    *about_visitors.CASES,
    *headers_and_lines.CASES,
)
ROWS = tuple(f"C{number}" for number in range(1, 50))
