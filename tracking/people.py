"""Who a property's users are: what imports, the API and user events tell of them.

Enters: facts (when she signed up, traits) with the moment from which they hold. Leaves: rows of
`persons`, in which the newest of each fact stands, whatever was told first: a file imported twice,
events that arrive in another order or are drained twice end in the same row. Set, never add.
Called by people_endpoints.py and `manage.py import_users` (as the web's user, inside the tenant),
and by batch.py for the events signupUser, loginUser, importUser and updateUser.

The price of that: each trait keeps its time, also when it was taken away.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import orjson
from django.db import connections, transaction

from properties.inputs import is_storable
from properties.models import Property
from tracking import fields, tombstones
from tracking.arrivals import Arrival
from tracking.event import read_row
from tracking.refusals import Reason, Refusal

MOST: Final = 1_000  # users of a call
AHEAD: Final = timedelta(minutes=5)  # as of an event: a clock may be wrong by so much
SIGNUP, UPDATES = "signupUser", ("loginUser", "importUser", "updateUser")
USER_EVENTS: Final = frozenset((SIGNUP, *UPDATES))
SIGNUP_DATE: Final = "signupDate"  # the name under which the tracker sends it, among the traits


class Told(NamedTuple):
    """What somebody says of one user. A trait of None is taken away."""

    account_id: int
    property_id: int
    user: str
    at: int  # epoch milliseconds: since when it holds
    signed_up: datetime | None = None
    traits: Mapping[str, Any] = {}
    seen: datetime | None = None  # when an event of hers happened


class Known(NamedTuple):
    """A row of `persons`. `told` has the times: {"signed_up": ms, "traits": {name: ms}}."""

    signed_up: datetime | None
    traits: dict[str, Any]
    told: dict[str, Any]
    first_seen: datetime | None
    last_seen: datetime | None


NOTHING: Final = Known(None, {}, {}, None, None)


# -- the newest wins -------------------------------------------------------------------------


def learn(known: Known, told: Told) -> Known:
    """The person after she was told of. Raises Refusal when her traits became too many."""
    times = dict(known.told)
    signed_up = known.signed_up
    if told.signed_up is not None and _wins(
        told.at, told.signed_up, times.get("signed_up"), signed_up
    ):
        signed_up, times["signed_up"] = told.signed_up, told.at
    traits, of_traits = dict(known.traits), dict(times.get("traits", {}))
    for name, value in told.traits.items():
        if _wins(told.at, value, of_traits.get(name), traits.get(name)):
            of_traits[name] = told.at
            if value is None:
                traits.pop(name, None)
            else:
                traits[name] = value
    if of_traits:
        times["traits"] = of_traits
        _bound(traits, of_traits)
    first, last = known.first_seen, known.last_seen
    if told.seen is not None:
        first, last = min(first or told.seen, told.seen), max(last or told.seen, told.seen)
    return Known(signed_up, traits, times, first, last)


def _wins(at: int, value: Any, known_at: int | None, known: Any) -> bool:
    """Of two that hold since the same moment the greater, so that no order of telling matters."""
    if known_at is None or at != known_at:
        return known_at is None or at > known_at
    return _plain(value) > _plain(known)


def _plain(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _bound(traits: Mapping[str, Any], times: Mapping[str, int]) -> None:
    if len(times) > fields.MAX_KEYS:
        raise Refusal(
            Reason.TOO_MANY_PROPERTIES,
            f"A user has at most {fields.MAX_KEYS} traits, with those that were taken away.",
            "traits",
        )
    if len(orjson.dumps(traits)) > fields.MAX_PROPS_BYTES:
        raise Refusal(
            Reason.TOO_LARGE,
            f"The traits of a user hold at most {fields.MAX_PROPS_BYTES:,} bytes as JSON.",
            "traits",
        )


# -- in Postgres -----------------------------------------------------------------------------

# In one order, so that two who write the same people do not wait for each other.
MAKE = """
INSERT INTO persons (account_id, property_id, "user", traits, told, updated)
SELECT account_id, property_id, "user", '{}', '{}', clock_timestamp()
FROM unnest(%s::bigint[], %s::bigint[], %s::text[]) AS new(account_id, property_id, "user")
ORDER BY property_id, "user"
ON CONFLICT DO NOTHING
"""

READ = """
SELECT property_id, "user", signed_up, traits::text, told::text, first_seen, last_seen
FROM persons JOIN unnest(%s::bigint[], %s::text[]) AS wanted(property_id, "user")
    USING (property_id, "user")
