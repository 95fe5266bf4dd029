"""send_event: in this process and over HTTP, accepted and refused."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.people import new_property

ROOT = Path(__file__).parent.parent


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


def test_everything_a_page_could_send_can_be_chosen(where: list[str]) -> None:
    place = new_property()
    visitor = "11111111-2222-4333-8444-555555555555"
    answer = send(
        place.key, "order", "--revenue", "12.50 EUR", "--user", "anna", "--visitor", visitor,
        "--referrer", "https://news.example/", *where,
    )  # fmt: skip
    assert answer["accepted"] == 1
    [event] = stored(place)
    assert (event.name, str(event.revenue), event.currency, event.user, event.referrer) == (
        "order", "12.500000", "EUR", "anna", "news.example",
    )  # fmt: skip


def test_several_at_once_and_the_same_one_twice(where: list[str]) -> None:
    place = new_property()
    assert send(place.key, "-n", "25", *where)["accepted"] == 25
    twice = send(place.key, "-n", "3", "--event-id", "mine", *where)
    assert (twice["accepted"], twice["duplicate"]) == (1, 2)
    assert stored(place).count() == 26


def test_what_people_read(where: list[str]) -> None:
    from django.core.management import CommandError, call_command

    place = new_property(hostnames=["shop.example"])
    out = io.StringIO()
    call_command("send_event", place.key, "-n", "2", *where, stdout=out)
    assert out.getvalue() == "2 accepted\n"
    out = io.StringIO()
    with pytest.raises(CommandError, match=r"Event 1 of 2 refused \(timestamp, field time\)"):
        call_command("send_event", place.key, "-n", "2", "--time", "noon", *where, stdout=out)
    assert out.getvalue().count("Refused (timestamp, field time): ") == 2


def test_the_exit_code_of_a_refusal_is_1() -> None:
    place = new_property(hostnames=["shop.example"])
    command = [sys.executable, "manage.py", "send_event", place.key, "--url", "", "--json"]
    page = ["--page", "https://elsewhere.example/"]
    done = subprocess.run([*command, *page], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    refusal = json.loads(done.stdout)["rejected"][0]
    assert (refusal["reason"], refusal["field"]) == ("hostname", "url")
    assert "Refused (hostname, field url): The property does not count" in done.stderr


def test_a_number_out_of_range_is_refused() -> None:
    from django.core.management import CommandError

    with pytest.raises(CommandError, match="-n must be between 1 and 1,000"):
        send(new_property().key, "-n", "1001")


def test_a_refusal_ends_with_its_reason(where: list[str]) -> None:
    from django.core.management import CommandError

    place = new_property(hostnames=["shop.example"])
    with pytest.raises(CommandError, match=r"Refused \(hostname, field url\)"):
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
