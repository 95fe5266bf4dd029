"""The demo's tables: what the shop sells, who comes, from where, with what. Data only.

Read by simulator.py. Weights are relative to the others of their table. Addresses are prefixes
that the country table knows; the collector turns them into a country and keeps no address.
"""

from typing import Any, Final, NamedTuple

HOST: Final = "shop.example"
ZONE: Final = "Europe/Stockholm"
CURRENCY: Final = "SEK"


class Product(NamedTuple):
    path: str
    title: str
    price: int  # in whole units of CURRENCY
    weight: float


PRODUCTS: Final = (
    Product("/products/morning-espresso", "Morning Espresso 500 g", 129, 10),
    Product("/products/harbour-blend", "Harbour Blend 500 g", 119, 9),
    Product("/products/ethiopia-yirgacheffe", "Ethiopia Yirgacheffe 250 g", 109, 8),
    Product("/products/decaf-evening", "Decaf Evening 250 g", 99, 4),
    Product("/products/cold-brew-set", "Cold Brew Set", 349, 6),
    Product("/products/hand-grinder", "Hand Grinder", 899, 5),
    Product("/products/gooseneck-kettle", "Gooseneck Kettle", 749, 4),
    Product("/products/pour-over-kit", "Pour-over Kit", 429, 5),
    Product("/products/stoneware-mug", "Stoneware Mug", 149, 6),
    Product("/products/espresso-machine", "Espresso Machine Duo", 5490, 3),
    Product("/products/paper-filters", "Paper Filters, 100", 59, 5),
    Product("/products/gift-card", "Gift Card", 500, 2),
)
GOALS: Final[dict[str, dict[str, Any]]] = {  # name -> how it is reached
    "Order": {"kind": "event", "event": "purchase"},
    "Contact": {"kind": "page", "page": "/contact"},
}
TEASED: Final = PRODUCTS[:6]  # three of them stand on the first page, in any order
TEASERS_SEEN: Final = (0.25, 0.8, 0.7)  # of visitors, how many come down to each place
HOME: Final = ("/", "Demo shop: coffee and what it takes")
COLLECTIONS: Final = (
    ("/collections/coffee", "All coffee", 6),
    ("/collections/brewing", "Brewing", 4),
    ("/collections/new", "New in the shop", 3),
    ("/collections/sale", "Sale", 3),
)
ARTICLES: Final = (
    ("/guides/how-to-brew-pour-over", "How to brew pour-over", 6),
    ("/guides/grind-size-explained", "Grind size, explained", 5),
    ("/guides/best-water-for-coffee", "The best water for coffee", 3),
    ("/guides/caring-for-your-grinder", "Caring for your grinder", 2),
)
SERVICE: Final = (
    ("/shipping", "Shipping and returns", 4),
    ("/about", "About us", 3),
    ("/contact", "Contact", 2),
)
GONE: Final = ("/products/travel-mug", "Page not found")
LINKS: Final = (  # at the end of an article: event, address, chance
    ("outbound", "https://en.wikipedia.org/wiki/Coffee_preparation", 0.05),
    ("outbound", "https://www.openstreetmap.org/", 0.02),
    ("download", f"https://{HOST}/files/brewing-chart.pdf", 0.06),
)
SEARCHES: Final = (
    ("espresso", 12, 8), ("grinder", 7, 3), ("decaf", 5, 2), ("filter", 5, 6), ("gift", 4, 4),
    ("cold brew", 4, 3), ("kettle", 3, 2), ("moka pot", 2, 0), ("tea", 2, 0),
)  # fmt: skip  # words, weight, number of results


class Arrival(NamedTuple):
    """How a visit begins. `query` of the landing page and the referrer are what browsers send;
    `lands` is a table below; `serious` multiplies the chance to buy."""

    name: str
    weight: float
    referrer: str = ""
    query: str = ""
    lands: str = "any"
    serious: float = 1.0
    bounces: float = 0.38


GOOGLE: Final = "https://www.google.com/"
ARRIVALS: Final = (
    Arrival("direct", 27, serious=1.5, bounces=0.3),
    Arrival("google", 27, GOOGLE),
    Arrival("bing", 3, "https://www.bing.com/"),
    Arrival("duckduckgo", 3.5, "https://duckduckgo.com/"),
    Arrival("ecosia", 1.2, "https://www.ecosia.org/"),
    Arrival("chatgpt", 3, "https://chatgpt.com/", "utm_source=chatgpt.com", "article", 1.2),
    Arrival("perplexity", 1, "https://www.perplexity.ai/", lands="article"),
    Arrival("reddit", 3.5, "https://www.reddit.com/r/coffee/", lands="article", serious=0.5),
    Arrival("youtube", 1.6, "https://www.youtube.com/", lands="article", serious=0.6),
    Arrival("instagram", 4, "https://l.instagram.com/", lands="product", serious=0.6, bounces=0.55),
    Arrival("facebook", 3, "https://m.facebook.com/", serious=0.6, bounces=0.5),
    Arrival(
        "social campaign", 3, "https://www.instagram.com/",
        "utm_source=instagram&utm_medium=paid_social&utm_campaign=meet-the-roaster", "product",
        0.7, 0.55,
    ),
    Arrival(
        "search ads", 7, GOOGLE,
        "gclid={click}&utm_source=google&utm_medium=cpc&utm_campaign=brand-search", "product",
        1.6, 0.33,
    ),
    Arrival(
        "shopping ads", 4, GOOGLE,
        "gclid={click}&utm_source=google&utm_medium=cpc&utm_campaign=shopping-grinders", "product",
        1.4, 0.4,
    ),
    Arrival(
        "newsletter", 4, "",
        "utm_source=newsletter&utm_medium=email&utm_campaign=monthly-roast", "new", 2.2, 0.25,
    ),
    Arrival(
        "affiliate", 2, "https://brewreviews.example/best-grinders",
        "utm_source=brewreviews&utm_medium=affiliate&utm_campaign=grinder-test", "product", 1.5,
    ),
    Arrival("review", 2, "https://coffeenotes.example/shops/", serious=1.1),
    Arrival("hacker news", 0.5, "https://news.ycombinator.com/", lands="article", serious=0.3),
)  # fmt: skip
# What the big day of the demo sends on top of everybody else.
CAMPAIGN: Final = (
    Arrival(
        "sale newsletter", 5, "",
        "utm_source=newsletter&utm_medium=email&utm_campaign=big-sale", "sale", 2.6, 0.2,
    ),
    Arrival(
        "sale ads", 3, GOOGLE,
        "gclid={click}&utm_source=google&utm_medium=cpc&utm_campaign=big-sale", "sale", 1.8, 0.35,
    ),
    Arrival(
        "sale social", 2, "https://www.instagram.com/",
        "utm_source=instagram&utm_medium=paid_social&utm_campaign=big-sale", "sale", 1.0, 0.5,
    ),
)  # fmt: skip


