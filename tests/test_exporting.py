"""Export: everything that is kept of a visitor or a person, once, and nothing of anybody else."""

import csv
import io
import json
import uuid
from datetime import UTC, datetime
from typing import Any

from tests.people import fresh, new_key, new_property, signed_in_as, with_key
from tests.streams import make_event, minutes, send, send_conflict, visitor_of
from tests.test_erasing import collect, erase, payload, tables_with
from tests.test_rollups import drain


def now() -> datetime:
    return datetime.now(UTC)


def content(response: Any) -> bytes:
    return b"".join(response.streaming_content)


def export(place: Any, client: Any, **body: Any) -> Any:
    path = f"/api/v1/properties/{place.key}/exports"
    return client.post(path, body, content_type="application/json")


def program(place: Any, *rights: str) -> Any:
    return with_key(new_key(place.account, *rights)[1])


def test_every_planted_event_is_in_the_file() -> None:
    """Stored, in flight and of another visitor; more than are read at once."""
    from privacy.exporting import AT_ONCE

    place = new_property()
    start = now() - minutes(3000)
    # Many share a moment: a page of the reading may end between them.
    mine = [make_event(start + minutes(n // 7), 1, title=f"t{n}") for n in range(AT_ONCE + 50)]
    drain(place, *mine, *[make_event(start, 2, title="other") for _ in range(3)])
    late = make_event(now(), 1, title="late")
    send(place, late)
    answer = export(place, program(place, "people:manage"), visitor=str(visitor_of(1)))
    assert answer["Content-Disposition"].startswith('attachment; filename="visitor-')
    found = json.loads(content(answer))
    ids = [event["event_id"] for event in found["events"]]
    assert sorted(ids) == sorted(str(event.event_id) for event in mine)
    assert [event["title"] for event in found["in_flight"]] == ["late"]
    assert found["visitors"][0]["virtual_id"] == 1
    assert sum(session["events"] for session in found["sessions"]) == len(mine)
    assert "other" not in {event["title"] for event in found["events"]}
    table = content(
        export(place, program(place, "people:manage"), visitor=str(visitor_of(1)), kind="csv")
    )
    rows = list(csv.DictReader(io.StringIO(table.decode())))
    assert len(rows) == len(mine) + 1
    assert {row["visitor"] for row in rows} == {str(visitor_of(1))}


def test_a_person_is_everything_under_her_id_and_nothing_of_who_shares_her_device() -> None:
    place = new_property()
    hers, his = fresh("user"), fresh("user")
    own, shared = str(uuid.uuid4()), str(uuid.uuid4())
    collect(place, payload(own), payload(own, user=hers), payload(shared, user=hers))
    collect(place, payload(shared, user=his), payload(shared))
    drain(place)
    found = json.loads(content(export(place, program(place, "people:manage"), user=hers)))
    assert len(found["events"]) == 3
    assert his not in json.dumps(found)
    assert {v["visitor"]: v["shared_with_other_users"] for v in found["visitors"]} == {
        own: False,
        shared: True,
    }


def test_quarantine_and_conflicts_are_in_the_file() -> None:
    place = new_property()
    first = make_event(now(), 4)
    send(place, first)
    send_conflict(
        place, make_event(now(), 4, event_id=first.event_id, fingerprint=1, title="again")
    )
    drain(place)
    found = json.loads(content(export(place, program(place, "people:manage"), number=4)))
    assert "again" in found["conflicts"][0]["payload"]
    assert found["quarantined"] == []


def test_after_an_erasure_the_file_is_empty() -> None:
    place = new_property()
    gone = str(uuid.uuid4())
    collect(place, payload(gone))
    erase(place, visitor=gone)
    found = json.loads(content(export(place, program(place, "people:manage"), visitor=gone)))
    assert [found[name] for name in ("visitors", "sessions", "events", "in_flight")] == [[]] * 4


def test_who_is_not_named_rightly_is_told_what_is_wrong() -> None:
    place = new_property()
    client = program(place, "people:manage")
    for body, field in (
        ({}, None),
        ({"visitor": "x", "user": "y"}, None),
        ({"user": "undefined"}, "user"),
        ({"number": 7}, "number"),
        ({"visitor": str(uuid.UUID(int=0))}, "visitor"),
    ):
        answer = export(place, client, **body)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (400, "no_such_subject"), body
        assert error.get("field") == field


def test_the_audit_log_knows_who_exported_and_not_whom(shop: Any, alice: Any) -> None:
    from accounts.models import AuditEntry
    from accounts.tenancy import tenant

    gone = str(uuid.uuid4())
    collect(shop, payload(gone))
    drain(shop)
    answer = signed_in_as(alice).post(
        f"/p/{shop.key}/settings/privacy/export/", {"by": "visitor", "value": gone, "kind": "csv"}
    )
    assert content(answer).count(b"\r\n") == 2
    with tenant(shop.account_id):
        entry = AuditEntry.objects.filter(action="visitor.exported").get()
    assert entry.actor_name == alice.email
    erase(shop, visitor=gone)
    assert tables_with(gone) == set()


# -- erasing by API and page -----------------------------------------------------------------------


def test_an_erasure_by_api_is_done_by_the_worker(shop: Any, acme: Any) -> None:
    from privacy.erasing import erase_due

    gone = str(uuid.uuid4())
    collect(shop, payload(gone))
    client = program(shop, "people:manage")
    path = f"/api/v1/properties/{shop.key}/erasures"
    asked = client.post(path, {"visitor": gone}, content_type="application/json")
    assert (asked.status_code, asked.json()["state"]) == (202, "waiting")
    assert collect(shop, payload(gone)).rejected[0]["reason"] == "erased"
    erase_due(now(), budget=60)
    one = client.get(f"{path}/{asked.json()['id']}")
    assert (one.json()["state"], one.json()["counts"]["events"]) == ("done", 1)
    assert client.get(path).json()["results"] == [one.json()]
    assert client.get(path, headers={"If-None-Match": one["ETag"]}).status_code == 200
    assert gone not in one.content.decode()


def test_the_page_asks_for_a_tick_and_keeps_what_was_typed(shop: Any, alice: Any) -> None:
    client = signed_in_as(alice)
    path = f"/p/{shop.key}/settings/privacy/"
    gone = str(uuid.uuid4())
    refused = client.post(f"{path}erase/", {"by": "visitor", "value": gone})
    assert refused.status_code == 200
    assert "Tick this: nobody can bring it back." in refused.content.decode()
    assert gone in refused.content.decode()
    accepted = client.post(
        f"{path}erase/", {"by": "visitor", "value": gone, "sure": "on"}, follow=True
    )
    assert "Being erased" in accepted.content.decode()
    odd = client.post(f"{path}export/", {"by": "number", "value": "one"})
    assert "A virtual visitor id is a whole number." in odd.content.decode()


def test_without_the_right_about_people_the_page_says_who_can_grant_it(
    shop: Any, acme: Any
) -> None:
    from accounts.models import Membership
    from tests.people import grant, new_user

    user = new_user("dora")
    grant(Membership.objects.create(account=acme, user=user, role="viewer"), "property:view")
    page = signed_in_as(user).get(f"/p/{shop.key}/settings/privacy/").content.decode()
    assert "An owner of the account can grant that" in page
    assert "Download" not in page


def test_a_log_in_of_this_morning_does_not_do(shop: Any, alice: Any) -> None:
    client = signed_in_as(alice, fresh=False)
    answer = client.post(
        f"/p/{shop.key}/settings/privacy/export/", {"by": "visitor", "value": "x", "kind": "json"}
    )
    assert answer.status_code == 302
    assert "reauthenticate" in answer["Location"]
