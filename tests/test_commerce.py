"""E-commerce: what the schema lets through, in which shape, and how a refusal names the field."""

import json
import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .test_intake import judged

DOCS = (Path(__file__).parent.parent / "docs" / "ecommerce.md").read_text()


def shop(name: str = "purchase", revenue: Any = None, **props: Any) -> dict[str, Any]:
    if name in ("purchase", "refund"):
        props = {"transaction_id": "T-1"} | props
    return {"name": name, "props": props} | ({"revenue": revenue} if revenue else {})


def refused(payload: dict[str, Any]) -> tuple[str, str]:
    from tracking.refusals import Refusal

    with pytest.raises(Refusal) as refusal:
        judged(payload)
    assert refusal.value.message
    return str(refusal.value.reason), refusal.value.field


def test_an_order_becomes_revenue_and_one_shape() -> None:
    event = judged(
        shop(
            value="25.50",
            currency="sek",
            tax=0.1 + 0.2,
            coupon=None,
            gift=True,
            items=[{"item_id": 7, "price": "12.75", "quantity": 2, "size_eu": 42}],
        )
    )
    assert (event.revenue, event.currency) == ("25.5", "SEK")
    assert orjson.loads(event.props) == {
        "gift": True,
        "transaction_id": "T-1",
        "value": 25.5,
        "currency": "SEK",
        "tax": 0.3,
        "items": [{"item_id": "7", "price": 12.75, "quantity": 2, "size_eu": 42}],
    }
    assert not event.sanitized


def test_only_orders_and_refunds_are_money() -> None:
    assert judged(shop("add_to_cart", value=9, items=[{"item_id": "a"}])).revenue is None
    assert judged(shop()).revenue is None  # unknown is not zero
    assert judged(shop(value=0)).revenue == "0"
    assert judged(shop(value=9)).currency == "EUR"  # the property's


def test_revenue_that_is_given_counts_before_value() -> None:
    event = judged(shop(value=9, currency="USD", revenue={"amount": "8.10", "currency": "SEK"}))
    assert (event.revenue, event.currency) == ("8.10", "SEK")


@pytest.mark.parametrize("value", [5, -5, "5", "-5"])
def test_a_refund_takes_away_however_it_is_signed(value: Any) -> None:
    assert judged(shop("refund", value=value)).revenue == "-5"
    assert judged(shop("refund", revenue={"amount": str(value)}, value=1)).revenue == "-5"
    assert judged(shop("refund", value=0)).revenue == "0"
    assert judged(shop("refund")).revenue is None  # of the whole order: its amount is known there


def test_a_custom_event_of_the_same_name_stays_what_it_is() -> None:
    event = judged({"name": "purchase", "props": {"product": "x", "price": "cheap"}})
    assert orjson.loads(event.props) == {"product": "x", "price": "cheap"}
    assert judged({"name": "purchase"}).props is None
    custom = judged({"name": "sale", "props": {"value": "much", "items": 3}})
    assert orjson.loads(custom.props) == {"value": "much", "items": 3}


def test_items_have_room_of_their_own() -> None:
    items = [
        {"item_id": f"sku-{i}", "item_name": "n" * 80, "price": 9.99, "quantity": 1, "index": i}
        for i in range(200)
    ]
    own: dict[str, Any] = {f"own{i}": i for i in range(200)}
    event = judged(shop(value=1998, items=items, **own))
    assert orjson.loads(event.props)["items"] == items


def test_cards_are_masked_but_never_the_number_of_an_order() -> None:
    card = "4242424242424242"
    items = [{"item_id": "a", "engraving": card, "n": int(card)}]
    event = judged(shop(transaction_id=card, coupon=card, items=items))
    props = orjson.loads(event.props)
    assert props["transaction_id"] == card
    assert props["coupon"] == "************4242"
    assert props["items"][0] == {"item_id": "a"} | dict.fromkeys(
        ["engraving", "n"], "*" * 12 + "4242"
    )
    assert event.sanitized


REFUSED: list[tuple[str, str, dict[str, Any]]] = [
    ("missing", "transaction_id", {"name": "purchase", "props": {"value": 1}}),
    ("missing", "transaction_id", {"name": "refund", "props": {"items": []}}),
    ("missing", "transaction_id", shop(transaction_id="")),
    ("missing", "transaction_id", shop(transaction_id="undefined")),
    ("invalid", "transaction_id", shop(transaction_id="x" * 201)),
    ("invalid", "transaction_id", shop(transaction_id=1.5)),
    ("invalid", "value", shop(value="12,50")),
    ("invalid", "value", shop(value=True)),
    ("number_range", "value", shop(value=-1)),
    ("number_range", "value", shop(value=10**12)),
    ("currency", "currency", shop(currency="EURO")),
    ("invalid", "coupon", shop(coupon=["a"])),
    ("invalid", "items", shop(items=3)),
    ("too_large", "items", shop(items=[{"item_id": "a"}] * 201)),
    ("too_large", "items", shop(items=[{"item_id": "a", "x": "y" * 200, "z": "y" * 200,
                                        "v": "y" * 200}] * 200)),
    ("invalid", "items[1]", shop(items=[{"item_id": "a"}, "b"])),
    ("missing", "items[0].item_id", shop(items=[{"price": 1}])),
    ("invalid", "items[1].price", shop(items=[{"item_id": "a"}, {"item_id": 1, "price": "?"}])),
    ("number_range", "items[0].quantity", shop(items=[{"item_id": "a", "quantity": -1}])),
    ("invalid", "items[0].deep", shop(items=[{"item_id": "a", "deep": {}}])),
    ("too_many_properties", "items[0]",
     shop(items=[{"item_id": "a"} | {f"own{i}": i for i in range(28)}])),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "field", "payload"), REFUSED)
