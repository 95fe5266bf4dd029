"""docs/collecting.md: every example runs and is answered as it says; every reason, code, field and
limit that exists is in it, and none that does not."""

import json
import re
import shlex
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.people import new_account, new_key, new_property, new_user
from tests.test_collector import fetch, stream

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "collecting.md").read_text()
BLOCKS: list[tuple[str, str]] = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


def tables(heading: str) -> list[list[str]]:
    """The rows of every table whose first column has that heading, cell by cell."""
    found = []
    for table in TEXT.split(f"\n| {heading} |")[1:]:
        for line in table.split("\n\n", 1)[0].splitlines()[2:]:
            found.append([cell.strip() for cell in line.strip("|").split(" | ")])
    assert found
    return found


def words(heading: str) -> set[str]:
    """The code words in the first column of those tables."""
    return {word for row in tables(heading) for word in re.findall(r"`([^`]+)`", row[0])}


def source(*names: str) -> str:
    return "".join((ROOT / "tracking" / name).read_text() for name in names)


# -- every example runs ----------------------------------------------------------------------------


@dataclass
class Request:
    """What a curl command of the page asks for."""

    url: str
    method: str = "GET"
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)


def request_of(command: str) -> Request:
    """The request of a curl command. An option that this does not know fails the test."""
    curl, *arguments = shlex.split(command)
    assert curl == "curl"
    asked = Request("")
    rest = iter(arguments)
    for argument in rest:
        if argument == "-d":
            asked.method, asked.body = "POST", next(rest).encode()
        elif argument == "-H":
            name, _, value = next(rest).partition(": ")
            asked.headers[name.lower().replace("-", "_")] = value
        elif argument == "-A":
            asked.headers["user_agent"] = next(rest)
        else:
            assert argument.startswith("http"), f"curl {argument}: teach it to this test"
            asked.url = argument
    return asked


@dataclass
class Expected:
    status: int
    headers: dict[str, str]
    body: Any

    @classmethod
    def of(cls, block: str) -> "Expected":
        head, _, body = block.partition("\n\n")
        status, *lines = head.strip().splitlines()
        headers = dict(line.split(": ", 1) for line in lines)
        return cls(int(status), headers, json.loads(body) if body.strip() else None)


EXAMPLES = [
    (text, after[1])
    for (kind, text), after in zip(BLOCKS, [*BLOCKS[1:], ("", "")], strict=True)
    if kind == "sh"
]


@pytest.fixture(scope="module")
def world(django_db_setup: None) -> dict[str, str]:
    """The page's key and API key, as they are here."""
    place = new_property(new_account(new_user("owner")), hostnames=["example.com"])
    _, secret = new_key(place.account, "events:manage")
    return {"AK-XXXXXXXX": place.key, "ak_XXXXXXXX": secret}


def here(text: str, world: dict[str, str], web: str) -> str:
    for written, real in {**world, "http://127.0.0.1:8000": web}.items():
        text = text.replace(written, real)
    return text


@pytest.mark.parametrize(("command", "answer"), EXAMPLES, ids=lambda text: text[:40])
def test_an_example_is_answered_as_the_page_says(
    command: str, answer: str, world: dict[str, str], web_server: str
) -> None:
    asked = request_of(here(command, world, web_server))
    expected = Expected.of(here(answer, world, web_server))
    got = fetch(asked.url, asked.method, asked.body, **asked.headers)
    assert got.status == expected.status
    assert {name: got.headers[name] for name in expected.headers} == expected.headers
    if expected.body is not None:
        assert without_hashes(got.json) == without_hashes(expected.body)


def without_hashes(body: Any) -> Any:
    """Addresses of the tracker's files change with every build; a file may not be built here."""
    if not isinstance(body, dict) or "more" not in body:
        return body
    for name in ("more", "vitals"):
        assert body[name] is None or re.fullmatch(r"/js/[0-9a-f]{32}\.js", body[name])
    return {name: value for name, value in body.items() if name not in ("more", "vitals")}


def test_every_command_has_an_answer_and_no_block_is_of_another_kind() -> None:
    kinds = [kind for kind, _ in BLOCKS]
    assert set(kinds) == {"sh", "http", "html"}
    assert kinds.count("sh") == kinds.count("http") == len(EXAMPLES) > 6
    follows = list(pairwise(kinds))
    assert follows.count(("sh", "http")) == len(EXAMPLES)


