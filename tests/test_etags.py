"""Two programs change one thing: the second is told, unless it says it does not care."""

from typing import Any

import pytest

from tests.people import new_key, with_key
from tests.test_access import new_goal


@pytest.fixture
def program(acme: Any) -> Any:
    _, secret = new_key(acme, "property:manage")
    return with_key(secret)


@pytest.fixture(params=["property", "goal"])
def address(request: pytest.FixtureRequest, shop: Any) -> str:
    """Of a thing that has a name."""
    begin = f"/api/v1/properties/{shop.key}"
    return begin if request.param == "property" else f"{begin}/goals/{new_goal(shop).pk}"


def rename(program: Any, address: str, name: str, tag: str | None = None) -> Any:
    headers = {} if tag is None else {"if-match": tag}
    return program.patch(address, {"name": name}, content_type="application/json", headers=headers)


def test_what_is_unchanged_comes_without_a_body(program: Any, address: str) -> None:
    tag = program.get(address).headers["ETag"]
    for spelling in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = program.get(address, headers={"if-none-match": spelling})
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
    for other in ('"other"', "nonsense", tag.strip('"')):
        assert program.get(address, headers={"if-none-match": other}).status_code == 200


def test_the_answer_to_a_change_bears_the_tag_of_what_a_get_shows(
    program: Any, address: str
) -> None:
    before = program.get(address).headers["ETag"]
    changed = rename(program, address, "Other", before)
    after = program.get(address)
    assert (changed.status_code, changed.json()) == (200, after.json())
    assert changed.headers["ETag"] == after.headers["ETag"] != before


def test_the_second_of_two_changes_is_refused(program: Any, address: str) -> None:
    tag = program.get(address).headers["ETag"]
    assert rename(program, address, "First", tag).status_code == 200
    second = rename(program, address, "Second", tag)
    assert (second.status_code, second.json()["error"]["code"]) == (412, "changed")
    assert program.get(address).json()["name"] == "First"
    assert rename(program, address, "Third").status_code == 200


@pytest.mark.parametrize("tag", ["", "nonsense", '"other"', 'W/"other"', "**"])
def test_a_tag_that_cannot_be_read_is_not_that_of_the_thing(
    program: Any, address: str, tag: str
) -> None:
    assert rename(program, address, "Other", tag).status_code == 412


def test_a_tag_that_a_proxy_weakened_still_counts(program: Any, address: str) -> None:
    weak = "W/" + program.get(address).headers["ETag"]
    assert rename(program, address, "Other", weak).status_code == 200


def test_nothing_is_deleted_that_changed_since_it_was_read(program: Any, shop: Any) -> None:
    address = f"/api/v1/properties/{shop.key}/goals/{new_goal(shop).pk}"
    tag = program.get(address).headers["ETag"]
    rename(program, address, "Other")
    assert program.delete(address, headers={"if-match": tag}).status_code == 412
    tag = program.get(address).headers["ETag"]
    assert program.delete(address, headers={"if-match": tag}).status_code == 204
    assert program.get(address, headers={"if-none-match": tag}).status_code == 404


def test_of_many_at_once_with_one_tag_one_wins(program: Any, shop: Any) -> None:
    """Comparing and writing are one step: the row is locked between them."""
    from concurrent.futures import ThreadPoolExecutor

    from django.db import connection

    address = f"/api/v1/properties/{shop.key}"
    tag = program.get(address).headers["ETag"]
    secret = program.defaults["HTTP_AUTHORIZATION"].removeprefix("Bearer ")

    def attempt(number: int) -> int:
        try:
            return rename(with_key(secret), address, f"Name {number}", tag).status_code
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        found = sorted(pool.map(attempt, range(8)))
    assert found == [200] + [412] * 7


def test_fields_that_change_by_themselves_make_the_tag_weak() -> None:
    from properties.etags import tag_of

    tag = tag_of({"name": "a", "last_used": 1}, without=("last_used",))
    assert tag == tag_of({"last_used": 2, "name": "a"}, without=("last_used",))
    assert tag != tag_of({"name": "b", "last_used": 1}, without=("last_used",))
    assert tag.startswith('W/"')
    assert not tag_of({"name": "a"}).startswith("W/")
