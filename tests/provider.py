"""A provider of OpenID Connect on loopback, which says about a person whatever a test wants.

In: the claims for the next sign-in. Out: its configuration, tokens and user info, as in real life;
only the page at which a person would agree is left out (`come_back` does what it would do).
"""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt

SECRET = "the secret of the fake provider, which is long enough"


class Provider:
    def __init__(self) -> None:
        self.claims: dict[str, Any] = {}
        self.tokens: list[dict[str, list[str]]] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def app(self, name: str = "fake") -> dict[str, Any]:
        """What OIDC_PROVIDERS would hold."""
        return {
            "id": name,
            "name": "Fake Provider",
            "server_url": self.url,
            "client_id": f"aktivat at {name}",
            "secret": SECRET,
        }

    def answer(self, path: str) -> dict[str, Any]:
        if path == "/token":
            now = int(time.time())
            basic = {
                "iss": self.url,
                "aud": ["aktivat at fake", "aktivat at other"],
                "iat": now,
                "exp": now + 60,
            }
            token = jwt.encode(basic | self.claims, SECRET, algorithm="HS256")
            return {"access_token": "a token", "token_type": "Bearer", "id_token": token}
        if path == "/userinfo":
            return self.claims
        names = ("authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri")
        paths = ("/authorize", "/token", "/userinfo", "/jwks")
        ends = {name: self.url + path for name, path in zip(names, paths, strict=True)}
        return ends | {"issuer": self.url}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = json.dumps(provider.answer(urlsplit(self.path).path)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                sent = self.rfile.read(int(self.headers["Content-Length"])).decode()
                provider.tokens.append(parse_qs(sent))
                self.do_GET()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler


def come_back(client: Any, process: str = "login", name: str = "fake", **extra: str) -> Any:
    """Press the button, agree there, come back; the last answer."""
    away = client.post(f"/user/oidc/{name}/login/?process={process}")
    assert away.status_code == 302, away.content
    asked = parse_qs(urlsplit(away.headers["Location"]).query)
    given = {"code": "a code", "state": asked["state"][0]} | extra
    return client.get(f"/user/oidc/{name}/login/callback/", given)
