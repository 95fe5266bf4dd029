"""Who comes often: on at least 8 of the 16 days before today, in the property's zone.

In: the bitmaps of days that rollups keep. Out: bits in Valkey, from which lua/accept.lua tells a
loyal visitor when she opens a page. Asked only of properties where somebody is, every few hours:
a day changes little about eight of sixteen. A tick that is lost costs loyal visitors their name
for a while: they are returning ones then.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from pyroaring import BitMap

from properties import periods
from properties.models import Property
from reports.models import Bitmap, Grain
from tracking import keys, store
from tracking.drain import AT_ONCE, chunks
from tracking.working import WORKER

DAYS, OF_DAYS = 8, 16
KEPT = 26 * 3_600  # seconds
EVERY = 6 * 3_600  # seconds in which the bits of a property are made once
WIDTH = 65_536  # visitor numbers of a key


def mark_due_across_accounts(now: datetime) -> int:
    """Whose turn it is and where somebody is online; how many properties that were."""
    places = list(Property.objects.across_accounts().using(WORKER).order_by("pk"))
    client, marked = store.events_client(), 0
    for chunk in chunks(places, AT_ONCE):
        pipe = client.pipeline(transaction=False)
        for place in chunk:
            prefix = keys.prefix(place.account_id, place.pk)
            pipe.exists(keys.online(prefix))
            pipe.exists(keys.loyal_made(prefix))
        answers = pipe.execute()
        for place, is_live, is_made in zip(chunk, answers[::2], answers[1::2], strict=True):
            if is_live and not is_made:
                mark(place, now)
                marked += 1
    return marked


def mark(place: Property, now: datetime) -> int:
    """Keep the bits of the property's loyal visitors; how many there are."""
    prefix = keys.prefix(place.account_id, place.pk)
    found = often(_days(place, now))
    pipe = store.events_client().pipeline(transaction=False)
    highest = int(store.events_client().hget(keys.meta(prefix), "n") or 0)
    for chunk in range(highest // WIDTH + 1):
        bits = _bits(found, chunk)
        if bits:
            pipe.set(keys.loyal(prefix, chunk), bits, ex=KEPT)
        else:
            pipe.unlink(keys.loyal(prefix, chunk))
    pipe.set(keys.loyal_made(prefix), 1, ex=EVERY)
    pipe.execute()
    return len(found)


def _days(place: Property, now: datetime) -> Iterator[BitMap]:
    zone = periods.zone(place.timezone)
    today = now.astimezone(zone).date()
    rows = Bitmap.objects.using(WORKER).filter(
        property_id=place.pk,
        grain=Grain.DAY,
        dimension="",
        starts_at__gte=periods.day_start(today - timedelta(days=OF_DAYS), zone),
        starts_at__lt=periods.day_start(today, zone),
    )
    for bits in rows.values_list("bits", flat=True):
        yield BitMap.deserialize(bytes(bits))


def often(days: Iterable[BitMap]) -> BitMap:
    """Who is in at least DAYS of them."""
    at_least = [BitMap() for _ in range(DAYS)]
    for day in days:
        for more in range(DAYS - 1, 0, -1):
            at_least[more] |= at_least[more - 1] & day
        at_least[0] |= day
    return at_least[-1]


def _bits(found: BitMap, chunk: int) -> bytes:
    """In the order of GETBIT: bit 0 is the highest of the first byte."""
    bits = bytearray(WIDTH // 8)
    for number in found & BitMap(range(chunk * WIDTH, (chunk + 1) * WIDTH)):
        low = number % WIDTH
        bits[low >> 3] |= 128 >> (low & 7)
    return bytes(bits).rstrip(b"\0")
