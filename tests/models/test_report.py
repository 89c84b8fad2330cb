"""`docruns report`: one file that needs no network, and says why a section is empty."""

from __future__ import annotations

import re
import stat
from html.parser import HTMLParser
from pathlib import Path

import duckdb
import pytest

from docruns.core.errors import ConfigError
from docruns.models.report.figures import OPERATIONS, QUALITY
from docruns.models.report.page import write_report
from support.loading import query
from support.processes import short_files


class Page(HTMLParser):
    """The headings, the numbers of charts and rows, and everything that a browser would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.fetched: list[str] = []
        self.charts = self.rows = 0
        self._is_heading = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.charts += tag == "svg"
        self.rows += tag == "tr"
        self._is_heading = tag == "h3"
        self.fetched += [
            f"{tag} {value}" for name, value in attrs if name in ("src", "href", "data") and value
        ]
        self.fetched += [tag] if tag in ("script", "link", "iframe", "img") else []

    def handle_data(self, data: str) -> None:
        if self._is_heading:
            self.headings.append(data)
            self._is_heading = False


def test_report(database: Path, tmp_path: Path) -> None:
    """All sections have a chart or rows; a browser fetches nothing; the figures are those of the tables."""
    output = tmp_path / "r.html"
    size = write_report(database, "extend", output)
    text = output.read_text()
    assert size == len(text.encode()) < 3_000_000
    page = Page(text)
    assert page.fetched == []
    assert not re.search(r"url\(http|@import", text)
    assert page.headings == [figure.title for figure in (*QUALITY, *OPERATIONS)]
    assert page.charts >= 8
    assert 'class="none"' not in text
    (right,) = query(
        database,
        "SELECT round(100.0 * avg((NOT f.edited)::INT), 1) FROM extend.fields f JOIN extend_answers.documents d "
        "USING (processor_run_id) WHERE f.kind = 'leaf' AND f.edited IS NOT NULL AND d.reviewed "
        "AND d.source IS DISTINCT FROM 'STUDIO'",
    )[0]
    assert f"<b>{right:g}</b>% of reviewed leaves right" in text


def test_a_platform_that_tells_no_edits(database: Path, tmp_path: Path) -> None:
    """The sections that need reviews say that there are none, and the others have their charts."""
    output = tmp_path / "p.html"
    write_report(database, "plextera", output)
    text = output.read_text()
    needs_reviews = [figure for figure in (*QUALITY, *OPERATIONS) if figure.empty.startswith("No extraction")]
    assert text.count("No extraction has been reviewed") == len(needs_reviews) == 8
    assert Page(text).charts == 2


def test_an_empty_dataset(copied: Path, tmp_path: Path) -> None:
    """Every section says why it is empty."""
    with duckdb.connect(str(copied)) as connection:
        for (table,) in connection.execute(
            "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'extend' AND table_name NOT LIKE '\\_dlt%' ESCAPE '\\'"
        ).fetchall():
            connection.execute(f"DELETE FROM extend.{table}")
    output = tmp_path / "e.html"
    write_report(copied, "extend", output)
    text = output.read_text()
    assert text.count('class="none"') == len(Page(text).headings)


def test_what_documents_say_is_escaped(copied: Path, tmp_path: Path) -> None:
    """A name with markup is text in the page."""
    with duckdb.connect(str(copied)) as connection:
        connection.execute("UPDATE extend.workflow_runs SET workflow_name = '<script>alert(1)</script>'")
    output = tmp_path / "x.html"
    write_report(copied, "extend", output)
    assert "<script" not in output.read_text()


def test_a_folder_that_is_missing(database: Path, tmp_path: Path) -> None:
    """The error names the option."""
    with pytest.raises(ConfigError, match="--output"):
        write_report(database, "extend", tmp_path / "none" / "r.html")


def test_a_page_that_cannot_be_written(database: Path, tmp_path: Path) -> None:
    """The error names the option; the old page stays, and nothing beside it."""
    output = tmp_path / "r.html"
    output.write_text("old")
    with (
        short_files(1_000),
        pytest.raises(ConfigError, match=r"--output: .*r\.html cannot be written \(File too"),
    ):
        write_report(database, "extend", output)
    assert output.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["r.html"]


def test_the_database_is_no_place_for_a_page(copied: Path) -> None:
    """The file that is read stays."""
    before = copied.read_bytes()
    with pytest.raises(ConfigError, match="is the database"):
        write_report(copied, "extend", copied)
    assert copied.read_bytes() == before


def test_a_page_that_is_written_again(database: Path, tmp_path: Path) -> None:
    """It keeps its mode, which may let others read it; where a link leads to it, the link stays."""
    output, link = tmp_path / "r.html", tmp_path / "link.html"
    output.write_text("old")
    output.chmod(0o644)
    link.symlink_to(output)
    write_report(database, "extend", link)
    assert link.is_symlink()
    assert output.read_text().startswith("<!doctype html>")
    assert stat.S_IMODE(output.stat().st_mode) == 0o644
