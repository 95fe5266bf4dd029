"""What OpenAPI says is what the endpoints do: schemathesis makes requests from the schema, right
ones and wrong ones, and no answer may be a crash or one that the schema does not name."""

from typing import Any

import pytest

from tests.people import new_key
from tests.test_access import new_goal, new_retired_key

EXAMPLES = 25  # of requests for each operation
RIGHTS = ("realtime:view", "audience:view", "sources:view", "content:view", "events:view")


@pytest.fixture
def schema() -> Any:
    import schemathesis
    from django.core.wsgi import get_wsgi_application

    return schemathesis.openapi.from_wsgi("/api/schema/?format=json", get_wsgi_application())


def key_of(place: Any) -> str:
    """Today's: one of the operations replaces it."""
    place.refresh_from_db()
    return place.key


def id_for(path: str, place: Any) -> str:
    """Of something that the operation is about; one of them deletes it."""
    if "/goals/" in path:
        return str((place.goals.first() or new_goal(place)).pk)
    return str((place.retired_keys.first() or new_retired_key(place)).pk)


def test_no_request_crashes_or_gets_an_answer_that_is_not_described(
    schema: Any, acme: Any, shop: Any
) -> None:
    from hypothesis import HealthCheck, given, seed, settings
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi import checks

    _, secret = new_key(acme, "property:manage", *RIGHTS)
    real = {
        "account": acme.slug, "event": "pageview",
        "year": "2026", "month": "3", "day": "14", "hour": "9",
    }  # fmt: skip
    promises = [
        not_a_server_error,
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_schema_conformance,
    ]

    def try_out(operation: Any) -> None:
        from schemathesis import GenerationMode

        for mode in GenerationMode:

            @seed(1)
            @given(case=operation.as_strategy(generation_mode=mode))
            @settings(
                max_examples=EXAMPLES,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            )
            def ask(case: Any) -> None:
                named = real | {"key": key_of(shop), "id": id_for(operation.path, shop)}
                case.path_parameters = {name: named[name] for name in case.path_parameters or {}}
                case.call_and_validate(
                    headers={"Authorization": f"Bearer {secret}"}, checks=promises
                )

            ask()

    tried = [found.ok() for found in schema.get_all_operations()]
    for operation in tried:
        try_out(operation)
    assert len(tried) > 8
