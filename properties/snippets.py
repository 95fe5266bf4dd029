"""What is pasted into a website, a tag manager or a server to send events to a property.

Enters: the property and the address of this installation. Leaves: text for the snippet page.
"""

import json
from dataclasses import dataclass

from django.conf import settings
from django.http import HttpRequest

from properties.models import Property


@dataclass(frozen=True)
class Snippet:
    """One way in: `label` is its tab, `where` says where the text goes."""

    name: str
    label: str
    where: str
    text: str


def origin_of(request: HttpRequest) -> str:
    """The address that browsers reach us at: PUBLIC_URL, else that of this request."""
    return settings.PUBLIC_URL or request.build_absolute_uri("/").rstrip("/")


def snippets(place: Property, origin: str) -> list[Snippet]:
    html = modern(place, origin)
    return [
        Snippet("html", "HTML", "Into the <head> of every page.", html),
        Snippet(
            "tag-manager",
            "Tag manager",
            "A tag of the kind “Custom HTML”, fired on all pages. "
            "Tag managers drop attributes of scripts, so this one makes its own.",
            injected(place, origin),
        ),
        Snippet(
            "server",
            "Server",
            "From a shell, or the same request from your own program. Pass on your visitor's user "
            "agent: under its own name a program counts as a bot.",
            curl(place, origin),
        ),
        Snippet(
            "pixel",
            "Without script",
            "At the end of the <body>, beside the script: counts page views of browsers without "
            "JavaScript, as visitors of one day. Where no script may run at all, leave out "
            "<noscript>.",
            pixel(place, origin),
        ),
        Snippet(
            "classic",
            "Classic",
            "For pages that already use the trackr options: the first part at the top of the "
            "<head>, the second at the end of the <body>.",
            classic(place, origin),
        ),
    ]


def modern(place: Property, origin: str) -> str:
    """The same whatever the settings are: the tracker asks for them, so nobody pastes twice."""
    return f'<script defer src="{origin}/js/trackr.js" data-property="{place.key}"></script>'


def pixel(place: Property, origin: str) -> str:
    """Counts a page where no script runs. Browsers would name the site alone, not the page."""
    return (
        f'<noscript><img src="{origin}/track/it?config_account={place.key}"'
        ' referrerpolicy="no-referrer-when-downgrade" width="1" height="1" alt=""></noscript>'
    )


def injected(place: Property, origin: str) -> str:
    return f"""<script>
  var script = document.createElement("script");
  script.async = true;
  script.src = {json.dumps(f"{origin}/js/trackr.js")};
  script.dataset.property = {json.dumps(place.key)};
  document.head.appendChild(script);
</script>"""


def classic(place: Property, origin: str) -> str:
    return f"""<script>
  window.trackrloadstart = new Date().getTime();
</script>

<script>
  var o = {{
    account: {json.dumps(place.key)},
    trackrClass: "track-it",
    serverUrl: {json.dumps(origin)}
  }};
  var s = document.createElement("script");
  s.src = o.serverUrl + "/js/trackr.js";
  s.onload = function () {{ window.trackr = new window.Trackr(o); }};
  document.head.appendChild(s);
</script>"""


def curl(place: Property, origin: str) -> str:
    named = [host for host in place.hostnames if not host.startswith("*")]
    event = {
        "property": place.key,
        "name": "pageview",
        "visitor": "4f8c5bce-8b0e-4a52-9c51-6a2c1d0f7e11",
        "url": f"https://{named[0] if named else 'example.com'}/",
    }
    return (
        f"curl {origin}/track \\\n"
        "  -H 'Content-Type: application/json' \\\n"
        "  -A 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0' \\\n"
        f"  -d '{json.dumps(event)}'"
    )
