"""The recipes of docs/snippet.md for one's own address, run by a real nginx and a real Caddy: the
script, its configuration, its second file and the events all come and go by the site itself."""

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from aktivat.servers.valkey import free_ports
from tests.outside import miss
from tests.tracker.collector import Site

from .test_first_event import CHROME, wait_for_the_stream

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs" / "snippet.md").read_text()
NGINX = """
daemon off;
pid {folder}/pid;
error_log {folder}/errors;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder};
    proxy_temp_path {folder};
    fastcgi_temp_path {folder};
    uwsgi_temp_path {folder};
    scgi_temp_path {folder};
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass {site}; }}
        {recipe}
    }}
}}
"""
CADDY = """
{{
    admin off
    auto_https off
}}
http://127.0.0.1:{port} {{
    {recipe}
    reverse_proxy {site}
}}
"""


def block(language: str) -> str:
    """The first example of that language below "Under your own address"."""
    section = DOCS.split("## Under your own address")[1].split("\n## ")[0]
    found = re.search(rf"```{language}\n(.*?)```", section, re.DOTALL)
    assert found, f"there is no {language} in it"
    return found[1]


@contextmanager
def serving(program: str, site: str, collector: str, folder: Path) -> Iterator[str]:
    """The web server with the recipe of the docs; the site's pages behind it."""
    path = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin")
    if path is None:
        miss("Recipes of docs/snippet.md", f"Install {program} (apt-get install {program}).")
    with free_ports(1) as [port]:
        pass
    language, template = {"nginx": ("nginx", NGINX), "caddy": ("caddyfile", CADDY)}[program]
    recipe = block(language).replace("https://analytics.example.com", collector)
    file = folder / program
    file.write_text(template.format(folder=folder, port=port, site=site, recipe=recipe))
    arguments = {
        "nginx": ["-p", str(folder), "-e", str(folder / "errors"), "-c", str(file)],
        "caddy": ["run", "--config", str(file), "--adapter", "caddyfile"],
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(path), *arguments[program]],
            stdout=log,
            stderr=log,
            env={"HOME": str(folder), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        )
    try:
        wait_for_port(port, process, folder / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def wait_for_port(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(log.read_text()[-2_000:])


@pytest.mark.parametrize("program", ["nginx", "caddy"])
def test_everything_goes_by_the_sites_own_address(
    program: str, acme: Any, new_context: Any, web_server: str, tmp_path: Path
) -> None:
    from tests.people import new_property

    place = new_property(acme, hostnames=["127.0.0.1"])
    snippet = block("html").replace("AK-XXXXXXXX", place.key)
    site = Site(
        "<!doctype html><title>Notes</title>"
        + snippet.replace("></script>", " data-allow-automation></script>")
    )
    try:
        with serving(program, site.url, web_server, tmp_path) as address:
            page = new_context(user_agent=CHROME).new_page()
            asked: list[str] = []
            page.on("request", lambda request: asked.append(request.url))
            page.goto(f"{address}/")
            page.evaluate("new Promise((resolve) => trackr.interests(resolve))")
            page.evaluate("trackr.convert('newsletter')")
            wait_for_the_stream(place, 2)
            page.close()
    finally:
        site.stop()
    assert all(url.startswith(address) for url in asked)
    paths = {url.removeprefix(address).partition("?")[0] for url in asked}
    assert {"/notes/js/page.js", f"/notes/js/{place.key}.json", "/notes/in"} <= paths
    assert any(re.fullmatch(r"/notes/js/[0-9a-f]{32}\.js", path) for path in paths)
    assert not any("track" in path for path in paths)
