"""A property's users: imported, told of by events, corrected by hand; the newest always stays."""

import io
import json
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest

from tests.people import new_key, new_property, with_key
from tests.streams import NOON, make_event, make_place, send


@pytest.fixture
def program(acme: Any) -> Any:
    _, secret = new_key(acme, "people:manage")
    return with_key(secret)


@pytest.fixture
def address(shop: Any) -> str:
    return f"/api/v1/properties/{shop.key}/users"


def put(program: Any, address: str, *users: Any) -> Any:
    answer = program.post(address, {"users": list(users)}, content_type="application/json")
    assert answer.status_code == 200, answer.content
    return answer.json()


def listed(program: Any, address: str) -> dict[str, Any]:
    return {row["id"]: row for row in program.get(address).json()["results"]}


# -- the newest wins, in any order -----------------------------------------------------------------


def test_whatever_is_told_first_the_newest_of_each_fact_stays() -> None:
    from tracking.people import NOTHING, Told, learn

    def told(at: int, **more: Any) -> Any:
        return Told(1, 2, "17", at, **more)

    day = datetime(2024, 2, 29, tzinfo=UTC)
    facts = [
        told(10, traits={"plan": "free", "seats": 1}, signed_up=day),
        told(20, traits={"plan": "pro"}, seen=NOON),
        told(20, traits={"plan": "team"}),  # at the same moment: the greater
        told(15, traits={"seats": None, "city": "Bonn"}, signed_up=day + timedelta(days=1)),
        told(12, traits={"city": "Kiel"}, seen=NOON - timedelta(days=1)),
    ]
    ends = []
    for order in permutations(facts):
        known = NOTHING
        for fact in (*order, *order[:2]):  # and some of it again
            known = learn(known, fact)
        ends.append(known)
    assert all(end == ends[0] for end in ends)
    assert ends[0].traits == {"plan": "team", "city": "Bonn"}
    assert ends[0].signed_up == day + timedelta(days=1)
    assert (ends[0].first_seen, ends[0].last_seen) == (NOON - timedelta(days=1), NOON)


# -- import ----------------------------------------------------------------------------------------


def test_an_import_can_be_repeated(program: Any, address: str) -> None:
    users = [
        {"id": "17", "signed_up": "2024-02-29", "traits": {"plan": "pro", "tags": ["a", {"b": 1}]}},
        {"id": 18, "signed_up": 1_700_000_000_000},
        {"id": "anna@example.com", "signed_up": "2024-02-29T12:00:00+02:00"},
    ]
    assert put(program, address, *users) == {"accepted": 3, "rejected": []}
    first = listed(program, address)
    assert put(program, address, *users) == {"accepted": 3, "rejected": []}
    again = listed(program, address)
    for row in (*first.values(), *again.values()):
        row.pop("updated")
    assert first == again
    assert first["17"]["signed_up"] == "2024-02-29T00:00:00Z"
    assert first["17"]["traits"] == {"plan": "pro", "tags": ["a", {"b": 1}]}
    assert first["18"]["signed_up"] == "2023-11-14T22:13:20Z"
    assert first["anna@example.com"]["signed_up"] == "2024-02-29T10:00:00Z"


def test_what_holds_since_longer_changes_nothing(program: Any, address: str) -> None:
    put(program, address, {"id": "17", "traits": {"plan": "pro"}, "time": "2026-02-01"})
    put(program, address, {"id": "17", "traits": {"plan": "free"}, "time": "2026-01-01"})
    assert listed(program, address)["17"]["traits"] == {"plan": "pro"}
    put(program, address, {"id": "17", "traits": {"plan": None}, "time": "2026-03-01"})
    assert listed(program, address)["17"]["traits"] == {}


