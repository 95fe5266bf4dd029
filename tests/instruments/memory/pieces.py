"""Long things in pieces, for commands that take many keys at once."""

from collections.abc import Iterable, Iterator
from itertools import islice


def batched(things: Iterable[bytes], size: int) -> Iterator[list[bytes]]:
    rest = iter(things)
    while piece := list(islice(rest, size)):
        yield piece
