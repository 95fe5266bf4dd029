"""The public key of a property is replaced: both go on, then one; visitors stay who they are."""

from datetime import timedelta
from typing import Any

import pytest

from tests.people import new_property


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
