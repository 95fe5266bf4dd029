"""What OpenAPI says is what the endpoints do: schemathesis makes requests from the schema, right
ones and wrong ones, by a key that may do all and by one that may nothing. No answer may be a crash
or one that the schema does not name."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.people import new_key, new_link, new_property
from tests.test_access import (
    new_annotation,
    new_erasure,
    new_goal,
    new_invitation,
    new_member,
    new_person,
    new_retired_key,
    new_segment,
)

# Of right and of wrong requests for each operation, by a key that may do all; the first of them by
# one that may nothing, too: to make them up costs as much as to ask them.
EXAMPLES, BY_NOBODY = 8, 3
# Of what takes the richest questions and settings.
MOST_EXAMPLES = 25
RICH = re.compile(
    r"/(api/stats/.*|accounts|accounts/\{account\}/properties"
    r"|properties/\{key\}(/(query|realtime|keys.*|goals.*))?)$"
)


def examples(path: str) -> int:
    return MOST_EXAMPLES if RICH.search(path) else EXAMPLES


@pytest.fixture
def schema() -> Any:
    import schemathesis
    from django.core.wsgi import get_wsgi_application

    return schemathesis.openapi.from_wsgi("/api/schema/?format=json", get_wsgi_application())


def key_of(place: Any) -> str:
    """Today's: one of the operations replaces it."""
    place.refresh_from_db(fields=["key"])
    return place.key


# Of what an operation is about, by the part of its path before {id}; some of them delete it.
IDS: dict[str, Callable[[Any], Any]] = {
    "goals": lambda place: (place.goals.first() or new_goal(place)).pk,
    "annotations": lambda place: new_annotation(place).pk,
    "keys": lambda place: (place.retired_keys.first() or new_retired_key(place)).pk,
    "members": lambda place: (
        (place.account.memberships.exclude(role="owner").first() or new_member(place.account)).pk
    ),
    "invitations": lambda place: (
        (place.account.invitations.filter(revoked=None).first() or new_invitation(place.account)).pk
    ),
    "share-links": lambda place: new_link(place, "audience")[0].pk,
    "erasures": lambda place: new_erasure(place).pk,
    "api-keys": lambda place: new_key(place.account, "audience:view")[0].pk,
}


def id_for(path: str, place: Any) -> str:
    found = re.search(r"/([\w-]+)/\{id\}", path)
    make = IDS.get(found[1] if found else "")
    return str(make(place)) if make else "1"


def test_no_request_crashes_or_gets_an_answer_that_is_not_described(
    schema: Any, acme: Any, shop: Any
) -> None:
    from hypothesis import HealthCheck, given, seed, settings
    from schemathesis import GenerationMode
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi import checks

    from accounts.modules import MODULES

    _, of_all = new_key(acme, *(f"{module}:manage" for module in MODULES))
    _, of_nobody = new_key(acme, "chat:view", place=new_property(acme))
    new_person(shop)
    new_segment(acme)
    real = {
        "account": acme.slug, "event": "pageview", "user": "17", "name": "page",
        "year": "2026", "month": "3", "day": "14", "hour": "9", "segment": "buyers",
    }  # fmt: skip
    promises = [
        not_a_server_error,
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_schema_conformance,
    ]
    seen: dict[str, set[int]] = {of_all: set(), of_nobody: set()}

    def try_out(operation: Any) -> None:
        fixed = {n: real.get(n, "1") for n in re.findall(r"{(\w+)}", operation.path)} or None
        for mode in GenerationMode:
            asked = 0

            @seed(1)
            @given(case=operation.as_strategy(generation_mode=mode, path_parameters=fixed))
            @settings(
                max_examples=examples(operation.path),
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            )
            def ask(case: Any) -> None:
                nonlocal asked
                asked += 1
                named = real | {"key": key_of(shop), "id": id_for(operation.path, shop)}
                case.path_parameters = {name: named[name] for name in case.path_parameters or {}}
                for secret in (of_nobody, of_all) if asked <= BY_NOBODY else (of_all,):
                    headers = {"Authorization": f"Bearer {secret}"}
                    answer = case.call_and_validate(headers=headers, checks=promises)
                    seen[secret].add(answer.status_code)

            ask()

    tried = [found.ok() for found in schema.get_all_operations()]
    for operation in tried:
        try_out(operation)
    assert len(tried) > 20
    # Or the test would have been about refusals only.
    assert seen[of_all] >= {200, 201, 204, 400}
    assert seen[of_nobody] >= {200, 403, 404}


# -- every operation -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    from drf_spectacular.generators import SchemaGenerator

    made: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)
    return made


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def test_every_operation_says_what_it_is_for_and_how_it_refuses(document: dict[str, Any]) -> None:
    found = operations(document)
    assert len(found) > 20
    for method, path, operation in found:
        assert operation.get("description"), f"{method} {path}: write a docstring"
        assert operation["tags"] != ["api"], f"{method} {path}: name its tags"
        assert {"401", "403", "404", "429"} <= set(operation["responses"]), (method, path)
    names = [operation["operationId"] for _, _, operation in found]
    assert len(names) == len(set(names))


def test_every_list_comes_by_pages(document: dict[str, Any]) -> None:
    """What answers {"results": [...]} also answers "next", and takes limit, cursor, ordering."""
    lists = 0
    for method, path, operation in operations(document):
        shape = operation["responses"].get("200", {}).get("content", {}).get("application/json", {})
        properties = resolved(document, shape.get("schema", {})).get("properties", {})
        if method == "get" and "results" in properties:
            lists += 1
            taken = {one["name"] for one in operation.get("parameters", [])}
            assert {"limit", "cursor", "ordering"} <= taken, path
            assert "next" in properties, path
    assert lists > 3


