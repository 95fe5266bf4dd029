"""What is stored where: the record holds every field and every key, and addresses are nowhere."""

import json
import re
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps

from tests.people import new_key, new_property, signed_in_as

ROOT = Path(__file__).parent.parent


def test_every_field_of_every_model_has_a_class() -> None:
    from privacy.register import TABLES

    models = {model._meta.db_table: model for model in apps.get_models()}
    assert TABLES.keys() == models.keys(), "say in privacy/register.py what the table holds"
    for table, place in TABLES.items():
        fields = {field.name for field in models[table]._meta.concrete_fields}
        assert place.fields().keys() == fields, f"privacy/register.py: {table}"
        words = f"{place.personal} {place.pseudonymous} {place.none}".split()
        assert len(words) == len(fields), f"{table}: a field has one class"


def test_every_key_of_valkey_has_a_class() -> None:
    from privacy.register import CACHE_KEYS, EVENTS_KEYS

    text = (ROOT / "tracking" / "keys.py").read_text()
    drawn = re.findall(r"^    (:\w\S*(?: \w+>\S*)?|aktivat:\S+)  +\w", text, re.MULTILINE)
    assert set(drawn) == EVENTS_KEYS.keys() | CACHE_KEYS.keys()


def test_the_document_and_the_page_show_the_record(alice: Any) -> None:
    from privacy.register import TABLES, as_markdown

    assert as_markdown() in (ROOT / "docs" / "privacy.md").read_text()
    page = signed_in_as(alice).get("/stored/").content.decode()
    assert all(f"<code>{table}</code>" in page for table in TABLES)


def test_global_privacy_control_is_published(client: Any) -> None:
    answer = client.get("/.well-known/gpc.json")
    assert answer["Content-Type"] == "application/json"
    assert answer.json()["gpc"] is True


def files_with(folder: Path, *needles: bytes) -> set[str]:
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and any(needle in path.read_bytes() for needle in needles)
    }


def test_a_visitors_full_address_is_nowhere(
    web_server: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Events taken and refused, by cookie and without, looked at in the inspector meanwhile."""
    from django.utils import timezone

    from tests.servers import HOME
    from tests.test_erasing import keys_with, tables_with
    from tests.test_protocol import Connection
    from tests.test_protocol import request as posted
    from tests.test_rollups import drain, roll_up
    from tracking import inspection

    planted, other = "203.0.113.217", "2001:db8:77ab:9c3d:1:2:3:4"
    home = request.config.stash[HOME]
    for privacy in ("cookies", "cookieless"):
        place = new_property(privacy=privacy)
        _, secret = new_key(place.account, "events:manage")
        inspection.watch(place, timezone.now())
        connection = Connection(web_server)
        try:
            for address in (planted, other):
                for extra in ({}, {"url": "nonsense"}, {"event_id": str(uuid.UUID(int=0))}):
                    header = f"Authorization: Bearer {secret}".encode()
                    own = {"visitor": str(uuid.uuid4()), "_address": address} | extra
                    connection.send(posted(place, header, **own))
                    assert connection.answer()[0] in (202, 422)
        finally:
            connection.socket.close()
        drain(place)
        roll_up(place, timezone.now())
        assert inspection.recent(place, timezone.now()).rows
    needles = planted.encode(), other.encode()
    assert keys_with(*needles) == set()
    assert tables_with(planted, other) == set()
    assert files_with(home, *needles) == set()
    assert files_with(tmp_path_factory.getbasetemp(), *needles) == set()
    (home / "planted").write_text(json.dumps([planted]))
    assert files_with(home, *needles) == {"planted"}  # it would have been found
    (home / "planted").unlink()
