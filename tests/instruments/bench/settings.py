"""What a run of the bench was asked for: ROWS, SECONDS, REPEAT; and what its parts hand on."""

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class Settings:
    """`bare`: microseconds of the web for a bare answer, once that has been measured;
    `acknowledged`: events of each property that the load generator was told are accepted."""

    rows: tuple[str, ...] = ()
    seconds: float = 3.0
    repeat: int = 3
    bare: float | None = None
    acknowledged: Counter[str] = field(default_factory=Counter)


def read(environ: Mapping[str, str], known: tuple[str, ...]) -> Settings:
    """Raises SystemExit with what to write instead."""
    rows = tuple(filter(None, environ.get("ROWS", "").replace(" ", "").split(","))) or known
    if unknown := set(rows) - set(known):
        raise SystemExit(f"ROWS names {', '.join(sorted(unknown))}; there are: {', '.join(known)}.")
    return Settings(
        tuple(name for name in known if name in rows),
        seconds=positive(environ, "SECONDS", 3),
        repeat=int(positive(environ, "REPEAT", 3)),
    )


def positive(environ: Mapping[str, str], name: str, default: float) -> float:
    text = environ.get(name, "") or str(default)
    try:
        value = float(text)
    except ValueError:
        value = 0
    if value < (1 if name == "REPEAT" else 0.1):
        raise SystemExit(f"{name}={text} must be a number, at least 1; for example {name}=3.")
    return value


def from_environment(known: tuple[str, ...]) -> Settings:
    return read(os.environ, known)
