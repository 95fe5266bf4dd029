"""Fixtures of all tests; the servers come from tests/servers.py."""

pytest_plugins = ["tests.servers", "tests.people"]
