"""Latencies of any number of requests in little memory: buckets of at most 3 % width.

In: microseconds. Out: percentiles, rounded up to the end of their bucket, so never flattering.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from math import ceil

FINE = 5  # 32 buckets for each power of two


def bucket(microseconds: int) -> int:
    """Values below 64 have a bucket each; above, 32 share the range up to the double."""
    shift = max(microseconds.bit_length() - FINE - 1, 0)
    return (shift << FINE) + (microseconds >> shift)


def highest(number: int) -> int:
    """The highest value of a bucket."""
    shift = max((number >> FINE) - 1, 0)
    return ((number - (shift << FINE) + 1) << shift) - 1


class Histogram:
    """Counts of latencies by bucket."""

    def __init__(self, counts: Mapping[int, int] | Iterable[tuple[int, int]] = ()) -> None:
        self.counts: Counter[int] = Counter(dict(counts))

    def add(self, seconds: float) -> None:
        self.counts[bucket(max(round(seconds * 1_000_000), 0))] += 1

    def __len__(self) -> int:
        return self.counts.total()

    def percentile(self, percent: float) -> float:
        """The latency in ms that so many percent of the requests did not exceed; 0 for none."""
        left = ceil(len(self) * percent / 100)
        for number in sorted(self.counts):
            left -= self.counts[number]
            if left <= 0:
                return highest(number) / 1000
        return 0.0

    def pairs(self) -> list[tuple[int, int]]:
        """What `Histogram(...)` takes, as JSON can hold it."""
        return sorted(self.counts.items())
