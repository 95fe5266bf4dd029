"""User agents: what they are called, and that hostile ones cost nothing."""

from __future__ import annotations

import gzip
import json
import os
import re
from collections import Counter
from pathlib import Path

import pytest
from crawleruseragents import CRAWLER_USER_AGENTS_DATA
from hypothesis import given, settings
from hypothesis import strategies as st

from tracking import agents
from tracking.agents import AGENT_LIMIT, CACHE_SIZE, NOBODY, Agent, identify, is_prefetch

TESTDATA = os.environ.get("AKTIVAT_TESTDATA")
needs_testdata = pytest.mark.skipif(
    not TESTDATA, reason="AKTIVAT_TESTDATA is not set: name the folder with the real data"
)

SAFARI = "Mozilla/5.0 ({}) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 {}Safari/604.1"
CHROME = "Mozilla/5.0 ({}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 {}Safari/537.36"


@pytest.mark.parametrize(
    ("user_agent", "agent"),
    [
        (CHROME.format("Windows NT 10.0; Win64; x64", ""),
         Agent("Chrome", "120", "Windows", "Desktop", False)),
        (CHROME.format("X11; Linux x86_64", ""), Agent("Chrome", "120", "Linux", "Desktop", False)),
        (CHROME.format("X11; CrOS x86_64 14541.0.0", ""),
         Agent("Chrome", "120", "ChromeOS", "Desktop", False)),
        (CHROME.format("Linux; Android 10; K", "Mobile "),
         Agent("Chrome", "120", "Android", "Mobile", False)),
        (CHROME.format("Linux; Android 13; SM-X700", ""),
         Agent("Chrome", "120", "Android", "Tablet", False)),
        (SAFARI.format("Macintosh; Intel Mac OS X 10_15_7", ""),
         Agent("Safari", "17", "macOS", "Desktop", False)),
        (SAFARI.format("iPhone; CPU iPhone OS 17_0 like Mac OS X", "Mobile/15E148 "),
         Agent("Safari", "17", "iOS", "Mobile", False)),
        (SAFARI.format("iPad; CPU OS 15_0 like Mac OS X", "Mobile/15E148 "),
         Agent("Safari", "17", "iOS", "Tablet", False)),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:120.0) Gecko/20100101 Firefox/120.0",
         Agent("Firefox", "120", "macOS", "Desktop", False)),
        (CHROME.format("Windows NT 10.0; Win64; x64", "") + " Edg/120.0.0.0",
         Agent("Edge", "120", "Windows", "Desktop", False)),
        ("Mozilla/5.0 (Windows NT 6.1; Trident/7.0; Tablet PC 2.0; rv:11.0) like Gecko",
         Agent("Internet Explorer", "11", "Windows", "Desktop", False)),
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
         Agent("Googlebot", "2", "Unknown", "Unknown", True)),
    ],
)  # fmt: skip
def test_agents_have_names(user_agent: str, agent: Agent) -> None:
    assert identify(user_agent) == agent


@pytest.mark.parametrize(
    ("user_agent", "device"),
    [
        (CHROME.format("SMART-TV; Linux; Tizen 5.0", "TV "), "TV"),
        (CHROME.format("Web0S; Linux/SmartTV", ""), "TV"),
        (CHROME.format("Linux; Android 9; AFTMM Build/PS7233; wv", "Mobile "), "TV"),
        ("Opera/9.80 (Android; Opera Mini/36.2/119.1; U; en) Presto/2.12.423 Version/12.16",
         "Mobile"),
        ("Dalvik/2.1.0 (Linux; U; Android 9; SM-G960F Build/PPR1.180610.011)", "Mobile"),
        ("Mozilla/5.0 (Linux; U; en-us; KFTT) AppleWebKit/535.19 Silk/3.68", "Tablet"),
        (CHROME.format("Windows NT 10.0; the day after", ""), "Desktop"),
        ("curl/8.0", "Unknown"),
    ],
)  # fmt: skip
def test_devices_follow_the_written_rule(user_agent: str, device: str) -> None:
    assert identify(user_agent).device == device


@pytest.mark.parametrize(
    "user_agent",
    [None, "", "-", " ", "\x00", "\x00\xff\x01\x80", "\ud800\udfff", "\u202e", "?" * 99],
)
def test_an_agent_that_says_nothing_is_unknown(user_agent: str | None) -> None:
    assert identify(user_agent) == NOBODY


