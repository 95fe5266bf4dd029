"""Text that strangers wrote, harmless in a page and in a spreadsheet.

Enters: a path, a name, a user agent as somebody sent it. Leaves: text that shows what is in it.
Django's templates escape it besides. Called by every page and every CSV that shows such text.
"""

import re
import unicodedata

# Controls, line ends, letters without ink, and what turns or hides the text around it; joiners
# (emoji, Persian) stay. frontend/static/js/live.js has the same.
_UNSEEN = re.compile(
    r"[\x00-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u180e\u200b\u200e\u200f"
    r"\u2028-\u202e\u2060-\u206f\u2800\u3164\ufeff\uffa0\ufff9-\ufffb]"
)


def visible(text: str) -> str:
    """Text of strangers for display: a character that shows nothing is shown by its number."""
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


_FORMULA = frozenset("=+-@")
# Between cells or rows for a spreadsheet that was told so, or whose country writes lists with ";":
# quotes do not hold it back, for it looks for them where its own cells begin.
_ELSEWHERE = re.compile(r"([;\t\r\n])")


def csv_cell(value: object) -> object:
    """A cell that no spreadsheet takes for a formula: such text gets a ' in front.

    So does what follows a sign at which some spreadsheets begin another cell. Full-width signs and
    signs behind invisible characters count, too: some programs fold or strip them. Numbers stay
    numbers, None is an empty cell.
    """
    if value is None:
        return ""
    if not isinstance(value, str):
        return value
    if _ELSEWHERE.search(value) is None:
        return _harmless(value)
    text = "".join(map(_harmless, _ELSEWHERE.split(value)))
    return f"'{text}" if text[:1] in ("\t", "\r", "\n") else text


def _harmless(text: str) -> str:
    return f"'{text}" if _first_visible(text) in _FORMULA else text


def _first_visible(text: str) -> str:
    for char in text:
        if unicodedata.category(char) not in ("Cc", "Cf", "Zs", "Zl", "Zp"):
            return unicodedata.normalize("NFKC", char)[:1]
    return ""