ORDER BY property_id, "user"
FOR UPDATE OF persons
"""

WRITE = """
UPDATE persons SET signed_up = new.signed_up, traits = new.traits::jsonb, told = new.told::jsonb,
    first_seen = new.first_seen, last_seen = new.last_seen, updated = clock_timestamp()
FROM unnest(%s::bigint[], %s::text[], %s::timestamptz[], %s::text[], %s::text[],
    %s::timestamptz[], %s::timestamptz[])
    AS new(property_id, "user", signed_up, traits, told, first_seen, last_seen)
WHERE persons.property_id = new.property_id AND persons."user" = new."user"
"""


def tell(using: str, facts: Sequence[Told]) -> dict[int, Refusal]:
    """Keep what is new of these facts; which of them were refused, by their place.

    `using` names the database's user: the web inside its tenant, or the worker.
    """
    if not facts:
        return {}
    refused: dict[int, Refusal] = {}
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        before = _locked(cursor, facts)
        after = dict(before)
        for n, told in enumerate(facts):
            name = (told.property_id, told.user)
            try:
                after[name] = learn(after[name], told)
            except Refusal as refusal:
                refused[n] = refusal
        _write(cursor, {name: known for name, known in after.items() if known != before[name]})
    return refused


def _locked(cursor: Any, facts: Iterable[Told]) -> dict[tuple[int, str], Known]:
    """The persons, made where they are missing, until the transaction ends."""
    names = {(told.property_id, told.user): told.account_id for told in facts}
    properties, users = [name[0] for name in names], [name[1] for name in names]
    cursor.execute(MAKE, [list(names.values()), properties, users])
    cursor.execute(READ, [properties, users])
    return {
        (place, user): Known(
            signed_up, orjson.loads(traits), orjson.loads(told), first_seen, last_seen
        )
        for place, user, signed_up, traits, told, first_seen, last_seen in cursor.fetchall()
    }


def _write(cursor: Any, changed: Mapping[tuple[int, str], Known]) -> None:
    if not changed:
        return
    rows = [
        (*name, known.signed_up, _text(known.traits), _text(known.told), *known[3:])
        for name, known in changed.items()
    ]
    cursor.execute(WRITE, [list(column) for column in zip(*rows, strict=True)])


def _text(value: Any) -> str:
    return orjson.dumps(value).decode()


# -- what events tell ------------------------------------------------------------------------


def told_by(arrivals: Iterable[Arrival]) -> list[Told]:
    """Of events called as in USER_EVENTS those that name a user; bots tell nothing."""
    found = []
    for place, _, _, row in arrivals:
        sent = read_row(row)
        if sent["user"] and sent["bot"] == "f":
            happened = datetime.fromisoformat(sent["time"] or "").astimezone(UTC)
            found.append(_of_event(place, sent["name"] or "", sent, happened))
    return found


def _of_event(
    place: Property, name: str, sent: Mapping[str, str | None], happened: datetime
) -> Told:
    traits = orjson.loads(sent["props"] or "{}")
    signed_up = _date_or_none(traits.pop(SIGNUP_DATE, None), happened)
    if signed_up is None and name == SIGNUP:
        signed_up = happened
    at = round(happened.timestamp() * 1000)
    return Told(place.account_id, place.pk, sent["user"] or "", at, signed_up, traits, happened)


def _date_or_none(value: Any, now: datetime) -> datetime | None:
    """Pages send what they have; what is no date, or lies ahead, tells nothing."""
    try:
        return _moment(value, SIGNUP_DATE, now)
    except Refusal:
        return None


# -- what programs tell ----------------------------------------------------------------------

ITEM: Final = ("id", "signed_up", "traits", "time")


def judge(place: Property, item: Any, now: datetime) -> Told:
    """One user of an import: `{"id", "signed_up"?, "traits"?, "time"?}`. Raises Refusal."""
    if not isinstance(item, dict):
        raise Refusal(Reason.SHAPE, 'A user is an object like {"id": "17", "traits": {}}.')
    for name in item:
        if name not in ITEM:
            known = ", ".join(ITEM)
            raise Refusal(Reason.INVALID, f"A user has no such field. Known: {known}.", name[:60])
    time, signed_up = item.get("time"), item.get("signed_up")
    since = now if time is None else _moment(time, "time", now)
    return Told(
        place.account_id,
        place.pk,
        _id(item),
        round(since.timestamp() * 1000),
        None if signed_up is None else _moment(signed_up, "signed_up", now),
        clean_traits(item.get("traits")),
    )


def _id(item: Mapping[str, Any]) -> str:
    value = item.get("id")
    if value is None:
        raise Refusal(Reason.MISSING, "Send the user's id.", "id")
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise Refusal(Reason.INVALID, "id must be a string or a whole number.", "id")
    clean, changed = fields.user({"user": value})
    if changed or not clean:
        raise Refusal(
            Reason.INVALID,
            f"id must be 1 to {fields.TEXT} characters that can be stored, and name somebody: "
            "not null, undefined, anonymous or the like.",
            "id",
        )
    return clean


def clean_traits(value: Any) -> dict[str, Any]:
    """Traits within the limits of an event's props."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Refusal(Reason.INVALID, "traits must be an object.", "traits")
    try:
        clean, _ = fields.clean_props(value)
    except Refusal as refusal:
        message = refusal.message.replace("props", "traits", 1)
        raise Refusal(refusal.reason, message, "traits") from refusal
    _bound(clean, dict.fromkeys(clean, 0))
    return clean


