"""docs/reports/ says what the catalogue of reports says, no more and no less."""

from tests.instruments.report_pages import FOLDER, pages


def test_every_report_is_described_as_it_is() -> None:
    written = {path.name: path.read_text() for path in FOLDER.glob("*.md")}
    assert written == pages(), "run `python -m tests.instruments.report_pages`"
