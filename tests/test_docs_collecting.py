"""docs/collecting.md names every reason and field that exists, and none that does not."""

import re
from pathlib import Path

TEXT = (Path(__file__).parent.parent / "docs" / "collecting.md").read_text()


def rows(heading: str) -> set[str]:
    """The code words in the first column of the table under that column heading."""
    table = TEXT.split(f"| {heading} |", 1)[1].split("\n\n", 1)[0]
    return {
        word
        for line in table.splitlines()[2:]
        for word in re.findall(r"`([^`]+)`", line.split("|")[1])
    }


def test_every_reason_has_a_sentence() -> None:
    from tracking.refusals import WHAT_TO_DO, Reason

    assert rows("reason") == set(Reason)
    assert set(WHAT_TO_DO) == set(Reason)
    for reason, text in WHAT_TO_DO.items():
        assert re.search(f"^\\|[^|]*`{reason}`[^|]*\\| {re.escape(text)} \\|$", TEXT, re.MULTILINE)


def test_every_field_is_described() -> None:
    source = "".join(
        (Path(__file__).parent.parent / "tracking" / name).read_text()
        for name in ("intake.py", "consent.py", "fields.py", "envelope.py")
    )
    fields = {name for name in rows("field") if re.fullmatch(r"[a-z_]+", name)} - {
        "pageview", "engagement", "event_ids",
    }  # fmt: skip
    assert fields
    assert {name for name in fields if f'"{name}"' not in source} == set()
    read = set(re.findall(r'fields\.\w+\(payload, "(\w+)"', source)) | {"time"}
    assert read <= fields | {"next_ms"}
