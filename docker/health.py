"""Exit 0 when the web process in this container answers /healthz; for the engine's health check."""

import os
import urllib.request

PORT = os.environ.get("PORT") or "8000"
HOST = (os.environ.get("ALLOWED_HOSTS") or "localhost").split(",")[0].strip().lstrip(".")

url = f"http://127.0.0.1:{PORT}/healthz"
request = urllib.request.Request(url, headers={"Host": HOST})
urllib.request.urlopen(request, timeout=4).close()  # noqa: S310  the address above
