"""How a key of the events Valkey is spelt. No other file spells one, but lua/*.lua, which gets
the property's prefix as KEYS[1] and derives these same keys in the same slot.

`{account:property}` are the two numeric ids; the braces are the cluster's hash tag: a property
lives on one slot, so one Lua call can touch all of it. Times in keys are epoch seconds (base 10)
of the start of the period in the property's zone, so a zone change or a doubled hour of an
autumn night never mixes two periods. Values that a visitor can choose (pages, event names) never
stand in a key: a dictionary per day numbers them.

    key (after the prefix {a:p})   type    meaning                                    lives
    :m                             hash    n visitor numbers given out, v version of  for ever
                                           the property, since when (ms) the
                                           counters here are complete, d bits of
                                           a bucket and the hour of the last growth,
                                           q what the account's plan lets in: hour,
                                           number since then, end (ms) of the month,
                                           y when (ms) which number was the highest,
                                           half an hour ago and since: who is new
    :i:<bucket>                    hash    visitor uuid (14 raw bytes) -> day of last  13 months
                                           event, number; bucket: last 2 bytes in hex
    :i:<utc day>:<bits>:<bucket>   hash    the same for cookieless visitors (15 raw   48 hours
                                           bytes); see "buckets"
    :d:<bits>:<bucket>             hash    event id (15 raw bytes) -> fingerprint,     37 hours
                                           hour; see "buckets"                        after use
    :s                             stream  accepted events not yet in Postgres        until drained
    :l:<utc hour>                  hash    ledger: accepted duplicate ping bot,       8 days
                                           r.<reason>
    :n:<day>:<dimension>           hash    value -> index in that day (dictionary)    3 days
    :c:<hour>                      hash    counters: E<i> events by name, A<i> events 3 days
                                           and V<i> pageviews by page, e all events,
                                           v all pageviews
    :b:<grain><start>:<who>        set or  bits: who is a (any event), E<i>, P<i>;    minute 3 h,
                                   string  see "containers"                           hour 3 days
    :o                             zset    who is online: visitor uuid + tab (raw)    minutes after
                                           -> ms at which the entry expires           the last ping
    :w                             hash    visitor uuid (raw) -> her tabs, what each  as :o
                                           shows: state, page ... (its look), and
                                           until when it goes on (lua/online.lua)
    :g                             hash    look -> how many visitors show it, each    as :o
                                           by the most active of her tabs
    :k:<utc minute>                hash    moment (ms) of a round of sampling ->      3 hours
                                           how many were here, packed (rounds.py)
    :y:<number/65536>              string  loyal visitors: a bit for each number      26 hours
    :y                             string  those bits are fresh                       6 hours
    :z                             string  somebody watches the events as they come   30 seconds
    :f                             stream  the last of them, while somebody does      10 minutes

and of the instance, where {0:0} is the prefix:

    {0:0}:salt:<day>               string  the secret of a day for visitors without   2 days
                                           an id
    {0:0}:k                        zset    minutes whose samples are not rows yet     until they are
    {0:0}:k:<utc minute>           hash    moment of a round that is whole -> "";     3 hours
                                           p<property> that has samples -> 1

Containers (what Roaring does, with what every server has). A small set of visitor numbers is a
set of integers (a packed array in the server, up to 512 members). The 513th member splits it:
the key becomes a plain bitmap of the container numbers in use, and each container, 65,536
numbers wide, has a key of its own with `:<number >> 16` appended: a set of (number & 65535) -
32768 (2 bytes a member), which above 512 members becomes an 8 kB bitmap. So a key never grows
with the highest number, and reading tells the kind by the key's type. Bitmaps are in
SETBIT's order: bit 0 is the highest of the first byte.

Buckets. A hash of few and short fields is packed by the server: 24 bytes for an event id, where a
hash table takes 57. So ids are spread over 2 ^ bits hashes: the bucket is the low
bits of the id's four words, xored; the field is the id without its last byte, which follows from
the two. 1,024 buckets to begin with; when a bucket holds 96 ids of the last day, and the ledger
says that it is not alone, their number is quadrupled (`d` in `:m`): what lies in a bucket moves
when the first id asks for one of those that take its place, so that no call ever moves much. The
number fits what servers pack by default (hash-max-listpack-entries is 128 or more).
An entry of an id is its fingerprint (4 bytes) and the hour of its coming modulo 256: a bucket that
grows by an eighth drops what is older than 24 hours. One field, "", is its own: how many fields
before the next such look, hour in which its end was last put off. Visitors unseen for 13 months
leave by forgetting.py. visitor_map.py says how
an entry of a visitor looks.

Days are not marked: a day's bits are the OR of its hours, made when it is rolled up.

What the event inspector shows (sampling.py) lies in the other Valkey, that of the cache, where
nothing has to last:

    aktivat:watched                zset    property -> ms until which somebody looks  minutes
    aktivat:samples:{a:p}:<kind>   zset    events (seen, refused) as JSON -> ms       5 minutes
    aktivat:tally:{a:p}:<minute>   hash    p<second> pings, o left out, l limited       3 minutes

what the live pages show of the last minutes (recent.py):

    aktivat:seconds:<whose>        zset    "second:open:active:engaged" by second     15 minutes

and what the administration shows of the worker (ticks.py):

    aktivat:ticks                  hash    <tick>|<fact> -> number or text              for ever
"""

