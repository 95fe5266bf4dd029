"""The public key of a property is replaced: both go on, then one; visitors stay who they are."""

from datetime import timedelta
from typing import Any

import pytest

from tests.people import new_key, new_property, signed_in_as, with_key
from tests.test_access import seen


@pytest.fixture
def place() -> Any:
    return new_property()


def now() -> Any:
    from django.utils import timezone

    return timezone.now()


def load(name: str) -> Any:
    from tracking import directory

    return directory.load(name)


def recall(name: str) -> Any:
    from tracking import directory

    return directory.recall(name)


def test_a_new_property_remembers_the_key_it_was_made_with(place: Any) -> None:
    assert place.first_key == place.key


def test_a_replaced_key_finds_its_property_until_it_ends(place: Any) -> None:
    old = place.key
    retired = place.replace_key(30, now())
    assert place.key != old
    assert place.first_key == old
    for name in (old, place.key):
        record = load(name)
        assert (record.property_id, record.key, record.called) == (place.pk, place.key, (name, ""))
        assert set(record.keys) == {old, place.key}
    retired.until = now() - timedelta(seconds=1)
    retired.save()
    assert load(old) is None
    assert set(load(place.key).keys) == {place.key}


def test_a_key_that_ends_is_not_remembered_beyond_its_end(place: Any, monkeypatch: Any) -> None:
    from tracking import directory

    old = place.key
    retired = place.replace_key(0, now())
    retired.until = now() + timedelta(seconds=20)
    retired.save()
    assert load(old) is not None
    assert recall(old) is not None
    later = directory.time.monotonic() + 21
    monkeypatch.setattr(directory.time, "monotonic", lambda: later)
    with pytest.raises(directory.Unknown):
        recall(old)


def test_a_change_seen_under_one_name_is_seen_under_all(place: Any) -> None:
    """Else a key that was ended by hand would go on until its record is forgotten."""
    from tracking import directory

    old = place.key
    retired = place.replace_key(30, now())
    load(old)
    load(place.key)
    place.end_key(retired, now())
    load(place.key)
    with pytest.raises(directory.Unknown):
        recall(old)
    assert load(old) is None


def test_ending_a_key_again_changes_nothing(place: Any) -> None:
    retired = place.replace_key(0, now())
    version = place.version
    place.end_key(retired, now())
    assert place.version == version


def test_two_clicks_replace_the_key_once(place: Any) -> None:
    from django.core.exceptions import ValidationError

    from properties.models import Property

    same = Property.objects.across_accounts().get(pk=place.pk)
    place.replace_key(30, now())
    with pytest.raises(ValidationError, match=f"it is {place.key} now"):
        same.replace_key(30, now())
    assert place.retired_keys.count() == 1


def test_who_saves_an_older_copy_does_not_bring_the_old_key_back(place: Any) -> None:
    from properties.models import Property

    def stored() -> Any:
        return Property.objects.across_accounts().get(pk=place.pk)

    settings_page, end_page = stored(), stored()
    first = place.replace_key(30, now())
    settings_page.name = "Renamed"
    settings_page.save()
    end_page.end_key(first, now())
    assert (stored().key, stored().name) == (place.key, "Renamed")
    assert load(first.key) is None
    assert settings_page.key == place.key


def test_two_changes_never_share_a_version(place: Any) -> None:
    """Collectors tell by it whether they know the newest."""
    from properties.models import Property

    same = Property.objects.across_accounts().get(pk=place.pk)
    for copy, zone in ((place, "Europe/Berlin"), (same, "Asia/Tokyo")):
        copy.timezone = zone
        copy.save()
    assert same.version == place.version + 1


# -- over HTTP, on the page and by the API ---------------------------------------------------------


def sent_with(web: str, key: str) -> tuple[int, dict[str, Any]]:
    """Status and answer for an event of the same visitor whose id is no UUID."""
    from tests.test_collector import post

    event = {"property": key, "name": "pageview", "url": "https://a.example/", "visitor": "v-1"}
    answer = post(web, event)
    return answer.status, answer.json


def test_both_keys_are_taken_until_the_old_one_ends(web_server: str, place: Any) -> None:
    from tests.test_collector import stream

    old = place.key
    assert sent_with(web_server, old)[0] == 202
    retired = place.replace_key(30, now())
    for key in (old, place.key, old):
        assert sent_with(web_server, key)[0] == 202
    assert len({event["visitor_uuid"] for event in stream(place)}) == 1
    place.end_key(retired, now())
    status, answer = sent_with(web_server, old)
    assert (status, answer["error"]["code"]) == (401, "unknown_property")
    assert sent_with(web_server, place.key)[0] == 202
    assert len(stream(place)) == 5


