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
            "From a shell, or the same request from your own program.",
            curl(place, origin),
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
    attributes = f'data-property="{place.key}"'
    if place.privacy == Property.Privacy.COOKIELESS:
        attributes += (
            ' data-v_visitor-cookie-name="false" data-session-cookie-name="false"'
            ' data-track-tabs="false"'
        )
    return f'<script async src="{origin}/js/trackr.js" {attributes}></script>'


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
        f"  -d '{json.dumps(event)}'"
    )