def test_a_refusal_names_the_field(reason: str, field: str, payload: dict[str, Any]) -> None:
    assert refused(payload) == (reason, f"props.{field}")


def test_the_rest_of_the_props_keeps_its_limits() -> None:
    own: dict[str, Any] = {f"own{i}": i for i in range(201)}
    assert refused(shop(value=1, **own)) == ("too_many_properties", "props")


# --- whatever the tables hold: good values come through, one bad value is named

GOOD: dict[str, st.SearchStrategy[Any]] = {
    "id": st.from_regex(r"[A-Z]{2}-[0-9]{1,12}", fullmatch=True),
    "text": st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=50)
    | st.integers(0, 10**9),
    "currency": st.sampled_from(["EUR", "usd", "JPY"]),
    "amount": st.floats(0, 10**9) | st.integers(0, 10**9) | st.decimals(0, 99, places=2).map(str),
    "signed": st.floats(-(10**9), 10**9),
    "quantity": st.integers(0, 1000) | st.floats(0, 1000),
    "index": st.integers(0, 1000),
}
BAD: dict[str, list[Any]] = {
    "id": ["", "null", None, [], {}, True],
    "text": [[], {}, True, 1.5],
    "currency": ["", "EU", 978, []],
    "amount": ["", "free", "1,5", -1, 1e12, True, {}],
    "signed": ["", "free", 1e12, True, []],
    "quantity": ["many", -1, 10**6 + 1, False],
    "index": ["first", -1, []],
}


def objects(table: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional={n: GOOD[f.kind] for n, f in table.items()})


def tables() -> Any:
    from tracking import commerce

    return commerce


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_whatever_fits_the_tables_is_accepted_and_reads_the_same_again(data: st.DataObject) -> None:
    commerce = tables()
    name = data.draw(st.sampled_from(list(commerce.EVENTS)))
    item = objects(commerce.ITEM_FIELDS).map(lambda item: {"item_id": "a"} | item)
    props = {
        "transaction_id": "T-1",
        "items": data.draw(st.lists(item, max_size=3)),
        **data.draw(objects(commerce.FIELDS)),
    }
    first = judged({"name": name, "props": props})
    clean = orjson.loads(first.props)
    assert set(clean) == set(props)
    assert [set(item) for item in clean["items"]] == [set(item) for item in props["items"]]
    again = judged({"name": name, "props": clean})
    assert again.props == first.props
    if commerce.EVENTS[name].money and "value" in props:
        assert float(first.revenue) == pytest.approx(
            commerce.EVENTS[name].money * float(props["value"]), abs=1e-6
        )
    else:
        assert first.revenue is None


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_one_bad_value_is_refused_by_its_name(data: st.DataObject) -> None:
    commerce = tables()
    in_item = data.draw(st.booleans())
    table = commerce.ITEM_FIELDS if in_item else commerce.FIELDS
    field = data.draw(st.sampled_from([name for name in table if name != "item_name"]))
    bad = data.draw(st.sampled_from(BAD[table[field].kind]))
    items: list[dict[str, Any]] = [{"item_id": "a"}, {"item_id": "b"}]
    props: dict[str, Any] = {"transaction_id": "T-1", "items": items}
    (items[1] if in_item else props)[field] = bad
    _, named = refused({"name": "purchase", "props": props})
    assert named == ("props.items[1]." if in_item else "props.") + field


# --- the docs


def rows(heading: str) -> list[list[str]]:
    section = DOCS.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def test_the_docs_show_the_tables() -> None:
    commerce = tables()
    assert rows("Events") == [[f"`{n}`", shop.meaning] for n, shop in commerce.EVENTS.items()]
    for heading, table in [
        ("Fields of an event", commerce.FIELDS),
        ("Fields of an item", commerce.ITEM_FIELDS),
    ]:
        assert rows(heading) == [
            [f"`{name}`", field.kind, field.meaning] for name, field in table.items()
        ]
    assert rows("Kinds of values") == [[n, kind.meaning] for n, kind in commerce.KINDS.items()]


def test_the_examples_in_the_docs_are_accepted() -> None:
    examples = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", DOCS, re.DOTALL)]
    assert [(judged(e).name, judged(e).revenue) for e in examples] == [
        ("purchase", "59.8"),
        ("refund", "-29.9"),
    ]
