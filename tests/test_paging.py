"""Lists of the API by pages: nothing twice, nothing missed, no cursor where it does not belong."""

from typing import Any

import pytest

from tests.people import fresh, new_key, new_property, signed_in_as, with_key


@pytest.fixture
def program(acme: Any, shop: Any) -> Any:
    """Calls that may do all with the properties of acme."""
    _, secret = new_key(acme, "property:manage")
    return with_key(secret)


@pytest.fixture
def address(acme: Any) -> str:
    return f"/api/v1/accounts/{acme.slug}/properties"


def pages(program: Any, address: str, **asked: str) -> list[list[dict[str, Any]]]:
    """Every page from the first to the one after which there is none."""
    found, following = [], {}
    while True:
        answer = program.get(address, {**asked, **following})
        assert answer.status_code == 200, answer.content
        found.append(answer.json()["results"])
        if answer.json()["next"] is None:
            assert "Link" not in answer.headers
            return found
        following = {"cursor": answer.json()["next"]}


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


@pytest.mark.parametrize("ordering", ["name", "-name", "created", "-created", "key", "-key"])
def test_the_pages_together_are_the_list(
    program: Any, address: str, acme: Any, ordering: str
) -> None:
    for name in ("Same", "Same", "Same", "Ärger", "zebra", "Alpha"):
        new_property(acme, name=name)
    whole = pages(program, address, ordering=ordering)[0]
    for limit in ("1", "2", "3", "7"):
        parts = pages(program, address, ordering=ordering, limit=limit)
        assert [row for part in parts for row in part] == whole
        assert len(parts) == -(-7 // int(limit))
    if not ordering.endswith("name"):
        field = ordering.removeprefix("-")
        values = [row[field] for row in whole]
        assert values == sorted(values, reverse=ordering.startswith("-"))


def test_a_row_that_comes_between_two_pages_neither_repeats_nor_skips_one(
    program: Any, address: str, acme: Any, shop: Any
) -> None:
    for name in ("Aa", "Cc", "Ee"):
        new_property(acme, name=name)
    first = program.get(address, {"limit": "2"}).json()
    new_property(acme, name="Bb")
    shop.delete()
    second = program.get(address, {"limit": "5", "cursor": first["next"]}).json()
    names = [row["name"] for row in first["results"] + second["results"]]
    assert names == ["Aa", "Cc", "Ee"]


def test_the_link_header_leads_to_the_next_page(program: Any, address: str, acme: Any) -> None:
    import re

    new_property(acme, name="Zulu")
    answer = program.get(address, {"limit": "1", "ordering": "-name"})
    link = re.fullmatch(r'<http://testserver(/.+)>; rel="next"', answer.headers["Link"])
    assert link is not None
    second = program.get(link[1]).json()
    assert ([row["name"] for row in second["results"]], second["next"]) == (["Shop"], None)


@pytest.mark.parametrize("limit", ["0", "-1", "501", "1e9", "NaN", "", "1.0", " 1", "٣", "9" * 50])
def test_a_limit_is_a_whole_number_in_its_bounds(program: Any, address: str, limit: str) -> None:
    assert code(program.get(address, {"limit": limit})) == (400, "invalid_limit")


@pytest.mark.parametrize(
    "ordering",
    ["password", "-account__secret", "pk", "?", "", "--name", "account__slug", "name,key"],
)
def test_only_named_orders_are_taken(program: Any, address: str, ordering: str) -> None:
    assert code(program.get(address, {"ordering": ordering})) == (400, "unknown_order")


@pytest.mark.parametrize("name", ["limit[]", "fields", "expand", "offset", "page", "account"])
def test_no_other_parameter_is_taken(program: Any, address: str, name: str) -> None:
    assert code(program.get(address, {name: "1"})) == (400, "unknown_parameter")


def test_a_parameter_that_comes_twice_is_refused(program: Any, address: str) -> None:
    assert code(program.get(address, {"limit": ["1", "2"]})) == (400, "twice")


def test_parameters_of_a_list_are_refused_where_something_is_made(
    program: Any, address: str
) -> None:
    made = {"name": "Shop", "hostnames": ["*"]}
    answer = program.post(f"{address}?limit=5", made, content_type="application/json")
    assert code(answer) == (400, "unknown_parameter")


def test_filters_narrow_a_list_and_belong_to_its_cursor(program: Any, shop: Any) -> None:
    address = f"/api/v1/properties/{shop.key}/goals"
    for number in range(3):
        for kind in ({"kind": "event", "event": "signup"}, {"kind": "page", "page": "/thanks"}):
            goal = {"name": f"{kind['kind']}-{number}", **kind}
            made = program.post(address, goal, content_type="application/json")
            assert made.status_code == 201
    first = program.get(address, {"kind": "page", "limit": "2"}).json()
    assert [goal["name"] for goal in first["results"]] == ["page-0", "page-1"]
    rest = program.get(address, {"kind": "page", "cursor": first["next"]}).json()
    assert [goal["name"] for goal in rest["results"]] == ["page-2"]
    assert code(program.get(address, {"cursor": first["next"]})) == (400, "cursor")
    assert code(program.get(address, {"kind": "horoscope"})) == (400, "invalid_value")
    assert code(program.get(address, {"kind": "a\x00b"})) == (400, "invalid_value")


def test_a_cursor_of_another_place_order_or_actor_is_refused(
    program: Any, address: str, acme: Any, shop: Any, alice: Any
) -> None:
    new_property(acme)
    cursor = program.get(address, {"limit": "1"}).json()["next"]
    other = new_property()
    _, foreign = new_key(other.account, "property:view")
    _, second = new_key(acme, "property:view")
    theirs = f"/api/v1/accounts/{other.account.slug}/properties"
    assert program.get(address, {"cursor": cursor}).status_code == 200
    refused = [
        with_key(foreign).get(theirs, {"cursor": cursor}),
        with_key(second).get(address, {"cursor": cursor}),
        signed_in_as(alice).get(address, {"cursor": cursor}),
        program.get(address, {"cursor": cursor, "ordering": "-name"}),
        program.get(f"/api/v1/properties/{shop.key}/goals", {"cursor": cursor}),
        program.get("/api/v1/accounts", {"cursor": cursor}),
        *(program.get(address, {"cursor": changed}) for changed in tampered(cursor)),
    ]
    assert {code(answer) for answer in refused} == {(400, "cursor")}


def tampered(cursor: str) -> list[str]:
    payload, stamp, signature = cursor.split(":")
    return [
        "", "1", "::", cursor[:-1], cursor + "A", "A" + cursor, f"{payload}A:{stamp}:{signature}",
        f"{payload}:{stamp}:", f"{payload}:{stamp}A:{signature}", cursor + "\x00", "é",
        payload, fresh("cursor"),
    ]  # fmt: skip


def test_a_list_of_the_account_holds_only_what_the_actor_sees(
    address: str, acme: Any, shop: Any, blog: Any
) -> None:
    """Rights that only name one property do not open the account's list; pages hold no others."""
    _, secret = new_key(acme, "property:view", place=shop)
    assert with_key(secret).get(address).status_code == 403
    _, secret = new_key(acme, "property:view")
    keys = [row["key"] for part in pages(with_key(secret), address, limit="1") for row in part]
    assert sorted(keys) == sorted([shop.key, blog.key])