def test_each_user_that_is_refused_says_why_and_the_others_are_taken(
    program: Any, address: str
) -> None:
    future = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    cases: list[tuple[Any, str, str | None]] = [
        ("17", "shape", None),
        ([], "shape", None),
        ({}, "missing", "id"),
        ({"id": None}, "missing", "id"),
        ({"id": True}, "invalid", "id"),
        ({"id": {"select": 1}}, "invalid", "id"),
        ({"id": "anonymous"}, "invalid", "id"),
        ({"id": " null "}, "invalid", "id"),
        ({"id": "a" * 201}, "invalid", "id"),
        ({"id": "a\0b"}, "invalid", "id"),
        ({"id": "1", "account_id": 1}, "invalid", "account_id"),
        ({"id": "1", "traits": []}, "invalid", "traits"),
        ({"id": "1", "traits": "pro"}, "invalid", "traits"),
        ({"id": "1", "traits": {str(n): n for n in range(201)}}, "too_many_properties", "traits"),
        ({"id": "1", "traits": {"a": "x" * 32_001}}, "too_large", "traits"),
        ({"id": "1", "traits": {"a" * 201: 1}}, "too_large", "traits"),
        ({"id": "1", "traits": {"a": 2**63}}, "number_range", "traits"),
        ({"id": "1", "signed_up": "yesterday"}, "timestamp", "signed_up"),
        ({"id": "1", "signed_up": "2024-02-30"}, "timestamp", "signed_up"),
        ({"id": "1", "signed_up": "2024-02-29T12:00:00"}, "timestamp", "signed_up"),
        ({"id": "1", "signed_up": True}, "timestamp", "signed_up"),
        ({"id": "1", "signed_up": -1}, "timestamp", "signed_up"),
        ({"id": "1", "signed_up": future}, "future", "signed_up"),
        ({"id": "1", "time": future}, "future", "time"),
    ]
    good = [{"id": "before"}, *[case[0] for case in cases], {"id": "after"}]
    answer = put(program, address, *good)
    assert answer["accepted"] == 2
    found = [(one["index"], one["reason"], one.get("field")) for one in answer["rejected"]]
    assert found == [(n, reason, field) for n, (_, reason, field) in enumerate(cases, 1)]
    assert all(one["message"].endswith(".") for one in answer["rejected"])
    assert set(listed(program, address)) == {"before", "after"}


def test_traits_that_became_too_many_are_refused_and_the_others_stay(
    program: Any, address: str
) -> None:
    many = {f"a{n}": n for n in range(150)}
    more = {f"b{n}": n for n in range(150)}
    assert put(program, address, {"id": "17", "traits": many})["accepted"] == 1
    answer = put(program, address, {"id": "17", "traits": more}, {"id": "18"})
    assert [one["reason"] for one in answer["rejected"]] == ["too_many_properties"]
    assert answer["rejected"][0]["index"] == 0
    assert listed(program, address)["17"]["traits"] == many


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ([], "shape"), ({}, "shape"), ({"users": {}}, "shape"), ({"users": [], "x": 1}, "shape"),
        ({"users": [{"id": "1"}] * 1_001}, "too_many"), (None, "shape"), ("users", "shape"),
    ],
)  # fmt: skip
def test_an_import_that_is_none_is_refused_as_a_whole(
    program: Any, address: str, body: Any, code: str
) -> None:
    answer = program.post(address, json.dumps(body), content_type="application/json")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)


def test_an_import_of_nobody_is_an_import(program: Any, address: str) -> None:
    assert put(program, address) == {"accepted": 0, "rejected": []}


def test_a_payment_cards_number_is_not_kept(program: Any, address: str) -> None:
    put(program, address, {"id": "17", "traits": {"card": "4111 1111 1111 1111"}})
    assert "4111" not in json.dumps(listed(program, address)["17"])


def test_imports_stand_in_the_audit_log_once_an_hour(program: Any, address: str, acme: Any) -> None:
    from accounts.models import AuditEntry
    from accounts.tenancy import tenant

    for _ in range(3):
        put(program, address, {"id": "17"}, {"id": "18"})
    with tenant(acme.pk):
        entries = AuditEntry.objects.filter(action="people.imported")
        assert [entry.new for entry in entries] == [{"users": 2}]


