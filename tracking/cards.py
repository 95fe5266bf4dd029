"""Numbers of payment cards that slip into addresses, titles and properties are not kept.

In: a text, or a whole number. Out: the same, or with every digit of a card's number but the last
four replaced by a star. A card's number is what an issuer gives out today: prefix and length belong
together, and the check digit is right (Luhn). So article numbers (EAN, 13 digits), moments in
milliseconds and nearly all order numbers stay what they are. Called by fields.py and addresses.py
for whatever a visitor may have typed.
"""

import re
from typing import Final

SHORTEST: Final = 14
_SMALLEST: Final = 2 * 10 ** (SHORTEST - 1)  # a card's number begins with 2 to 6
_GAP: Final = r"(?:[ .+-]|%20)?"
# Digits in groups as people and forms write them; not inside a word, an id or a longer number. What
# precedes is looked at second: a text without such a digit is passed over much faster.
_LONG_NUMBER: Final = re.compile(
    rf"[2-6](?<![0-9A-Za-z].)(?<![0-9A-Za-z]-.)(?:{_GAP}[0-9]){{13,18}}(?![0-9A-Za-z])", re.DOTALL
)
_GAPS: Final = re.compile("%20|[^0-9]")
_PARTS: Final = re.compile("%20|.")
_ISSUED: Final = re.compile(
    r"4(?:.{15}|.{18})"  # Visa
    r"|(?:5[1-5]..|222[1-9]|22[3-9].|2[3-6]..|27[01].|2720).{12}"  # Mastercard
    r"|3[47].{13}"  # American Express
    r"|3(?:0[0-5]|[689].).{11}"  # Diners Club
    r"|35(?:2[89]|[3-8].).{12}"  # JCB
    r"|6(?:011|4[4-9].|5..).{12,15}"  # Discover
    r"|(?:50|5[6-8]|6[237]).{14,17}"  # Maestro, UnionPay
)
_DOUBLED: Final = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


def without_cards(text: str) -> str:
    """The text itself when there is no card's number in it."""
    if len(text) < SHORTEST or _LONG_NUMBER.search(text) is None:
        return text
    masked = _LONG_NUMBER.sub(_masked, text)
    return text if masked == text else masked


def is_card(number: float) -> bool:
    """Whether a number is a card's, also one written with .0 or an exponent."""
    return number >= _SMALLEST and number == int(number) and _is_issued(str(int(number)))


def _masked(found: re.Match[str]) -> str:
    digits = _GAPS.sub("", found[0])
    if not _is_issued(digits):
        return found[0]
    hidden = len(digits) - 4
    parts = _PARTS.findall(found[0])
    for place, part in enumerate(parts):
        if hidden and part.isdigit():
            parts[place] = "*"
            hidden -= 1
    return "".join(parts)


def _is_issued(digits: str) -> bool:
    return _ISSUED.fullmatch(digits) is not None and _passes_luhn(digits)


def _passes_luhn(digits: str) -> bool:
    total = sum(map(int, digits[-1::-2])) + sum(_DOUBLED[int(digit)] for digit in digits[-2::-2])
    return total % 10 == 0