def resolved(document: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """The schema behind a $ref."""
    name = part.get("$ref", "").rpartition("/")[2]
    return document["components"]["schemas"][name] if name else part


def test_what_is_changed_can_be_guarded(document: dict[str, Any]) -> None:
    """Whatever has a PATCH or a PUT gives an ETag and takes If-Match."""
    for path, methods in document["paths"].items():
        for method in {"patch", "put"} & set(methods):
            headers = {one["name"] for one in methods[method].get("parameters", [])}
            assert "If-Match" in headers, f"{method} {path}: make the view Tagged"
            assert "412" in methods[method]["responses"], path


# -- what is written -------------------------------------------------------------------------------


def test_serializers_name_their_fields_and_let_nobody_set_an_owner() -> None:
    from django.urls import get_resolver
    from rest_framework.serializers import ModelSerializer, Serializer

    assert get_resolver().url_patterns  # which imports every endpoint
    owners = {"account", "account_id", "property_id", "pk", "id", "user", "membership", "version"}

    def below(kind: type) -> set[type]:
        return {one for sub in kind.__subclasses__() for one in ({sub} | below(sub))}

    ours = [
        kind
        for kind in below(Serializer)
        if not kind.__module__.startswith(("rest_framework", "drf_spectacular"))
    ]
    assert len(ours) > 5
    for kind in ours:
        if not issubclass(kind, ModelSerializer) or not hasattr(kind, "Meta"):
            continue
        assert isinstance(kind.Meta.fields, tuple), f"{kind.__name__}: list the fields"
        assert not hasattr(kind.Meta, "exclude"), kind.__name__
        writable = {name for name, field in kind().fields.items() if not field.read_only}
        assert writable & owners == set(), kind.__name__


def bodies(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """(method, path, schema of the body) of whatever takes one."""
    found = []
    for method, path, operation in operations(document):
        body = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if body:
            found.append((method, path, resolved(document, body["schema"])))
    return found


@pytest.fixture
def ask(acme: Any, shop: Any) -> Callable[..., Any]:
    """Asks as a key that may do all; the paths of the schema with real names in them."""
    from accounts.modules import MODULES
    from tests.people import with_key

    _, secret = new_key(acme, *(f"{module}:manage" for module in MODULES))
    new_person(shop)
    new_segment(acme)
    known = {"account": acme.slug, "user": "17", "segment": "buyers"}

    def send(method: str, path: str, body: bytes, kind: str = "application/json") -> Any:
        named = known | {"key": key_of(shop), "id": id_for(path, shop)}
        address = re.sub(r"\{(\w+)\}", lambda found: named[found[1]], path)
        return with_key(secret).generic(method.upper(), address, body, content_type=kind)

    return send


FORBIDDEN = ("_connector", "pk", "account", "is_staff", "__class__")


def test_a_name_that_nobody_may_set_is_refused_everywhere(
    document: dict[str, Any], ask: Any
) -> None:
    """Never **request.data into a filter or a row."""
    for method, path, schema in bodies(document):
        for name in set(FORBIDDEN) - set(schema.get("properties", {})):
            answer = ask(method, path, f'{{"{name}": 1}}'.encode())
            assert 400 <= answer.status_code < 500, (method, path, name)
            if answer.status_code == 400:
                assert answer.json()["error"]["message"], (method, path)


def test_an_object_in_the_place_of_a_value_is_refused_everywhere(
    document: dict[str, Any], ask: Any
) -> None:
    for method, path, schema in bodies(document):
        for name, part in schema.get("properties", {}).items():
            kind = resolved(document, part).get("type", "")
            if kind == "object" or (not kind and "oneOf" not in part):
                continue
            body = b'{"%s": {"select": 1}}' % name.encode()
            answer = ask(method, path, body)
            assert 400 <= answer.status_code < 500, (method, path, name)


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{}", "text/plain", 415),
        (b"name=A", "application/x-www-form-urlencoded", 415),
        (b"\xef\xbb\xbf{}", "application/json", 400),
        (b"{,}", "application/json", 400),
        (b"[]", "application/json", 400),
        (b"[" * 30_000, "application/json", 400),
        (b"7", "application/json", 400),
    ],
)
def test_what_is_no_json_object_is_refused_everywhere(
    document: dict[str, Any], ask: Any, body: bytes, kind: str, status: int
) -> None:
    found = {
        (method, path): ask(method, path, body, kind).status_code
        for method, path, _ in bodies(document)
    }
    # Opening an account is for people; the key is refused before the body is looked at.
    found.pop(("post", "/api/v1/accounts"))
    assert set(found.values()) == {status}, found


def test_parameters_that_are_not_named_are_refused_everywhere(
    document: dict[str, Any], acme: Any, shop: Any
) -> None:
    from accounts.modules import MODULES
    from tests.people import with_key

    _, secret = new_key(acme, *(f"{module}:manage" for module in MODULES))
    new_person(shop)
    program, named = with_key(secret), {"account": acme.slug, "key": shop.key, "user": "17"}
    named |= {"event": "pageview", "year": "2026", "month": "3", "day": "14", "hour": "9"}
    for method, path, _ in operations(document):
        if method != "get":
            continue
        address = re.sub(
            r"\{(\w+)\}", lambda found, path=path: named.get(found[1]) or id_for(path, shop), path
        )
        for name in ("fields", "api_key", "limit[]", "account__slug"):
            assert program.get(address, {name: "1"}).status_code == 400, (path, name)