# -- one user --------------------------------------------------------------------------------------


def test_a_user_is_shown_and_corrected(program: Any, address: str) -> None:
    put(program, address, {"id": "a/b c", "traits": {"plan": "free", "city": "Bonn"}})
    path = f"{address}/a%2Fb%20c"
    shown = program.get(path)
    assert shown.json()["id"] == "a/b c"
    body = {"traits": {"plan": "pro", "city": None}, "signed_up": "2024-02-29T00:00:00Z"}
    tag = shown.headers["ETag"]
    changed = program.patch(path, body, content_type="application/json", headers={"if-match": tag})
    assert changed.json() == program.get(path).json()
    assert changed.json()["traits"] == {"plan": "pro"}
    assert changed.json()["signed_up"] == body["signed_up"]
    late = program.patch(path, body, content_type="application/json", headers={"if-match": tag})
    assert late.status_code == 412


@pytest.mark.parametrize(
    "body",
    [{"id": "18"}, {"traits": []}, {"traits": {"a": 2**63}}, {"signed_up": "x"}, {"updated": 1},
     {"first_seen": "2024-02-29T00:00:00Z"}, {"property_id": 1}, {"traits": None}, []],
)  # fmt: skip
def test_what_cannot_be_corrected_is_refused(program: Any, address: str, body: Any) -> None:
    put(program, address, {"id": "17"})
    answer = program.patch(f"{address}/17", json.dumps(body), content_type="application/json")
    assert answer.status_code == 400


@pytest.mark.parametrize("user", ["18", "a%00b", "a" * 201, "%ED%A0%80", "a/b", "17/"])
def test_whom_nobody_told_of_does_not_exist(program: Any, address: str, user: str) -> None:
    put(program, address, {"id": "17"})
    assert program.get(f"{address}/{user}").status_code == 404
    patched = program.patch(f"{address}/{user}", {}, content_type="application/json")
    assert patched.status_code == 404


def test_the_list_has_filters_and_pages(program: Any, address: str) -> None:
    put(
        program,
        address,
        *({"id": f"u{n}", "signed_up": f"2024-01-0{n}"} for n in range(1, 6)),
        {"id": "z"},
    )
    asked = {"signed_up_from": "2024-01-02T00:00:00Z", "signed_up_to": "2024-01-05T00:00:00Z"}
    first = program.get(address, {**asked, "limit": "2"}).json()
    rest = program.get(address, {**asked, "cursor": first["next"]}).json()
    rows = first["results"] + rest["results"]
    assert [row["id"] for row in rows] == ["u2", "u3", "u4"]
    found, cursor = [], {}
    for ordering in ("updated", "-updated", "-id"):
        found, cursor = [], {}
        while cursor is not None:
            page = program.get(address, {"ordering": ordering, "limit": "1", **cursor}).json()
            found += [row["id"] for row in page["results"]]
            cursor = {"cursor": page["next"]} if page["next"] else None
        assert sorted(found) == ["u1", "u2", "u3", "u4", "u5", "z"]
    assert found[0] == "z"


# -- tenants ---------------------------------------------------------------------------------------


def test_the_same_id_in_another_property_is_somebody_else(
    program: Any, address: str, shop: Any, acme: Any
) -> None:
    other = new_property(acme)
    theirs = f"/api/v1/properties/{other.key}/users"
    put(program, address, {"id": "17", "traits": {"plan": "pro"}})
    put(program, theirs, {"id": "17", "traits": {"plan": "free"}})
    assert listed(program, address)["17"]["traits"] == {"plan": "pro"}
    assert listed(program, theirs)["17"]["traits"] == {"plan": "free"}