def test_the_pixel_of_the_page_counts_the_page_that_holds_it(web_server: str) -> None:
    place = new_property(hostnames=["example.com"])
    [block] = [text for kind, text in BLOCKS if kind == "html"]
    address = re.search(r'<img src="https://analytics\.example\.com(/track/it\?[^"]+)"', block)
    assert address
    assert 'referrerpolicy="no-referrer-when-downgrade"' in block
    path = address[1].replace("AK-XXXXXXXX", place.key)
    assert fetch(web_server + path, referer="https://example.com/about").status == 200
    assert [(event["name"], event["page"]) for event in stream(place)] == [("pageview", "/about")]


# -- nothing is missing ----------------------------------------------------------------------------


def test_every_reason_has_a_sentence() -> None:
    from tracking.refusals import WHAT_TO_DO, Reason

    assert words("reason") == set(Reason)
    assert set(WHAT_TO_DO) == set(Reason)
    for reason, text in WHAT_TO_DO.items():
        assert re.search(f"^\\|[^|]*`{reason}`[^|]*\\| {re.escape(text)} \\|$", TEXT, re.MULTILINE)


def test_every_fault_is_listed_with_its_status() -> None:
    from tracking.refusals import Reason

    code = source("views.py", "envelope.py", "pixel.py", "limits.py")
    raised = set(re.findall(r'Fault\(\s*(\d{3}),\s*"(\w+)"', code))
    raised |= set(re.findall(r'json_reply\(\s*(\d{3}), \{"error": \{"code": "(\w+)"', code))
    raised |= {("503", "unavailable"), ("429", "rate_limited")}
    assert ("401", Reason.UNKNOWN_PROPERTY) in raised
    listed = {(row[0], word) for row in tables("status") for word in re.findall(r"`(\w+)`", row[1])}
    assert listed == raised


def test_every_field_is_described() -> None:
    code = source(
        "intake.py", "fields.py", "envelope.py", "consent.py", "configuration.py", "pixel.py"
    )
    listed = {name for name in words("field") if re.fullmatch(r"[a-z_]+", name)}
    assert {name for name in listed if f'"{name}"' not in code} == set()
    read = set(re.findall(r'fields\.\w+\(payload, "(\w+)"', code))
    read |= set(re.findall(r'payload\.get\("(\w+)"', code)) | set(
        re.findall(r'payload\["(\w+)"', code)
    )
    assert read <= listed


def test_every_limit_of_a_text_is_the_one_that_holds() -> None:
    rows = {name: row[1] for row in tables("field") for name in re.findall(r"`(\w+)`", row[0])}
    limits = re.findall(r'fields\.text\(payload, "(\w+)", ([\d_]+)\)', source("intake.py"))
    assert len(limits) > 3
    for name, limit in limits:
        if name != "screen":  # says what it must look like
            assert f"up to {int(limit):,} characters" in rows[name], name


def test_every_parameter_of_the_pixel_is_listed() -> None:
    listed = words("parameter")
    code = source("pixel.py")
    read = set(re.findall(r'\(given, "(\w+)"\)', code)) | set(
        re.findall(r'given(?:\.get\(|\[)"(\w+)"', code)
    )
    assert {name for name in read if name not in listed} == set()
    simple = {name for name in listed if re.fullmatch(r"[a-z_]+", name)} - {"trackr_event_type"}
    unread = {"trackr_element_value", "trackr_element_char", "hash"}
    made = {name for name in simple if name.startswith("trackr_element_")}
    assert simple - read - unread - made == set()


def test_every_header_that_is_read_is_listed() -> None:
    listed = {name.lower() for name in words("header")}
    code = source("views.py", "consent.py", "agents.py")
    read = set(re.findall(r'headers?(?:\.get)?\("([a-z-]+)"', code))
    read |= set(re.findall(r'"((?:sec-|x-)?(?:purpose|moz))"', code))
    assert read - {"accept-encoding", "if-none-match", "referer"} <= listed  # of what is fetched
    assert listed - read - {"content-length"} == set()
