"""What a visitor looked for on the site itself, from the address of the page of results.

Enters: the URL of a page view, and the parameters in which the property's site has a term. Leaves:
the term, or "". Kept only where the property has switched it on (properties/capture.py); everything
else in a query is thrown away by tracking/addresses.py.
Called by tracking/intake.py.
"""

from collections.abc import Sequence
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

import orjson

from tracking.addresses import URL_LIMIT, clean_text
from tracking.cards import without_cards

SWITCH: Final = "site_search"
PROP: Final = "search"
LONGEST: Final = 100
_MOST_PARAMETERS: Final = 200


def with_term(props: bytes | None, url: str, parameters: Sequence[str]) -> bytes | None:
    """The props of a page view with its term as `search`, unless they have one of their own."""
    searched = term(url, parameters)
    if not searched:
        return props
    own = orjson.loads(props) if props else {}
    return orjson.dumps({PROP: searched} | own)


def term(url: str, parameters: Sequence[str]) -> str:
    """That of the first of the property's `parameters` that is filled, in lower case and single
    spaces, so that a term has one spelling; "" for none, and for what looks like an e-mail
    address."""
    if "?" not in url:
        return ""
    try:
        query = urlsplit(url[:URL_LIMIT]).query
        pairs = parse_qsl(query, max_num_fields=_MOST_PARAMETERS, errors="replace")
    except ValueError:
        return ""
    given = {name.lower(): value for name, value in reversed(pairs)}
    found = next((given[name] for name in parameters if given.get(name, "").strip()), "")
    if "@" in unquote(found):  # also of forms that encode twice, and behind what would be cut
        return ""
    return clean_text(without_cards(" ".join(found.split()).lower()), LONGEST)[0].strip()
