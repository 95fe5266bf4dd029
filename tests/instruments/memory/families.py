"""The weight of each family of keys (tracking/keys.py), to the byte as the server counts it.

In: a client. Out: bytes and keys of each family, and what the server uses beside: the tables that
find keys and their ends. MEMORY USAGE of every key, not of a sample.
"""

import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from tests.instruments.memory.passing import AT_ONCE, all_keys
from tests.instruments.memory.pieces import batched

WEIGH = """
local found = {}
for i, key in ipairs(KEYS) do
  found[i] = redis.call('MEMORY', 'USAGE', key, 'SAMPLES', 0) or 0
end
return found
"""
FAMILIES = (
    ("visitor map", rb":i:[0-9a-f]{4}$"),
    ("visitor map, cookieless", rb":i:\d+:"),
    ("event ids", rb":d:"),
    ("bits of minutes", rb":b:m"),
    ("bits of hours: pages", rb":b:h\d+:P"),
    ("bits of hours: events", rb":b:h"),
    ("counters of hours", rb":c:"),
    ("dictionaries: pages", rb":n:\d+:page"),
    ("dictionaries: events", rb":n:"),
    ("who is online", rb":[owg]$"),
    ("ledger", rb":l:"),
    ("stream", rb":s$"),
    ("memory of the property", rb":m$"),
)
# What pages, sources and technology add. The counters of events lie in the same hashes as those of
# pages; they are 21 of some thousand fields.
OF_PAGES = ("bits of hours: pages", "counters of hours", "dictionaries: pages")
TABLES = "tables of keys"


@dataclass
class Weight:
    """Bytes and number of keys by family; `used`: all that the server uses beyond an empty one."""

    used: int
    rss: int
    bytes: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    keys: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    @property
    def tables(self) -> int:
        return self.used - sum(self.bytes.values())

    @property
    def without_pages(self) -> int:
        """Pages take their part of the tables by the number of their keys."""
        share = sum(self.keys[name] for name in OF_PAGES) / max(1, sum(self.keys.values()))
        return round(self.used - sum(self.bytes[name] for name in OF_PAGES) - share * self.tables)


def family_of(key: bytes) -> str:
    tail = key.partition(b"}")[2]
    for name, pattern in FAMILIES:
        if re.match(pattern, tail):
            return name
    return "other"


def used_memory(client: Any) -> int:
    """Settled: what the server frees in the background is freed."""
    client.execute_command("MEMORY", "PURGE")
    return int(client.info("memory")["used_memory"])


def weigh(client: Any, empty: int) -> Weight:
    names = all_keys(client)
    used = used_memory(client) - empty
    weight = Weight(used, int(client.info("memory")["used_memory_rss"]))
    measure = client.register_script(WEIGH)
    for some in batched(names, AT_ONCE):
        for key, size in zip(some, measure(keys=some), strict=True):
            weight.bytes[family_of(key)] += size
            weight.keys[family_of(key)] += 1
    return weight
