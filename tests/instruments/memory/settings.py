"""What a run was asked for: DAYS, SCALE, EVERY, COOKIELESS_DAYS, STORED, PARTS."""

from collections.abc import Mapping
from dataclasses import dataclass

PARTS = ("cookies", "cookieless", "stored")


@dataclass(frozen=True)
class Settings:
    """`scale`: of visitors and events. Of the days before the last three, whose bits and ids are
    gone by the end, every `every`-th is driven, with one event for each active visitor."""

    days: int = 30
    scale: float = 1.0
    every: int = 5
    cookieless_days: int = 4
    stored: int = 200_000  # events of the day that goes on into Postgres
    parts: tuple[str, ...] = PARTS

    @property
    def is_full(self) -> bool:
        """Only a full run is held against the budget."""
        return self.scale >= 1 and self.days >= 30


def read(environ: Mapping[str, str]) -> Settings:
    """Raises SystemExit with what to write instead."""
    parts = tuple(filter(None, environ.get("PARTS", "").replace(" ", "").split(","))) or PARTS
    if unknown := set(parts) - set(PARTS):
        raise SystemExit(f"PARTS names {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}.")
    return Settings(
        days=int(_number(environ, "DAYS", 30, 1)),
        scale=_number(environ, "SCALE", 1, 0.001),
        every=int(_number(environ, "EVERY", 5, 1)),
        cookieless_days=int(_number(environ, "COOKIELESS_DAYS", 4, 1)),
        stored=int(_number(environ, "STORED", 200_000, 1_000)),
        parts=parts,
    )


def _number(environ: Mapping[str, str], name: str, default: float, least: float) -> float:
    text = environ.get(name, "") or str(default)
    try:
        value = float(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise SystemExit(f"{name}={text} must be a number of at least {least:g}.")
    return value
