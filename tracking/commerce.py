"""The one schema of e-commerce: event names and fields of Google Analytics 4, and their limits.

In: name and payload of an event. Out: its props in one shape whatever the shop's software sent
("12.50" and 12.5 are one price), and the revenue that they mean; or a Refusal that names the
field, like props.items[3].price. An event of another name, or without a word of this schema
(SIGNS), is none of ours. Called by intake.py; docs/ecommerce.md shows the tables.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import orjson

from properties.currencies import DECIMALS
from tracking import fields
from tracking.addresses import clean_text
from tracking.cards import is_card
from tracking.refusals import Reason, Refusal

MAX_ITEMS = 200
MAX_ITEM_PROPS = 27  # of the sender's own in one item
MAX_BYTES = 100_000  # of the props of one event, as JSON: 200 items of 500 bytes
SIGNS = ("items", "transaction_id", "value")  # without one of them it is a custom event
LARGEST_AMOUNT = 10**12
LARGEST_COUNT = 10**6


class Shop(NamedTuple):
    """What an event of this name means, and whether its value is money: 1 taken, -1 given back."""

    meaning: str
    money: int = 0

    @property
    def required(self) -> tuple[str, ...]:
        """An order is counted once by its number, so nothing about money goes without one."""
        return ("transaction_id",) if self.money else ()


EVENTS = {
    "view_item_list": Shop("a list of products was shown"),
    "select_item": Shop("a product was chosen from a list"),
    "view_item": Shop("a product was shown"),
    "add_to_wishlist": Shop("a product was put on the wish list"),
    "add_to_cart": Shop("a product was put into the cart"),
    "remove_from_cart": Shop("a product was taken out of the cart"),
    "view_cart": Shop("the cart was shown"),
    "begin_checkout": Shop("the way to the till began"),
    "add_shipping_info": Shop("how to deliver was chosen"),
    "add_payment_info": Shop("how to pay was chosen"),
    "purchase": Shop("an order was placed; `value` becomes the revenue", 1),
    "refund": Shop("an order was paid back; `value` becomes negative revenue", -1),
    "view_promotion": Shop("a promotion was shown"),
    "select_promotion": Shop("a promotion was chosen"),
}


class Field(NamedTuple):
    kind: str  # one of KINDS
    meaning: str


FIELDS = {
    "transaction_id": Field("id", "number of the order; an order counts once"),
    "value": Field("amount", "the sum of price x quantity, without tax and shipping"),
    "currency": Field("currency", "of all amounts; the property's when there is none"),
    "tax": Field("amount", "tax in the order"),
    "shipping": Field("amount", "what delivery costs"),
    "coupon": Field("text", "voucher of the whole order"),
    "affiliation": Field("text", "shop or branch that sells"),
    "customer_type": Field("text", "`new` or `returning`"),
    "shipping_tier": Field("text", "how it is delivered"),
    "payment_type": Field("text", "how it is paid"),
    "item_list_id": Field("text", "list that was shown, by id"),
    "item_list_name": Field("text", "list that was shown, by name"),
    "promotion_id": Field("text", "promotion, by id"),
    "promotion_name": Field("text", "promotion, by name"),
    "creative_name": Field("text", "picture or text of the promotion"),
    "creative_slot": Field("text", "place of the promotion"),
}

ITEM_FIELDS = {
    "item_id": Field("text", "article number; this or `item_name` is required"),
    "item_name": Field("text", "name of the product"),
    "price": Field("signed", "of one piece after `discount`; negative for a voucher's line"),
    "quantity": Field("quantity", "pieces, 1 when absent; kilograms may have decimals"),
    "discount": Field("amount", "taken off the price of one piece"),
    "item_brand": Field("text", "brand"),
    "item_category": Field("text", "category"),
    "item_category2": Field("text", "category, second level"),
    "item_category3": Field("text", "category, third level"),
    "item_category4": Field("text", "category, fourth level"),
    "item_category5": Field("text", "category, fifth level"),
    "item_variant": Field("text", "size, colour"),
    "item_list_id": Field("text", "list in which it stood, by id"),
    "item_list_name": Field("text", "list in which it stood, by name"),
    "index": Field("index", "place in that list"),
    "coupon": Field("text", "voucher of this product"),
    "affiliation": Field("text", "shop or branch that sells"),
    "location_id": Field("text", "place of the shop"),
    "promotion_id": Field("text", "promotion, by id"),
    "promotion_name": Field("text", "promotion, by name"),
    "creative_name": Field("text", "picture or text of the promotion"),
    "creative_slot": Field("text", "place of the promotion"),
}


class Order(NamedTuple):
    """What the props of an e-commerce event say. `revenue` is a field as a sender may write it."""

    props: bytes
    changed: bool
    revenue: dict[str, Any] | None


def speaks(name: str, payload: Mapping[str, Any]) -> bool:
    """Whether the event speaks this language: by its name, and by what it carries."""
    if name not in EVENTS:
        return False
    props = payload.get("props")
    return isinstance(props, dict) and any(props.get(sign) is not None for sign in SIGNS)


def read(name: str, payload: Mapping[str, Any]) -> Order:
    """The e-commerce event of that payload. Raises Refusal."""
    sent: Mapping[str, Any] = payload["props"]
    changed: list[bool] = []
    for field in EVENTS[name].required:
        if sent.get(field) is None:
            raise Refusal(
                Reason.MISSING, f"{name} needs props.{field}, the number of the order.",
                f"props.{field}",
            )  # fmt: skip
    read_fields = FIELDS | {"value": Field("signed", "")} if EVENTS[name].money < 0 else FIELDS
    props = _known(sent, read_fields, "props", changed)
    if sent.get("items") is not None:
        props["items"] = _items(sent["items"], changed)
    own = {key: value for key, value in sent.items() if key not in FIELDS and key != "items"}
    rest, differs = fields.clean_props(own)
    line = orjson.dumps(rest | props)
    if len(line) > MAX_BYTES:
        raise Refusal(
            Reason.TOO_LARGE, f"An order holds at most {MAX_BYTES:,} bytes as JSON.", "props.items"
        )
    return Order(line, differs or bool(changed), _revenue(name, payload, props))


def _items(value: Any, changed: list[bool]) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        raise Refusal(
            Reason.INVALID, 'props.items must be a list, like [{"item_id": "A-1"}].', "props.items"
        )
    if len(value) > MAX_ITEMS:
        raise Refusal(
            Reason.TOO_LARGE, f"props.items hold at most {MAX_ITEMS} items.", "props.items"
        )
    return [_item(item, f"props.items[{i}]", changed) for i, item in enumerate(value)]


def _item(sent: Any, path: str, changed: list[bool]) -> dict[str, Any]:
    if not isinstance(sent, dict):
        raise Refusal(Reason.INVALID, f"{path} must be an object.", path)
    item = _known(sent, ITEM_FIELDS, path, changed)
    if not (item.get("item_id") or item.get("item_name")):
        raise Refusal(
            Reason.MISSING, f"{path} needs an item_id or an item_name.", f"{path}.item_id"
        )
    own = {key: value for key, value in sent.items() if key not in ITEM_FIELDS}
    if len(own) > MAX_ITEM_PROPS:
        raise Refusal(
            Reason.TOO_MANY_PROPERTIES,
            f"{path} has more than {MAX_ITEM_PROPS} properties of its own.", path,
        )  # fmt: skip
    for key, value in own.items():
        item[_clean(key, changed)] = _own(value, f"{path}.{key[: fields.TEXT]}", changed)
    return item


def _known(
    sent: Mapping[str, Any], table: Mapping[str, Field], path: str, changed: list[bool]
) -> dict[str, Any]:
    """The fields of the table that are there, each read by its kind. null is absent."""
    return {
        name: KINDS[field.kind].read(sent[name], f"{path}.{name}", changed)
        for name, field in table.items()
        if sent.get(name) is not None
    }


def _revenue(
    name: str, payload: Mapping[str, Any], props: Mapping[str, Any]
) -> dict[str, Any] | None:
    """What the event adds to the revenue. A refund takes away, however its sender signs it."""
    money = EVENTS[name].money
    given = payload.get("revenue")
    if given is None and money and "value" in props:
        given = {"amount": props["value"]}
        if "currency" in props:
            given["currency"] = props["currency"]
    if money < 0 and isinstance(given, dict) and "amount" in given:
        return given | {"amount": f"-{fields.amount(given['amount']).lstrip('-')}"}
    return given


# --- kinds of values


def _text(value: Any, path: str, changed: list[bool]) -> str:
    return _clean(_plain(value, path), changed)


def _plain(value: Any, path: str) -> str:
    """Article numbers are often sent as numbers."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise Refusal(Reason.INVALID, f"{path} must be a string.", path)
    return value


