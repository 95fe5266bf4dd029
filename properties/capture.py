"""What the tracker may record by itself: the switches of a property.

In: nothing. Out: the table that the settings page, the API, the tracker's configuration and the
documentation read. A property keeps the names of those that are on.
"""

from typing import Final, NamedTuple

MORE: Final = "more"
VITALS: Final = "vitals"
CORE: Final = "core"


class Switch(NamedTuple):
    """`file`: the part of the tracker that a page loads because of this switch."""

    name: str
    label: str
    help: str
    file: str
    is_default: bool = True


SWITCHES: Final = (
    Switch(
        "elements",
        "Elements",
        "Clicks, hovers, focus and the number of key strokes on elements that you mark with "
        "trackrClass. Never what is typed.",
        MORE,
    ),
    Switch(
        "shown",
        "Shown elements",
        "That such an element was in view, once a page view: what its clicks are compared with. "
        "One event each.",
        MORE,
    ),
    Switch("outbound", "Outbound links", "Clicks on links to other sites.", MORE),
    Switch("downloads", "Downloads", "Clicks on links to files, such as .pdf and .zip.", MORE),
    Switch("forms", "Forms", "That a form was sent, and which. Never its content.", MORE),
    Switch(
        "not_found",
        "Pages not found",
        "Pages marked as not found, with where the visitor came from.",
        MORE,
    ),
    Switch(
        "calls",
        "Calls from your code",
        "Makes convert, interest, variant and shop available on the page.",
        MORE,
    ),
    Switch(
        "data_layer",
        "E-commerce from dataLayer",
        "Reads the purchases and carts that a tag manager finds in dataLayer (GA4 names).",
        MORE,
        is_default=False,
    ),
    Switch(
        "vitals",
        "Web vitals",
        "How fast pages load, answer and settle. Loads a file of its own.",
        VITALS,
        is_default=False,
    ),
    Switch(
        "site_search",
        "Site search",
        "What visitors look for on your own site, by the address of a page. What looks like an "
        "e-mail address is not kept.",
        CORE,
        is_default=False,
    ),
    Switch(
        "hash_routes",
        "Routes after #",
        "A change of the part after # is a page view: for single-page sites that route with it.",
        CORE,
        is_default=False,
    ),
)
# The parameters of an address in which the usual sites have a search term.
SEARCH_PARAMETERS: Final = ("q", "s", "search", "query", "keyword")
NAMES: Final = tuple(switch.name for switch in SWITCHES)


def default() -> list[str]:
    """The switches of a new property."""
    return [switch.name for switch in SWITCHES if switch.is_default]


def search_parameters() -> list[str]:
    """The parameters that hold a search term on the site of a new property."""
    return list(SEARCH_PARAMETERS)


def asks_for(file: str, names: list[str] | tuple[str, ...]) -> bool:
    """Whether one of these switches needs that file of the tracker."""
    return any(switch.file == file and switch.name in names for switch in SWITCHES)
