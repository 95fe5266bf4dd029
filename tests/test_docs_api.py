"""docs/api.md: every example runs and is answered in the shape that it shows, in the order of the
page; the program in Python runs; and every operation that there is stands in it."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.people import new_key, new_property, with_key

TEXT = (Path(__file__).parent.parent / "docs" / "api.md").read_text()
SITE = "https://analytics.example.com"
BLOCKS: list[tuple[str, str]] = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


@pytest.fixture
def world(acme: Any) -> dict[str, str]:
    """The names of the page, as they are here: an account with one property and a key to it."""
    from accounts.modules import MODULES

    place = new_property(acme, name="Shop", hostnames=["example.com"])
    _, secret = new_key(acme, *(f"{module}:manage" for module in MODULES))
    return {"AK-XXXXXXXX": place.key, "ak_XXXXXXXX": secret, "/acme": f"/{acme.slug}"}


def here(text: str, world: dict[str, str]) -> str:
    for written, real in world.items():
        text = text.replace(written, real)
    return text


def ask(command: str, world: dict[str, str]) -> Any:
    """What the curl command asks; an option that this does not know fails the test."""
    curl, *arguments = shlex.split(here(command, world))
    assert curl == "curl"
    method, url, body, headers = "", "", "", {}
    rest = iter(arguments)
    for argument in rest:
        if argument == "-X":
            method = next(rest)
        elif argument == "-d":
            body = next(rest)
        elif argument == "-H":
            name, _, value = next(rest).partition(": ")
            headers[name] = value
        elif argument not in ("-i", "-N"):
            assert argument.startswith(SITE), f"curl {argument}: teach it to this test"
            url = argument.removeprefix(SITE)
    secret = headers.pop("Authorization").removeprefix("Bearer ")
    kind = headers.pop("Content-Type", "application/json")
    method = method or ("POST" if body else "GET")
    return with_key(secret).generic(method, url, body, content_type=kind, headers=headers)


def fits(shown: Any, real: Any) -> bool:
    """Whether the page shows nothing that is not there, or of another type."""
    if isinstance(shown, dict):
        return isinstance(real, dict) and all(
            name in real and fits(value, real[name]) for name, value in shown.items()
        )
    if isinstance(shown, list):
        return isinstance(real, list) and all(map(fits, shown, real)) and len(shown) <= len(real)
    return type(shown) is type(real) or real is None


def test_every_example_is_answered_as_the_page_says(world: dict[str, str]) -> None:
    examples = [
        (text, after[1])
        for (kind, text), after in zip(BLOCKS, [*BLOCKS[1:], ("", "")], strict=True)
        if kind == "sh" and after[0] == "http"
    ]
    assert len(examples) == [kind for kind, _ in BLOCKS].count("sh") > 12
    for command, block in examples:
        head, _, body = block.partition("\n\n")
        status, *headers = head.splitlines()
        answer = ask(command, world)
        assert answer.status_code == int(status), (command, answer.content)
        if answer.headers["Content-Type"] == "text/event-stream":
            assert answer.content.decode().startswith(body.strip())
            continue
        assert fits(json.loads(body), answer.json()), (command, answer.json())
        for line in headers:
            name, _, value = line.partition(": ")
            world[value] = answer.headers[name]  # the next example sends it back


def test_the_program_in_python_runs(world: dict[str, str], web_server: str, acme: Any) -> None:
    [program] = [text for kind, text in BLOCKS if kind == "python"]
    new_property(acme, name="Blog")
    found: dict[str, Any] = {}
    code = here(program, world).replace(SITE, web_server)
    exec(compile(code, "the program of docs/api.md", "exec"), found)
    assert [place["name"] for place in found["places"]] == ["Blog", "Shop"]
    assert found["changed"]["hostnames"] == ["example.com", "shop.example.com"]
    assert found["refused"] == []
    assert len({user["id"] for user in found["users"]}) == len(found["users"]) == 1500


def test_every_operation_stands_in_the_page() -> None:
    from drf_spectacular.generators import SchemaGenerator

    paths = SchemaGenerator().get_schema(request=None, public=True)["paths"]
    assert len(paths) > 20
    missing = []
    for path, methods in paths.items():
        if path.startswith("/api/stats/"):
            continue  # one heading for its four lengths
        written = path.replace("{user}", "{id}")
        ends = (f"{written}`", f"{written}?")
        lines = [line for line in TEXT.splitlines() if any(end in line for end in ends)]
        missing += [
            f"{method.upper()} {written}"
            for method in methods
            if not any(re.search(rf"`{method.upper()}(`| )", line) for line in lines)
        ]
    assert missing == []