def _clean(value: str, changed: list[bool]) -> str:
    clean, differs = fields.typed(value, fields.TEXT)
    if differs:
        changed.append(True)
    return clean


def _id(value: Any, path: str, changed: list[bool]) -> str:
    """Never cut, masked or empty: two orders would become one."""
    text = _plain(value, path).strip()
    if text.lower() in fields.NOBODY:
        raise Refusal(Reason.MISSING, f"{path} must be the number of the order.", path)
    if clean_text(text, fields.TEXT)[1]:
        raise Refusal(
            Reason.INVALID, f"{path} must be at most {fields.TEXT} characters of valid text.", path
        )
    return text


def _currency(value: Any, path: str, changed: list[bool]) -> str:
    if not isinstance(value, str) or value.upper() not in DECIMALS:
        raise Refusal(Reason.CURRENCY, f"{path} must be an ISO 4217 code like EUR.", path)
    return value.upper()


def _number(value: Any, path: str, lowest: float, highest: float, decimals: int = 6) -> int | float:
    """A number, or a string that is one. Sums of prices end in ...0000004: six decimals stay."""
    if isinstance(value, str) and fields.AMOUNT.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refusal(Reason.INVALID, f"{path} must be a number like 12.5, with a point.", path)
    if not lowest <= value <= highest:  # NaN is in no range
        raise Refusal(
            Reason.NUMBER_RANGE, f"{path} must lie between {lowest:,} and {highest:,}.", path
        )
    rounded = round(value, decimals)
    return int(rounded) if rounded == int(rounded) else rounded


