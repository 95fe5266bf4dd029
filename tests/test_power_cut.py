"""The order that a power cut cannot break: log written, fdatasync, answer."""

import os
import shutil
from urllib.parse import urlsplit

import pytest

from tests.instruments.chaos.power_cut import EVENTS, order_while, send
from tests.instruments.chaos.product import NotHere
from tests.people import new_property


def order_under(web_server: str, policy: str):
    """System calls of the events Valkey while events are acknowledged one by one."""
    from tracking.store import events_client

    client, key = events_client(), new_property().key
    port = urlsplit(web_server).port
    assert port
    send(port, key, 1)  # warm
    client.config_set("appendfsync", policy)
    try:
        pid = client.info("server")["process_id"]
        return order_while(pid, lambda: send(port, key))[0]
    except NotHere as missing:
        if os.environ.get("AKTIVAT_REQUIRE_ALL") == "1":
            pytest.fail(str(missing))
        pytest.skip(str(missing))
    finally:
        client.config_set("appendfsync", "always")


def test_every_answer_waits_for_the_disk(web_server: str) -> None:
    order = order_under(web_server, "always")
    assert order.early == []
    assert order.synced >= EVENTS
    assert order.answers >= EVENTS


def test_the_order_would_be_found_out(web_server: str) -> None:
    assert order_under(web_server, "everysec").early


def test_strace_that_is_missing_is_named(web_server: str, monkeypatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(NotHere, match="apt-get install strace"):
        order_while(os.getpid(), lambda: None)