class Country(NamedTuple):
    prefixes: tuple[str, ...]  # the first two bytes of addresses
    languages: tuple[str, ...]
    weight: float


COUNTRIES: Final = {
    "SE": Country(("79.138", "84.12", "164.10"), ("sv-SE", "sv-SE", "en-GB"), 38),
    "NO": Country(("159.162", "163.34"), ("nb-NO", "en-GB"), 9),
    "DK": Country(("2.107", "87.55"), ("da-DK", "en-GB"), 8),
    "FI": Country(("91.156", "194.142"), ("fi-FI", "sv-FI"), 7),
    "DE": Country(("89.1", "93.216"), ("de-DE", "de-DE", "en-US"), 10),
    "GB": Country(("135.244", "48.223"), ("en-GB",), 6),
    "US": Country(("97.239", "184.184"), ("en-US",), 7),
    "NL": Country(("62.200", "77.175"), ("nl-NL", "en-GB"), 4),
    "FR": Country(("90.33", "90.100"), ("fr-FR",), 3),
    "PL": Country(("87.105", "213.25"), ("pl-PL",), 2),
    "ES": Country(("88.6", "95.127"), ("es-ES",), 1.5),
    "IT": Country(("79.12", "93.42"), ("it-IT",), 1.5),
    "CA": Country(("142.59",), ("en-CA", "fr-CA"), 1),
    "JP": Country(("126.1", "114.153"), ("ja-JP",), 0.8),
    "BR": Country(("179.97", "201.74"), ("pt-BR",), 0.7),
    "IN": Country(("106.200", "122.162"), ("en-IN", "hi-IN"), 0.7),
    "AU": Country(("120.157", "139.216"), ("en-AU",), 0.8),
}


class Agent(NamedTuple):
    text: str
    screens: tuple[str, ...]
    weight: float


_DESK: Final = ("1920x1080", "1920x1080", "2560x1440", "1536x864", "1366x768")
_MAC: Final = ("1440x900", "1512x982", "1728x1117", "2560x1440")
_IPHONE: Final = ("390x844", "393x852", "430x932", "375x812")
_ANDROID: Final = ("360x800", "412x915", "384x832")
_WINDOWS: Final = "Mozilla/5.0 (Windows NT 10.0; Win64; x64)"
_MACOS: Final = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)"
_WEBKIT: Final = "AppleWebKit/605.1.15 (KHTML, like Gecko)"
_BLINK: Final = "AppleWebKit/537.36 (KHTML, like Gecko)"
AGENTS: Final = (
    Agent(
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) "
        f"{_WEBKIT} Version/18.5 Mobile/15E148 Safari/604.1",
        _IPHONE, 27,
    ),
    Agent(
        f"Mozilla/5.0 (Linux; Android 10; K) {_BLINK} Chrome/142.0.0.0 Mobile Safari/537.36",
        _ANDROID, 19,
    ),
    Agent(
        "Mozilla/5.0 (Linux; Android 15; SM-S921B) "
        f"{_BLINK} SamsungBrowser/27.0 Chrome/125.0.0.0 Mobile Safari/537.36",
        _ANDROID, 5,
    ),
    Agent(
        "Mozilla/5.0 (Android 15; Mobile; rv:144.0) Gecko/144.0 Firefox/144.0", _ANDROID, 2
    ),
    Agent(f"{_WINDOWS} {_BLINK} Chrome/142.0.0.0 Safari/537.36", _DESK, 18),
    Agent(f"{_WINDOWS} {_BLINK} Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0", _DESK, 7),
    Agent(
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:144.0) Gecko/20100101 Firefox/144.0",
        _DESK, 4,
    ),
    Agent(f"{_MACOS} {_WEBKIT} Version/18.5 Safari/605.1.15", _MAC, 8),
    Agent(f"{_MACOS} {_BLINK} Chrome/142.0.0.0 Safari/537.36", _MAC, 5),
    Agent(
        "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0", _DESK, 2
    ),
    Agent(
        "Mozilla/5.0 (iPad; CPU OS 18_5 like Mac OS X) "
        f"{_WEBKIT} Version/18.5 Mobile/15E148 Safari/604.1",
        ("810x1080", "834x1194"), 3,
    ),
    Agent(
        f"Mozilla/5.0 (Linux; Android 14; SM-X510) {_BLINK} Chrome/142.0.0.0 Safari/537.36",
        ("800x1280",), 1.5,
    ),
)  # fmt: skip
BOTS: Final = (
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)",
    f"Mozilla/5.0 {_BLINK}; compatible; GPTBot/1.2; +https://openai.com/gptbot",
)