def test_row_level_security_keeps_the_web_from_other_tenants(shop: Any) -> None:
    from django.db import connection
    from django.db.utils import ProgrammingError

    from accounts.tenancy import tenant
    from tracking.models import Person
    from tracking.people import import_users

    other = new_property()
    now = datetime.now(UTC)
    import_users(other, [{"id": "17", "traits": {"plan": "pro"}}], now, "worker")
    refused = pytest.raises(ProgrammingError, match="row-level security")
    with refused, tenant(shop.account_id):
        import_users(other, [{"id": "18"}], now, "default")
    with tenant(shop.account_id):
        assert Person.objects.filter(property_id=other.pk).update(traits={}) == 0
    denied = pytest.raises(ProgrammingError, match="permission denied")
    with denied, tenant(other.account_id), connection.cursor() as cursor:
        cursor.execute("DELETE FROM persons")
    with tenant(other.account_id):
        assert [person.traits for person in Person.objects.all()] == [{"plan": "pro"}]


# -- events ----------------------------------------------------------------------------------------


def drained(place: Any, *events: Any) -> dict[str, Any]:
    """The persons after these events came through the drain, as plain values."""
    from tracking.drain import drain_property
    from tracking.models import Person

    for event in events:
        send(place, event)
    drain_property(place)
    rows = Person.objects.using("worker").filter(property_id=place.pk)
    return {row.user: row for row in rows}


def user_event(name: str, user: str, time: datetime, **props: Any) -> Any:
    return make_event(time, name=name, user=user, props=json.dumps(props).encode())


def test_events_of_users_tell_of_them() -> None:
    place = make_place(hostnames=["*"])
    later = NOON + timedelta(hours=1)
    persons = drained(
        place,
        user_event("signupUser", "17", NOON, plan="free", seats=2),
        user_event("updateUser", "17", later, plan="pro"),
        user_event("importUser", "18", NOON, signupDate="2019-05-01T00:00:00Z", plan="old"),
        user_event("loginUser", "19", NOON),
        user_event("purchase", "20", NOON, plan="none of our business"),
        make_event(NOON, name="signupUser", user="21", bot=True),
        make_event(NOON, name="updateUser", user=""),
    )
    assert set(persons) == {"17", "18", "19"}
    assert persons["17"].traits == {"plan": "pro", "seats": 2}
    assert persons["17"].signed_up == NOON
    assert (persons["17"].first_seen, persons["17"].last_seen) == (NOON, later)
    assert persons["18"].signed_up == datetime(2019, 5, 1, tzinfo=UTC)
    assert persons["18"].traits == {"plan": "old"}
    assert (persons["19"].signed_up, persons["19"].traits) == (None, {})


def test_events_that_come_late_or_twice_change_nothing_newer() -> None:
    place = make_place(hostnames=["*"])
    late = user_event("updateUser", "17", NOON, plan="free")
    drained(place, user_event("updateUser", "17", NOON + timedelta(hours=1), plan="pro"))
    persons = drained(place, late, late)
    assert persons["17"].traits == {"plan": "pro"}
    assert persons["17"].first_seen == NOON


def test_traits_of_events_that_became_too_many_hold_up_no_batch() -> None:
    place = make_place(hostnames=["*"])
    persons = drained(
        place,
        user_event("updateUser", "17", NOON, **{f"a{n}": n for n in range(150)}),
        user_event("updateUser", "17", NOON, **{f"b{n}": n for n in range(150)}),
        user_event("updateUser", "18", NOON, plan="pro"),
    )
    assert len(persons["17"].traits) == 150
    assert persons["18"].traits == {"plan": "pro"}


def test_an_import_and_an_event_end_the_same_in_either_order() -> None:
    from tracking.people import import_users

    ends = []
    for is_event_first in (True, False):
        place = make_place(hostnames=["*"])
        event = user_event("updateUser", "17", NOON, plan="pro")
        item = {"id": "17", "traits": {"plan": "free", "city": "Bonn"}, "time": "2026-03-01"}
        if is_event_first:
            drained(place, event)
        import_users(place, [item], datetime.now(UTC) + timedelta(days=400), "worker")
        ends.append(drained(place, *([] if is_event_first else [event]))["17"])
    assert [end.traits for end in ends] == [{"plan": "pro", "city": "Bonn"}] * 2
    assert ends[0].told == ends[1].told


