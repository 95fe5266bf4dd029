"""Typed readers of environment variables; settings.py is the only caller."""

import os

TRUE = {"1", "true", "yes", "on"}
FALSE = {"0", "false", "no", "off", ""}


def envstr(name: str, default: str = "") -> str:
    return os.environ.get(name, "").strip() or default


def envint(name: str, default: int) -> int:
    value = envstr(name)
    if not value:
        return default
    try:
        return int(value)
    except ValueError:
        raise SystemExit(
            f"{name}={value!r} is not a whole number. Set it to one, or unset it."
        ) from None


def envbool(name: str, default: bool) -> bool:
    value = os.environ.get(name)
    if value is None:
        return default
    if value.strip().lower() in TRUE:
        return True
    if value.strip().lower() in FALSE:
        return False
    raise SystemExit(f"{name}={value!r} is neither yes nor no. Set it to 1 or 0.")


def envlist(name: str) -> list[str]:
    return [part.strip() for part in envstr(name).split(",") if part.strip()]
