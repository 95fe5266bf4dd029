"""send_event: in this process and over HTTP, accepted and refused."""

import io
import json
from typing import Any

import pytest

from tests.people import new_property


def send(*args: str) -> dict[str, Any]:
    from django.core.management import call_command

    out = io.StringIO()
    call_command("send_event", *args, "--json", stdout=out)
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


def stored(place: Any) -> Any:
    from tracking.drain import drain_all
    from tracking.models import Event

    drain_all()
    return Event.objects.using("worker").filter(property_id=place.pk)


@pytest.fixture(params=["in process", "over HTTP"])
def where(request: pytest.FixtureRequest) -> list[str]:
    """The options that choose the way of the event."""
    if request.param == "in process":
        return ["--url", ""]
    return ["--url", request.getfixturevalue("web_server")]


def test_one_event_of_a_person_arrives(where: list[str]) -> None:
    place = new_property(hostnames=["shop.example"])
    answer = send(place.key, *where)
    assert (answer["accepted"], answer["duplicate"], answer["rejected"]) == (1, 0, [])
    [event] = stored(place)
    assert (event.name, event.hostname, event.page, event.bot) == (
        "pageview", "shop.example", "/", False
    )  # fmt: skip


def test_name_page_and_properties_can_be_chosen(where: list[str]) -> None:
    place = new_property()
    page = ["--page", "https://a.example/b"]
    assert send(place.key, "sign_up", *page, "--props", '{"plan": "pro"}', *where)["accepted"] == 1
    [event] = stored(place)
    assert (event.name, event.page, event.props) == ("sign_up", "/b", {"plan": "pro"})


def test_a_refusal_ends_with_its_reason(where: list[str]) -> None:
    from django.core.management import CommandError

    place = new_property(hostnames=["shop.example"])
    with pytest.raises(CommandError, match=r"Refused \(hostname\)"):
        send(place.key, "--page", "https://elsewhere.example/", *where)
    assert not stored(place).exists()


def test_a_collector_that_is_not_there_is_named() -> None:
    from django.core.management import CommandError

    place = new_property()
    with pytest.raises(CommandError, match="does not answer"):
        send(place.key, "--url", "http://127.0.0.1:1")
    with pytest.raises(CommandError, match="must begin with http"):
        send(place.key, "--url", "file:///etc/hosts")
    with pytest.raises(CommandError, match="There is no property"):
        send("AK-NONE")
