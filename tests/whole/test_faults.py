"""The fault matrix is complete, and tests/FAULTS.md contains it."""

from __future__ import annotations

from support.faults import DOCUMENT, ROWS, covered, table, written

MATRIX = range(1, 39)


def test_every_fault_has_a_test() -> None:
    """Every row has a test that is marked with it, and every mark has a row."""
    tests = covered()
    assert set(MATRIX) <= ROWS.keys()
    assert [number for number in ROWS if number not in tests] == []
    assert set(tests) <= ROWS.keys()


def test_the_document_shows_the_matrix() -> None:
    """The table in tests/FAULTS.md equals the marks; `python -m support.faults` writes it."""
    text = DOCUMENT.read_text()
    assert "<!-- faults -->" in text
    assert written(text) == text
    assert table() in text