def _moment(value: Any, field: str, now: datetime) -> datetime:
    """ISO 8601 with an offset, milliseconds, or a day (its beginning in UTC); not in the future."""
    if isinstance(value, str) and len(value) == 10:
        value = f"{value}T00:00:00+00:00"
    try:
        found = datetime.fromtimestamp(fields.moment(value, field) / 1000, UTC)
    except (OverflowError, OSError, ValueError) as error:
        raise Refusal(
            Reason.TIMESTAMP, f"{field} lies outside of what can be stored.", field
        ) from error
    if found > now + AHEAD:
        raise Refusal(Reason.FUTURE, f"{field} lies in the future.", field)
    return found


class Answer(NamedTuple):
    """What became of the users of a call: how many were taken, and why others were not."""

    accepted: int
    rejected: list[dict[str, Any]]  # as in the answer to events


# Who asks for an erasure changes the property in the same transaction (privacy/erasing.py): she
# waits for the imports that have not read her tombstone, and the later ones read it.
HOLD = "SELECT FROM properties_property WHERE id = %s FOR SHARE"


def import_users(place: Property, items: Sequence[Any], now: datetime, using: str) -> Answer:
    """Take what can be taken; each refusal names the item's place in the list."""
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        cursor.execute(HOLD, [place.pk])
        return _import_users(place, items, now, using)


def _import_users(place: Property, items: Sequence[Any], now: datetime, using: str) -> Answer:
    facts: list[Told] = []
    places: list[int] = []
    rejected: list[dict[str, Any]] = []
    erased = tombstones.digests(place)
    for index, item in enumerate(items):
        try:
            told = judge(place, item, now)
            if erased:
                _refuse_erased(place, told.user, erased)
            facts.append(told)
            places.append(index)
        except Refusal as refusal:
            rejected.append(refusal.as_json(index))
    refused = tell(using, facts)
    rejected += [refusal.as_json(places[n]) for n, refusal in refused.items()]
    rejected.sort(key=lambda one: one["index"])
    return Answer(len(items) - len(rejected), rejected)


def _refuse_erased(place: Property, user: str, erased: Collection[bytes]) -> None:
    if tombstones.digest_of(place.first_key, "user", user) in erased:
        raise Refusal(
            Reason.ERASED, "This user was erased from the property: import them no more.", "id"
        )


def is_name(user: str) -> bool:
    """Whether anybody can be called so."""
    return is_storable(user) and 0 < len(user) <= fields.TEXT
