"""A question that takes too long ends with a sentence, and its connection serves the next one."""

import pytest

from tests.people import new_key, new_property, signed_in_as, with_key

SLOW = "SELECT pg_sleep(60)"


@pytest.fixture
def slow_questions(monkeypatch, settings):
    """Every question waits for a minute, of which a second is allowed."""
    from django.db import connection

    from reports import raw, rolled

    settings.QUESTION_TIMEOUT = 1

    def count(*args):
        with connection.cursor() as cursor:
            cursor.execute(SLOW)

    monkeypatch.setattr(rolled, "count", count)
    monkeypatch.setattr(raw, "count", count)


def ask(secret, place):
    return with_key(secret).post(
        f"/api/v1/properties/{place.key}/query",
        {"metrics": ["visitors"], "range": "7d"},
        content_type="application/json",
    )


def test_the_api_says_that_it_took_too_long(acme, slow_questions, monkeypatch):
    place = new_property(acme)
    _, secret = new_key(acme, "audience:view", place=place)
    answer = ask(secret, place)
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "too_slow"
    assert "longer than 1 seconds. Choose a shorter" in answer.json()["error"]["message"]
    monkeypatch.undo()
    assert ask(secret, place).status_code == 200


def test_so_does_a_page(acme, alice, slow_questions):
    place = new_property(acme)
    client = signed_in_as(alice)
    client.raise_request_exception = False
    page = client.get(f"/p/{place.key}/")
    assert page.status_code == 422
    assert "Choose a shorter range" in page.content.decode()


def test_columns_are_read_with_the_same_patience(settings):
    from accounts.tenancy import tenant
    from reports import blocks
    from reports.patience import TooSlow, patience

    settings.QUESTION_TIMEOUT = 1
    place = new_property()
    slow = pytest.raises(TooSlow)
    with slow, tenant(place.account_id), patience(), blocks.binary_cursor() as cursor:
        cursor.execute(SLOW)


def test_another_fault_is_not_taken_for_slowness():
    from django.db import DatabaseError, connection

    from accounts.tenancy import tenant
    from reports.patience import patience

    place = new_property()
    broken = pytest.raises(DatabaseError, match="division")
    with broken, tenant(place.account_id), patience(), connection.cursor() as cursor:
        cursor.execute("SELECT 1 / 0")


def test_all_statements_of_a_file_have_one_limit_together(acme, alice, monkeypatch, settings):
    from django.db import connection

    from reports import rolled

    settings.FILE_TIMEOUT = 1

    def each(*_args, **_kwargs):
        for number in range(10):
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_sleep(0.4)")
            yield (f"/{number}",), {"visitors": 1}

    monkeypatch.setattr(rolled, "each", each)
    client = signed_in_as(alice)
    client.raise_request_exception = False
    answer = client.get(f"/p/{new_property(acme).key}/table/page.csv")
    assert answer.status_code == 422
    assert "longer than 1 seconds" in answer.content.decode()


def test_one_file_of_an_account_may_take_longer_than_a_page(acme, settings):
    from django.db import connections, transaction

    from accounts.tenancy import tenant
    from reports.patience import ALONE, for_a_file

    settings.QUESTION_TIMEOUT, settings.FILE_TIMEOUT = 3, 7
    with transaction.atomic("worker"), connections["worker"].cursor() as other:
        other.execute(ALONE, [f"file of {acme.pk}"])
        with tenant(acme.pk):
            assert for_a_file(acme.pk) == 3
            assert for_a_file(acme.pk + 1) == 7
    with tenant(acme.pk):
        assert for_a_file(acme.pk) == 7
