"""What a plan holds of properties and members: one more is refused, with a sentence."""

import json
from typing import Any

import pytest

from tests.people import fresh, new_key, new_property, signed_in_as, with_key
from tests.test_invitations import invite
from tests.test_quota import make_plan  # noqa: F401

FULL = "Ask whoever runs this installation for a larger one."
NEW = {"name": "More", "hostnames": "*", "timezone": "UTC", "currency": "EUR"}


def test_a_property_more_than_the_plan_holds_is_refused_on_page_api_and_command(
    acme: Any,
    shop: Any,
    alice: Any,
    make_plan: Any,  # noqa: F811
) -> None:
    from django.core.management import CommandError, call_command

    make_plan(0, max_properties=1)
    page = signed_in_as(alice).post(f"/a/{acme.slug}/new-property/", NEW)
    assert page.status_code == 200
    assert FULL in page.content.decode()
    assert 'value="More"' in page.content.decode()  # what was typed stays
    _, secret = new_key(acme, "property:manage")
    answer = with_key(secret).post(
        f"/api/v1/accounts/{acme.slug}/properties",
        json.dumps(NEW | {"hostnames": ["*"]}),
        content_type="application/json",
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "plan")
    with pytest.raises(CommandError, match="larger one"):
        call_command("create_property", acme.slug, "More", hostnames=["*"])
    assert acme.properties.count() == 1
    make_plan(0, max_properties=2)
    assert signed_in_as(alice).post(f"/a/{acme.slug}/new-property/", NEW).status_code == 302


def test_what_is_there_stays_when_the_plan_becomes_smaller(
    acme: Any,
    shop: Any,
    blog: Any,
    alice: Any,
    make_plan: Any,  # noqa: F811
) -> None:
    make_plan(0, max_properties=1)
    assert signed_in_as(alice).get(f"/p/{blog.key}/").status_code == 200
    new_property(acme)  # by the operator, who may


def test_open_invitations_count_as_members(
    acme: Any,
    alice: Any,
    make_plan: Any,  # noqa: F811
) -> None:
    from properties.granting import Refused

    make_plan(0, max_members=2)
    invite(alice, acme)
    with pytest.raises(Refused) as refusal:
        invite(alice, acme, f"{fresh('one')}@example.com")
    assert refusal.value.code == "plan"
    assert "holds 2 members" in str(refusal.value)