def test_a_visitor_of_the_day_stays_who_he_is(web_server: str, place: Any) -> None:
    from tests.test_collector import post, stream

    old = place.key
    for key in (old, "new"):
        if key == "new":
            place.replace_key(30, now())
            key = place.key
        event = {"property": key, "name": "pageview", "url": "https://a.example/"}
        assert post(web_server, event).status == 202
    assert len({event["visitor_uuid"] for event in stream(place)}) == 1


def test_one_request_may_name_both_keys(web_server: str, place: Any) -> None:
    from tests.test_collector import post

    old = place.key
    place.replace_key(30, now())
    event = {"name": "pageview", "url": "https://a.example/"}
    both = [event | {"property": old}, event | {"property": place.key}]
    assert post(web_server, {"property": old, "events": both}).json["accepted"] == 2


def test_the_page_replaces_the_key_and_ends_the_old_one(alice: Any, shop: Any) -> None:
    old = shop.key
    client = signed_in_as(alice)
    path = f"/p/{old}/settings/keys/"
    unsure = client.post(path, {"days": "30"})
    assert "Tick this" in str(unsure.context["form"].errors)
    assert "Select a valid choice" in str(
        client.post(path, {"days": "31", "sure": "on"}).context["form"].errors
    )
    assert client.post(path, {"days": "30", "sure": "on"}).status_code == 302
    shop.refresh_from_db()
    assert shop.key != old
    path = f"/p/{shop.key}/settings/keys/"
    page = client.get(path).content.decode()
    assert old in page
    assert "End now" in page
    retired = shop.retired_keys.get()
    assert client.post(f"/p/{shop.key}/settings/keys/{retired.pk}/end/").status_code == 302
    page = client.get(path).content.decode()
    assert "Ended" in page
    assert "End now" not in page


def test_a_page_under_the_old_key_leads_to_the_new_one_for_whom_the_door_lets_in(
    alice: Any, bob: Any, charlie: Any, shop: Any
) -> None:
    old = shop.key
    retired = shop.replace_key(30, now())
    answer = signed_in_as(alice).get(f"/p/{old}/settings/tracking/?x=1&y=%20")
    assert (answer.status_code, answer.headers["location"]) == (
        302,
        f"/p/{shop.key}/settings/tracking/?x=1&y=%20",
    )
    assert signed_in_as(bob).get(f"/p/{old}/").headers["location"] == f"/p/{shop.key}/"
    assert signed_in_as(bob).get(f"/p/{old}/settings/").status_code == 403
    stranger = signed_in_as(charlie)
    theirs, nothing = (stranger.get(f"/p/{key}/") for key in (old, "AK-ZZZZZZZZ"))
    assert seen(theirs) == seen(nothing)
    assert theirs.status_code == 404
    shop.end_key(retired, now())
    assert signed_in_as(alice).get(f"/p/{old}/settings/").status_code == 404


def test_the_key_is_replaced_and_ended_by_the_api(acme: Any, shop: Any) -> None:
    _, secret = new_key(acme, "property:manage")
    program, old = with_key(secret), shop.key
    json = {"content_type": "application/json"}
    path = f"/api/v1/properties/{old}/keys"
    assert program.get(path).json() == {"key": old, "retired": []}
    for wrong in ({"days": 366}, {"days": "x"}, {"hours": 1}):
        answer = program.post(path, wrong, **json)
        assert answer.json()["error"]["field"] == next(iter(wrong))
    made = program.post(path, {"days": 7}, **json)
    assert made.status_code == 201
    (retired,) = made.json()["retired"]
    assert (retired["key"], made.json()["key"] != old) == (old, True)
    # Programs go on under the old key while it does.
    assert program.get(f"/api/v1/properties/{old}").json()["key"] == made.json()["key"]
    ended = program.delete(f"/api/v1/properties/{made.json()['key']}/keys/{retired['id']}")
    assert ended.status_code == 200
    assert ended.json()["until"] < retired["until"]
    assert program.get(f"/api/v1/properties/{old}").status_code == 404


def test_a_key_of_another_property_is_not_ended_here(acme: Any, shop: Any, blog: Any) -> None:
    _, secret = new_key(acme, "property:manage")
    retired = blog.replace_key(30, now())
    program = with_key(secret)
    path = f"/api/v1/properties/{shop.key}/keys/"
    assert seen(program.delete(f"{path}{retired.pk}")) == seen(program.delete(f"{path}{2**62}"))
    retired.refresh_from_db()
    assert retired.is_accepted(now())