# -- files -----------------------------------------------------------------------------------------


def run(place: Any, content: bytes, tmp_path: Any) -> dict[str, Any]:
    from django.core.management import call_command

    file, out = tmp_path / "users", io.StringIO()
    file.write_bytes(content)
    call_command("import_users", place.key, str(file), json=True, stdout=out)
    answer: dict[str, Any] = json.loads(out.getvalue())
    return answer


@pytest.mark.parametrize(
    "content",
    [
        b"id,signed_up,plan,city\n17,2024-02-29,pro,\n18,,free,Bonn\n",
        b"\xef\xbb\xbfid;signed_up;plan;city\r\n17;2024-02-29;pro;\r\n\r\n18;;free;Bonn",
        b'plan\tcity\tid\tsigned_up\npro\t\t17\t2024-02-29\n"free"\tBonn\t18\t\n',
        b'{"id": "17", "signed_up": "2024-02-29", "traits": {"plan": "pro"}}\n\n'
        b'{"id": 18, "traits": {"plan": "free", "city": "Bonn"}}',
    ],
    ids=["comma", "semicolon", "tab", "json"],
)
def test_a_file_is_imported_as_often_as_one_likes(content: bytes, tmp_path: Any) -> None:
    from tracking.models import Person

    place = make_place(hostnames=["*"])
    for _ in range(2):
        answer = run(place, content, tmp_path)
        assert answer == {"accepted": 2, "rejected": {}, "first_rejected": []}
    rows = Person.objects.using("worker").filter(property_id=place.pk).order_by("user")
    assert [(row.user, row.traits) for row in rows] == [
        ("17", {"plan": "pro"}),
        ("18", {"plan": "free", "city": "Bonn"}),
    ]
    assert rows[0].signed_up == datetime(2024, 2, 29, tzinfo=UTC)


def test_refused_lines_are_named_and_the_others_taken(tmp_path: Any) -> None:
    place = make_place(hostnames=["*"])
    answer = run(place, b"id,plan\n17,pro\nnull,pro\n18,pro\n,pro\n", tmp_path)
    assert (answer["accepted"], answer["rejected"]) == (2, {"invalid": 1, "missing": 1})
    assert [one["line"] for one in answer["first_rejected"]] == [3, 5]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "The file is empty"),
        (b"\n\n", "The file is empty"),
        (b"name,plan\n17,pro\n", "names no column id"),
        (b"id," + b",".join(b"c%d" % n for n in range(10_000)) + b"\n", "columns"),
        (b"id,plan,plan\n", "names one twice"),
        (b"id,,plan\n", "without a name"),
        (b"id,plan\n17,pro\n18\n", "Line 3 has 1 cells"),
        (b"id,plan\n17,pro,more\n", "Line 2 has 3 cells"),
        (b'id,plan\n17,pro\n18,"pro\n', "cannot be read"),
        (b"id,plan\n17,pr\0o\n", "Line 2 holds NUL"),
        (b"id,plan\n17,pro\n18,\xff\n", "not in UTF-8"),
        ("id,plan\n17,pro\n".encode("utf-16"), "not in UTF-8"),
        (b"id,plan\n17," + b"x" * 300_000 + b"\n", "longer than"),
        (b'{"id": "17"}\n{"id": \n', "Line 2 is no JSON"),
        (b'{"id": "17"}\nid,plan\n', "Line 2 is no JSON"),
    ],
)
def test_a_file_that_cannot_be_read_to_its_end_changes_nothing(
    content: bytes, says: str, tmp_path: Any
) -> None:
    from django.core.management.base import CommandError

    from tracking.models import Person

    place = make_place(hostnames=["*"])
    with pytest.raises(CommandError, match=says):
        run(place, content, tmp_path)
    assert not Person.objects.using("worker").filter(property_id=place.pk).exists()