@given(st.text(alphabet=st.characters(), max_size=200))
@settings(deadline=None)
def test_any_text_has_an_agent_of_bounded_names(user_agent: str) -> None:
    found = identify(user_agent)
    assert found.device in ("Desktop", "Mobile", "Tablet", "TV", "Unknown")
    assert all(len(name) <= 64 for name in found[:4])
    "".join(found[:4]).encode()


@pytest.mark.parametrize(
    "user_agent",
    [
        "SmartWatch(" + " " * 3500 + "z",
        ";A Build HuaweiA" + "4" * 3500,
        "Mozilla/5.0 " + "android" * 9000,
        "x" * 64_000,
    ],
)
def test_hostile_strings_are_cut_before_they_are_parsed(user_agent: str) -> None:
    assert identify(user_agent) == identify(user_agent[:AGENT_LIMIT])
    # A name behind the cut was not read, so nothing backtracks over more than the limit.
    assert identify(user_agent[:AGENT_LIMIT] + " Googlebot/2.1") == identify(user_agent)
    assert not identify(user_agent).bot


def test_answers_are_remembered_up_to_a_bound() -> None:
    assert agents._identify.cache_info().maxsize == CACHE_SIZE
    assert identify("Remembered/1.0") is identify("Remembered/1.0")


def test_a_crawler_is_what_the_list_says_case_as_written() -> None:
    assert identify("Googlebot/2.1").bot
    assert not identify("googleBOT/2.1").bot
    for entry in CRAWLER_USER_AGENTS_DATA:
        for instance in entry.get("instances", [])[:1]:
            if re.search(entry["pattern"], instance[:AGENT_LIMIT]):
                assert identify(instance).bot, instance


@pytest.mark.parametrize(
    ("headers", "prefetch"),
    [
        ({}, False),
        ({"sec-purpose": "prefetch"}, True),
        ({"sec-purpose": "prefetch;prerender"}, True),
        ({"purpose": "Prefetch"}, True),
        ({"x-purpose": "preview"}, True),
        ({"x-moz": "prefetch"}, True),
        ({"purpose": ""}, False),
        ({"purpose": "navigate"}, False),
        ({"accept": "prefetch"}, False),
    ],
)
def test_prefetch_is_seen_in_its_headers(headers: dict[str, str], prefetch: bool) -> None:
    assert is_prefetch(headers) is prefetch


_LAST_FIELD = re.compile(r'"((?:[^"\\]|\\.)*)"?\s*\Z')  # a last quote may be missing


def _requests_by_agent(dataset: str) -> tuple[Counter[str], dict[str, object]]:
    folder = Path(TESTDATA or "") / dataset
    counted: Counter[str] = Counter()
    with gzip.open(folder / "access.log.gz", "rt", encoding="utf-8", newline="\n") as lines:
        for line in lines:
            field = _LAST_FIELD.search(line)
            assert field is not None, line
            counted[field[1]] += 1
    return counted, json.loads((folder / "ground_truth.json").read_text(encoding="utf-8"))


@needs_testdata
@pytest.mark.parametrize("dataset", ["elastic_apache_2015", "mtn_apache_2005_2018"])
def test_crawlers_of_a_real_log(dataset: str) -> None:
    """Bots and humans make up the log. The truth was counted with the list's version 1.60; a newer
    list knows the same crawlers and some more (1.67: one request in each log)."""
    requests, truth = _requests_by_agent(dataset)
    by_kind: Counter[bool] = Counter()
    for user_agent, count in requests.items():
        by_kind[identify(user_agent).bot] += count
    assert by_kind[True] + by_kind[False] == truth["lines_total"]
    counted_then = truth["bot_requests_crawler_user_agents_list"]
    assert isinstance(counted_then, int)
    assert counted_then <= by_kind[True] <= counted_then * 1.01


@needs_testdata
def test_our_cut_loses_no_crawler_of_a_real_log() -> None:
    requests, _ = _requests_by_agent("elastic_apache_2015")
    patterns = [re.compile(entry["pattern"]) for entry in CRAWLER_USER_AGENTS_DATA]
    for user_agent in requests:
        listed = any(pattern.search(user_agent) for pattern in patterns)
        assert identify(user_agent).bot is listed, user_agent
