"""What texts packed days have, remembered by this process from one request to the next.

A month has the same few thousand pages on each of its days: to read and to compare thirty such
dictionaries was a third of what a table of pages costs. Enters: a property, a column of texts and
the digest of a day's dictionary. Leaves: its Lexicon, in which that dictionary is looked for. Who
may see a day is not decided here: its rows are read as ever, and only what they name by digest is
taken from memory. Called by reports/blocks.py.

Whatever is older than an hour is forgotten when the next question comes, for people may have
themselves erased, and a path may name them.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from threading import Lock

from reports.dictionaries import Lexicon

MOST = 64 << 20  # bytes of all lexicons of a process, about
MOST_LEXICONS = 1_000  # of a process: all of them are looked through whenever one is asked for
OLDEST = 3_600  # seconds

_lexicons: OrderedDict[tuple[int, str], tuple[float, Lexicon]] = OrderedDict()
_lock = Lock()


def lexicon(property_id: int, name: str) -> Lexicon:
    """That of a column; a new one where there is none. All that are too old are forgotten, and of
    the others, where they are too much, those first that nobody has asked for since."""
    key, now = (property_id, name), time.monotonic()
    with _lock:
        for old in [each for each, (made, _) in _lexicons.items() if now - made > OLDEST]:
            del _lexicons[old]
        made, found = _lexicons.pop(key) if key in _lexicons else (now, Lexicon())
        _lexicons[key] = made, found
        weight = sum(one.weight for _, one in _lexicons.values())
        while len(_lexicons) > 1 and (weight > MOST or len(_lexicons) > MOST_LEXICONS):
            _, (_, least) = _lexicons.popitem(last=False)
            weight -= least.weight
    return found


def forget_all() -> None:
    """As a process that has just started."""
    with _lock:
        _lexicons.clear()