import struct

MINUTE, HOUR = "m", "h"
LEAST_BITS, MOST_BITS = 10, 22  # of the number of a bucket, as in lua/accept.lua
DIMENSIONS = (
    "event",
    "page",
)  # dictionaries and bits; others bind to sessions (Postgres)
VALUES_PER_DAY = 10_000
OTHER = "(other)"
SMALL_SET = 512  # servers pack integer sets up to this many members (set-max-intset-entries)

INSTANCE = "{0:0}"  # the ledger of what names no known property
MINUTES_DUE = f"{INSTANCE}:k"


def prefix(account_id: int, property_id: int) -> str:
    return f"{{{account_id}:{property_id}}}"


def salt(day: int) -> str:
    """Instance-wide: the secret of a day (days since 1970) for visitors without an id."""
    return f"{INSTANCE}:salt:{day}"


def meta(prefix: str) -> str:
    return f"{prefix}:m"


def stream(prefix: str) -> str:
    return f"{prefix}:s"


def ledger(prefix: str, hour: int) -> str:
    return f"{prefix}:l:{hour}"


def dictionary(prefix: str, day: int, dimension: str) -> str:
    return f"{prefix}:n:{day}:{dimension}"


def counters(prefix: str, hour: int) -> str:
    return f"{prefix}:c:{hour}"


def bits(prefix: str, grain: str, start: int, who: str) -> str:
    return f"{prefix}:b:{grain}{start}:{who}"


def container(bits_key: str, number: int) -> str:
    return f"{bits_key}:{number}"


def online(prefix: str) -> str:
    return f"{prefix}:o"


def online_visitors(prefix: str) -> str:
    return f"{prefix}:w"


def online_looks(prefix: str) -> str:
    return f"{prefix}:g"


def samples_of_minute(prefix: str, minute: int) -> str:
    """minute: its start in epoch seconds."""
    return f"{prefix}:k:{minute}"


def rounds(minute: int) -> str:
    return samples_of_minute(INSTANCE, minute)


def loyal(prefix: str, chunk: int) -> str:
    return f"{prefix}:y:{chunk}"


def loyal_made(prefix: str) -> str:
    return f"{prefix}:y"


def watch(prefix: str) -> str:
    return f"{prefix}:z"


def feed(prefix: str) -> str:
    return f"{prefix}:f"


def visitors(prefix: str, bucket: str) -> str:
    return f"{prefix}:i:{bucket}"


def fold(identifier: bytes) -> int:
    """What the bucket of an id is the low bits of: its four words, xored (see "buckets")."""
    words = struct.unpack(">4I", identifier)
    return words[0] ^ words[1] ^ words[2] ^ words[3]


def event_ids(prefix: str, bits: int, bucket: int) -> str:
    return f"{prefix}:d:{bits}:{bucket}"


def visitors_of_day(prefix: str, day: int, bits: int, bucket: int) -> str:
    """Cookieless visitors; day since 1970, UTC."""
    return f"{prefix}:i:{day}:{bits}:{bucket}"


def places_of(identifier: bytes) -> list[tuple[int, int]]:
    """(bits, bucket) of every place where an id may lie, however many buckets there were."""
    place = fold(identifier)
    return [(bits, place & (2**bits - 1)) for bits in range(LEAST_BITS, MOST_BITS + 1, 2)]


WATCHED = "aktivat:watched"
TICKS = "aktivat:ticks"


def samples(prefix: str, kind: str) -> str:
    return f"aktivat:samples:{prefix}:{kind}"


def tally(prefix: str, minute: int) -> str:
    return f"aktivat:tally:{prefix}:{minute}"


def seconds(whose: str) -> str:
    """`whose`: a property's prefix, or a digest of several."""
    return f"aktivat:seconds:{whose}"
