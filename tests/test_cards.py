"""Numbers of payment cards are masked, and what merely looks like one is not."""

import random

import pytest

from tests.corpus.event_fields import CARDS


@pytest.mark.parametrize("number", CARDS.values(), ids=CARDS.keys())
def test_only_the_last_four_digits_are_kept(number: str) -> None:
    from tracking.cards import without_cards

    masked = without_cards(f"({number}), thanks")
    digits = [sign for sign in masked if sign.isdigit()]
    assert "".join(digits) == number.replace(" ", "").replace("-", "")[-4:]
    assert masked.count("*") + 4 == sum(sign.isdigit() for sign in number)
    assert len(masked) == len(f"({number}), thanks")


@pytest.mark.parametrize(
    "text",
    [
        "4111111111111112",  # wrong check digit
        "1774000000008",  # a moment in milliseconds
        "4006381333931",  # an EAN
        "41111111111111111111",  # too long
        "a4111111111111111",
        "4111111111111111b",
        "41111111-1111-4111-8111-111111111111",
        "9111111111111119",  # no issuer
        "0" * 16,
        "2026-03-20 09:46:40.000 12",
        "",
        "4",
    ],
)
def test_other_numbers_stay(text: str) -> None:
    from tracking.cards import without_cards

    assert without_cards(text) is text


def test_two_in_one_text_and_separators_of_addresses() -> None:
    from tracking.cards import without_cards

    assert without_cards("/4111%201111%201111%201111/378282246310005") == (
        "/****%20****%20****%201111/***********0005"
    )
    assert without_cards("5555.5555.5555.4444 or 5555+5555+5555+4444") == (
        "****.****.****.4444 or ****+****+****+4444"
    )


def test_numbers() -> None:
    from tracking.cards import is_card

    assert is_card(4_111_111_111_111_111)
    assert is_card(4_111_111_111_111_111.0)
    for number in (
        4_111_111_111_111_112,
        3.5e13 + 0.5,
        1e300,
        0,
        -4_111_111_111_111_111,
        1_774_000_000_000_000,
        2**62,
    ):
        assert not is_card(number)


@pytest.mark.parametrize("number", [4_111_111_111_111_111, 4_111_111_111_111_111.0])
def test_a_number_in_props_is_masked_however_it_is_written(number: float) -> None:
    from tests.test_intake import judged, pageview

    hidden = b'"************1111"'
    assert judged(pageview(props={"a": [number]})).props == b'{"a":[' + hidden + b"]}"
    order = {"transaction_id": "1", "items": [{"item_id": "A", "own": number}]}
    event = judged(pageview(name="purchase", props=order))
    assert hidden in event.props
    assert event.sanitized


def test_few_long_numbers_are_taken_for_cards() -> None:
    """Of random numbers of 16 digits one in about forty passes for a card; of 13 digits none."""
    from tracking.cards import is_card

    rng = random.Random(1)
    assert not any(is_card(rng.randrange(10**12, 10**13)) for _ in range(5_000))
    share = sum(is_card(rng.randrange(10**15, 10**16)) for _ in range(20_000)) / 20_000
    assert share < 0.05
