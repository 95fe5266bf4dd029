"""What nobody sees in a text, or what turns it round, is shown by its number on every page."""

import re
from pathlib import Path

import pytest

from properties.strangers_text import visible

LIVE = Path(__file__).parent.parent / "frontend" / "static" / "js" / "live.js"


@pytest.mark.parametrize(
    "sign",
    [
        "\x00", "\n", "\x7f", "\x85", "\u2028",  # controls and ends of lines
        "\u061c", "\u200e", "\u200f", "\u202a", "\u202e", "\u2066", "\u2069",  # of direction
        "\xad", "\u200b", "\u2060", "\ufeff", "\u180e",  # of no width
        "\u115f", "\u3164", "\uffa0", "\u2800",  # letters without ink
    ],
)  # fmt: skip
def test_what_shows_nothing_is_shown_by_its_number(sign: str) -> None:
    assert visible(f"/a{sign}b") == f"/a\\u{ord(sign):04x}b"


@pytest.mark.parametrize(
    "text",
    ["/a b", "مرحبا", "שלום", "می\u200cخواهم", "👩\u200d💻", "❤\ufe0f", "é", "e\u0301", "한국어"],
)
def test_what_is_written_so_stays(text: str) -> None:
    assert visible(text) == text


def test_the_live_page_shows_the_same() -> None:
    [written] = re.findall(r"const UNSEEN =.*?/(\[.*?\])/g;", LIVE.read_text(), re.S)
    unseen = re.compile(written)
    signs = [chr(number) for number in range(0x10000)]
    assert [sign for sign in signs if unseen.match(sign)] == [
        sign for sign in signs if visible(sign) != sign
    ]
