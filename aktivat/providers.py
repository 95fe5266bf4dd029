"""Sign-in providers out of the environment: OpenID Connect, and Google by two variables.

Enters: GOOGLE_CLIENT_ID, GOOGLE_CLIENT_SECRET and OIDC_PROVIDERS (docs/hosting.md). Leaves: what
allauth calls apps, and the origins to which the browser may be sent by our sign-in form. A mistake
ends the start with a sentence. settings.py is the only caller.
"""

import json
import re
from typing import Any
from urllib.parse import urlsplit

REQUIRED = ("id", "name", "server_url", "client_id", "secret")
KNOWN = {*REQUIRED, "origins"}
GOOGLE = {"id": "google", "name": "Google", "server_url": "https://accounts.google.com"}


def providers(oidc: str, google_id: str, google_secret: str) -> list[dict[str, Any]]:
    """The providers that are configured, as OIDC_PROVIDERS writes them."""
    found = _listed(oidc) if oidc else []
    if google_id and google_secret:
        found.insert(0, GOOGLE | {"client_id": google_id, "secret": google_secret})
    elif google_id or google_secret:
        raise SystemExit("Set both GOOGLE_CLIENT_ID and GOOGLE_CLIENT_SECRET, or neither.")
    for name in ("id", "client_id"):  # allauth finds a provider by either
        values = [provider[name] for provider in found]
        if len(set(values)) < len(values):
            raise SystemExit(f"OIDC_PROVIDERS: two providers have the same {name}. Change one.")
    return found


def apps(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same in allauth's words."""
    return [
        {
            "provider_id": provider["id"],
            "name": provider["name"],
            "client_id": provider["client_id"],
            "secret": provider["secret"],
            "settings": {"server_url": provider["server_url"]},
        }
        for provider in found
    ]


def origins(found: list[dict[str, Any]]) -> list[str]:
    """Where forms may lead: browsers hold the redirect after a form to the policy, too."""
    listed = [origin for provider in found for origin in provider.get("origins", [])]
    return listed + ["{0.scheme}://{0.netloc}".format(urlsplit(p["server_url"])) for p in found]


def _listed(oidc: str) -> list[dict[str, Any]]:
    try:
        found = json.loads(oidc)
    except ValueError as error:
        raise SystemExit(f"OIDC_PROVIDERS is no JSON: {error}.") from None
    if not isinstance(found, list) or not all(isinstance(provider, dict) for provider in found):
        raise SystemExit("OIDC_PROVIDERS: write a list of objects, [{...}, ...].")
    for provider in found:
        missing = [name for name in REQUIRED if not provider.get(name)]
        unknown = provider.keys() - KNOWN
        if missing or unknown:
            wrong = f"lacks {', '.join(missing)}" if missing else f"has {', '.join(unknown)}"
            raise SystemExit(f"OIDC_PROVIDERS: a provider {wrong}; docs/hosting.md has an example.")
        if not re.fullmatch(r"[a-z0-9-]+", provider["id"]):
            raise SystemExit("OIDC_PROVIDERS: an id is lower-case letters, digits and hyphens.")
    return found