def _amount(value: Any, path: str, changed: list[bool]) -> int | float:
    return _number(value, path, 0, LARGEST_AMOUNT - 1)


def _signed(value: Any, path: str, changed: list[bool]) -> int | float:
    return _number(value, path, 1 - LARGEST_AMOUNT, LARGEST_AMOUNT - 1)


def _quantity(value: Any, path: str, changed: list[bool]) -> int | float:
    return _number(value, path, 0, LARGEST_COUNT)


def _index(value: Any, path: str, changed: list[bool]) -> int | float:
    return _number(value, path, 0, LARGEST_COUNT, 0)


def _own(value: Any, path: str, changed: list[bool]) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _clean(value, changed)
    if isinstance(value, int | float) and -fields.LARGEST < value < fields.LARGEST:
        if is_card(value):
            return _clean(str(int(value)), changed)
        return value
    raise Refusal(Reason.INVALID, f"{path} must be text, a number, true, false or null.", path)


class Kind(NamedTuple):
    read: Callable[[Any, str, list[bool]], Any]
    meaning: str


KINDS = {
    "id": Kind(_id, f"text or whole number, never empty, at most {fields.TEXT} characters"),
    "text": Kind(_text, f"text or whole number; cut at {fields.TEXT} characters"),
    "currency": Kind(_currency, "ISO 4217 code"),
    "amount": Kind(_amount, "number from 0 to 999,999,999,999; rounded to 6 decimals"),
    "signed": Kind(_signed, "the same, and may be negative"),
    "quantity": Kind(_quantity, "number from 0 to 1,000,000; rounded to 6 decimals"),
    "index": Kind(_index, "whole number from 0 to 1,000,000"),
}
