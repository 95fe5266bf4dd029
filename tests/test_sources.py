"""Who gets the credit for a visit, and in which channel."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracking import sources
from tracking.addresses import split
from tracking.sources import CHANNELS, NO_ATTRIBUTION, Attribution, attribute, is_spam

OWN = ["example.com", "*.example.org"]


def came(query: str = "", referrer: str = "") -> Attribution:
    return attribute(split(f"https://example.com/page?{query}"), referrer, OWN)


@pytest.mark.parametrize(
    ("referrer", "source", "medium", "channel"),
    [
        ("https://www.google.com/", "Google", "organic", "Organic Search"),
        ("https://www.google.de/search?q=x", "Google", "organic", "Organic Search"),
        ("https://www.google.co.uk/", "Google", "organic", "Organic Search"),
        ("https://google.com.br/", "Google", "organic", "Organic Search"),
        ("https://www.bing.com/", "Bing", "organic", "Organic Search"),
        ("https://duckduckgo.com/", "DuckDuckGo", "organic", "Organic Search"),
        ("https://r.duckduckgo.com/", "DuckDuckGo", "organic", "Organic Search"),
        ("https://search.brave.com/", "Brave", "organic", "Organic Search"),
        ("https://kagi.com/", "Kagi", "organic", "Organic Search"),
        ("https://www.ecosia.org/", "Ecosia", "organic", "Organic Search"),
        ("https://uk.search.yahoo.com/", "Yahoo", "organic", "Organic Search"),
        ("https://yandex.com.tr/", "Yandex", "organic", "Organic Search"),
        ("https://l.facebook.com/l.php?u=x", "Facebook", "social", "Organic Social"),
        ("https://t.co/abc", "X", "social", "Organic Social"),
        ("https://x.com/", "X", "social", "Organic Social"),
        ("https://bsky.app/", "Bluesky", "social", "Organic Social"),
        ("https://www.threads.net/", "Threads", "social", "Organic Social"),
        ("https://www.threads.com/", "Threads", "social", "Organic Social"),
        ("https://mastodon.social/@a", "Mastodon", "social", "Organic Social"),
        ("https://hachyderm.io/", "Mastodon", "social", "Organic Social"),
        ("https://old.reddit.com/r/x", "Reddit", "social", "Organic Social"),
        ("https://news.ycombinator.com/item?id=1", "Hacker News", "social", "Organic Social"),
        ("https://m.youtube.com/", "YouTube", "video", "Organic Video"),
        ("https://vimeo.com/1", "Vimeo", "video", "Organic Video"),
        ("https://chatgpt.com/", "ChatGPT", "ai", "AI Assistant"),
        ("https://chat.openai.com/", "ChatGPT", "ai", "AI Assistant"),
        ("https://www.perplexity.ai/", "Perplexity", "ai", "AI Assistant"),
        ("https://claude.ai/", "Claude", "ai", "AI Assistant"),
        ("https://gemini.google.com/app", "Gemini", "ai", "AI Assistant"),
        ("https://copilot.microsoft.com/", "Copilot", "ai", "AI Assistant"),
        ("https://mail.google.com/", "Gmail", "email", "Email"),
        ("android-app://com.google.android.gm/", "Gmail", "email", "Email"),
        ("https://docs.google.com/x", "docs.google.com", "referral", "Referral"),
        ("https://google.evil.de/", "google.evil.de", "referral", "Referral"),
        ("https://google.de.evil.com/", "google.de.evil.com", "referral", "Referral"),
        ("https://notfacebook.com/", "notfacebook.com", "referral", "Referral"),
        ("https://WWW.Blog.Example.NET:8443/post", "blog.example.net", "referral", "Referral"),
    ],
)
def test_a_referrer_alone(referrer: str, source: str, medium: str, channel: str) -> None:
    found = came(referrer=referrer)
    assert (found.source, found.medium, found.channel) == (source, medium, channel)
    page = split(referrer)
    assert page is not None and found.referrer == page.hostname.removeprefix("www.")


@pytest.mark.parametrize(
    "referrer",
    ["", "-", "about:blank", "javascript:alert(1)", "/relative", "https://example.com/other",
     "https://www.example.com/", "http://shop.example.org/", "https://www.shop.example.org/"],
)  # fmt: skip
def test_no_referrer_or_our_own_is_direct(referrer: str) -> None:
    assert came(referrer=referrer) == NO_ATTRIBUTION
    assert Attribution("Direct", "", "", "", "", "Direct", "") == NO_ATTRIBUTION


def test_the_page_s_own_host_is_ours_even_if_all_hosts_are_allowed() -> None:
    page = split("https://www.site.test/a")
    assert attribute(page, "https://site.test/b", ["*"]) == NO_ATTRIBUTION
    assert attribute(page, "https://google.com/", ["*"]).source == "Google"


def test_without_a_page_the_referrer_still_counts() -> None:
    assert attribute(None, "https://kagi.com/", []).source == "Kagi"
    assert attribute(None, "", []) == NO_ATTRIBUTION


@pytest.mark.parametrize(
    ("query", "source", "medium", "channel"),
    [
        ("utm_source=google&utm_medium=cpc", "Google", "cpc", "Paid Search"),
        ("utm_source=Google&utm_medium=organic", "Google", "organic", "Organic Search"),
        ("utm_source=google&utm_medium=cpm", "Google", "cpm", "Paid Search"),
        ("utm_source=adwords&utm_medium=PPC", "Google", "ppc", "Paid Search"),
        ("utm_source=x&utm_medium=paidsearch", "X", "paidsearch", "Paid Search"),
        ("utm_source=partner&utm_medium=cpc", "partner", "cpc", "Paid Other"),
        ("utm_source=youtube&utm_medium=cpv", "YouTube", "cpv", "Paid Other"),
        ("utm_source=fb&utm_medium=paid", "Facebook", "paid", "Paid Social"),
        ("utm_source=facebook&utm_medium=paid_social", "Facebook", "paid_social", "Paid Social"),
        ("utm_source=instagram.com", "Instagram", "", "Organic Social"),
        ("utm_source=www.linkedin.com&utm_medium=post", "LinkedIn", "post", "Organic Social"),
        ("utm_source=me&utm_medium=social", "me", "social", "Organic Social"),
        ("utm_source=adnet&utm_medium=display", "adnet", "display", "Display"),
        ("utm_source=adnet&utm_medium=cpm", "adnet", "cpm", "Display"),
        ("utm_medium=banner", "Direct", "banner", "Display"),
        ("utm_source=spring&utm_medium=E-Mail", "spring", "e-mail", "Email"),
        ("utm_source=facebook&utm_medium=email", "Facebook", "email", "Email"),
        ("utm_source=newsletter", "newsletter", "", "Email"),
        ("utm_source=Partner&utm_medium=affiliate", "partner", "affiliate", "Affiliates"),
        ("utm_source=chatgpt.com", "ChatGPT", "", "AI Assistant"),
        ("utm_source=perplexity", "Perplexity", "", "AI Assistant"),
        ("utm_source=youtube", "YouTube", "", "Organic Video"),
        ("utm_source=player&utm_medium=video", "player", "video", "Organic Video"),
        ("ref=producthunt", "Product Hunt", "", "Organic Social"),
        ("ref=friend.example", "friend.example", "", "Referral"),
        ("source=hackernews", "Hacker News", "", "Organic Social"),
        ("utm_source=inbox", "inbox", "", "Referral"),
        ("utm_source=you", "you", "", "Referral"),
        ("utm_source=scp&utm_medium=tcp", "scp", "tcp", "Referral"),
        ("gclid=1", "Google", "cpc", "Paid Search"),
        ("gbraid=1", "Google", "cpc", "Paid Search"),
        ("wbraid=1", "Google", "cpc", "Paid Search"),
        ("msclkid=1", "Bing", "cpc", "Paid Search"),
        ("ttclid=1", "TikTok", "cpc", "Paid Social"),
        ("twclid=1", "X", "cpc", "Paid Social"),
        ("li_fat_id=1", "LinkedIn", "cpc", "Paid Social"),
        ("fbclid=1", "Facebook", "social", "Organic Social"),
        ("fbclid=1&utm_medium=paid", "Facebook", "paid", "Paid Social"),
        ("fbclid=1&gclid=1", "Google", "cpc", "Paid Search"),
        ("utm_source=google&gclid=1", "Google", "cpc", "Paid Search"),
    ],
)
def test_tags_and_click_ids(query: str, source: str, medium: str, channel: str) -> None:
    found = came(query)
    assert (found.source, found.medium, found.channel) == (source, medium, channel)
    assert found.referrer == ""


def test_tags_win_over_click_ids_and_they_over_the_referrer() -> None:
    referrer = "https://www.bing.com/"
    assert came("utm_source=a&gclid=1", referrer).source == "a"
    assert came("gclid=1", referrer).source == "Google"
    assert came("", referrer).source == "Bing"
    assert came("utm_source=a", referrer).referrer == "bing.com"
    assert came("ref=b&utm_source=a").source == "a"


def test_a_tag_may_name_the_campaign_and_leave_the_source_to_the_referrer() -> None:
    found = came("utm_campaign=Spring", "https://www.bing.com/")
    assert (found.source, found.medium, found.campaign) == ("Bing", "organic", "Spring")
    assert came("utm_campaign=Spring").source == "Direct"


def test_campaign_term_and_content_stay_as_sent() -> None:
    found = came("utm_source=A&utm_campaign=Spring+Sale&utm_term=Red%20Shoes&utm_content=CTA")
    assert found[2:5] == ("Spring Sale", "Red Shoes", "CTA")
    assert found.source == "a"


@given(st.text(max_size=300), st.text(max_size=300), st.text(max_size=50))
@settings(deadline=None)
def test_strings_are_bounded_whatever_comes(source: str, medium: str, referrer: str) -> None:
    query = f"utm_source={source}&utm_medium={medium}&utm_campaign={source}"
    found = came(query, "https://" + referrer)
    assert all(len(part) <= 200 for part in found)
    assert found.channel in CHANNELS
    "".join(found).encode()


def test_a_host_belongs_to_one_source() -> None:
    path = Path(sources.__file__).parent / "data" / "sources.json"
    table = json.loads(path.read_text(encoding="utf-8"))
    hosts = [
        host
        for kind, names in table.items()
        if kind != "about"
        for its_hosts in names.values()
        for host in its_hosts
    ]
    assert len(hosts) > 900
    assert len(set(hosts)) == len(hosts)
    assert all(host == host.lower() and not host.startswith("www.") for host in hosts)


def test_every_channel_can_be_reached() -> None:
    asked = [
        "",
        "gclid=1",
        "ttclid=1",
        "ref=x.y",
        "utm_source=kagi",
        "utm_source=bluesky",
        "utm_source=claude",
        "utm_source=vimeo",
        "utm_medium=email",
        "utm_medium=affiliate",
        "utm_medium=display",
        "utm_medium=cpc",
    ]
    assert {came(query).channel for query in asked} == set(CHANNELS)


@pytest.mark.parametrize(
    ("host", "spam"),
    [
        ("007agent-i.fr", True),
        ("www.007agent-i.fr", True),
        ("A.B.007agent-i.FR.", True),
        ("qiwi.xyz", True),
        ("my007agent-i.fr", False),
        ("fr", False),
        ("google.com", False),
        ("", False),
        ("." * 300, False),
    ],
)
def test_referrer_spam_is_known_with_its_subdomains(host: str, spam: bool) -> None:
    assert is_spam(host) is spam
