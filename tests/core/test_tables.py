from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docruns.core.flatten.paths import join, split
from docruns.core.tables import (
    BY_NAME,
    CLEARED,
    NO_PATH,
    RUN_FILES,
    TABLES,
    Table,
)

CONTRACT: dict[str, tuple[str, str]] = {
    "workflow_runs": (
        "id",
        """
        id workspace api_version status is_final name workflow_id workflow_name
        workflow_version_id workflow_version batch_id created_at updated_at initial_run_at
        started_at ended_at reviewed reviewed_by reviewed_at rejection_note failure_code
        failure_message metadata dashboard_url credits total_credits duration_ms
        computed_duration_ms steps_completed steps_total parent_run_id parent_step_id
        root_run_id depth extra deleted_at
        """,
    ),
    "workflow_steps": (
        "workflow_run_id position",
        """
        workflow_run_id position step_run_id step_id name type status message output
        processor_run_id nested_run_count extra
        """,
    ),
    "processor_runs": (
        "id",
        """
        id workspace api_version type status is_final processor_id processor_name
        processor_version_id processor_version base_processor base_version workflow_run_id
        workflow_step_position source source_id batch_id parse_run_id reviewed edited
        created_at updated_at completed_at failure_code failure_message metadata tags config
        output_format dashboard_url credits total_credits classification_id classification
        classification_confidence page_count field_count edited_count extra deleted_at
        """,
    ),
    "fields": (
        "processor_run_id path",
        """
        processor_run_id workflow_run_id path field name parent_path position item_index
        kind type value value_number value_boolean value_date currency_code value_json
        initial_json reviewed_json edited edit_kind edit_note confidence ocr_confidence
        logprobs_confidence review_agent_score page citation_count insight_count extra
        """,
    ),
    "insights": (
        "processor_run_id output path position",
        """
        processor_run_id output path position type content extra
        """,
    ),
    "citations": (
        "processor_run_id output path position",
        """
        processor_run_id output path position page page_width page_height file_id
        reference_text cell_range left top right bottom polygon extra
        """,
    ),
    "splits": (
        "processor_run_id position",
        """
        processor_run_id position split_id classification_id type name identifier start_page
        end_page file_id observation extra
        """,
    ),
    "run_files": (
        "run_id position",
        """
        run_id run_kind position file_id name type page_count parent_file_id parent_split
        created_at extra
        """,
    ),
    "charges": (
        "run_id position",
        """
        run_id run_kind position product unit quantity credits page_count extra
        """,
    ),
    "workflows": (
        "id",
        """
        id
        """,
    ),
    "workflow_versions": (
        "id",
        """
        id
        """,
    ),
    "processors": (
        "id",
        """
        id
        """,
    ),
    "processor_versions": (
        "id",
        """
        id config schema
        """,
    ),
    "evaluation_sets": (
        "id",
        """
        id workspace api_version name description processor_id processor_name processor_type
        created_at updated_at created_by extra deleted_at
        """,
    ),
    "evaluation_items": (
        "id",
        """
        id evaluation_set_id position file_ids classification created_at updated_at created_by extra
        deleted_at
        """,
    ),
    "expected_fields": (
        "evaluation_item_id path",
        """
        evaluation_item_id path field name kind type value value_number value_boolean value_date
        currency_code value_json
        """,
    ),
    "quarantine": (
        "resource id",
        """
        resource id first_seen_at last_seen_at attempts error message detail resolved_at
        """,
    ),
    "syncs": (
        "load_id",
        """
        load_id provider started_at finished_at listed fetched unchanged quarantined
        requests retries throttled_s bytes watermark complete
        """,
    ),
    "pushes": (
        "push_id id",
        """
        push_id id source_row outcome reason name metadata before after done_at read_at
        """,
    ),
}
"""Table: its key, and the columns it has at least; listed by hand, for users' SQL stands on them."""

TYPED = {
    "text": "id name status path value value_json initial_json reviewed_json detail content",
    "json": "metadata extra config tags output polygon parent_split schema",
    "bigint": "position item_index page_count review_agent_score attempts duration_ms listed depth page",
    "double": "credits total_credits ocr_confidence logprobs_confidence confidence value_number left throttled_s",
    "bool": "is_final reviewed edited value_boolean complete",
    "timestamp": "created_at updated_at started_at ended_at reviewed_at deleted_at watermark first_seen_at",
    "date": "value_date",
}

tables = pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
sets = pytest.mark.parametrize("table", [t for t in TABLES if t.set_of], ids=lambda table: table.name)


def test_there_are_these_tables_and_no_others() -> None:
    """No table may be renamed or removed."""
    assert [table.name for table in TABLES] == list(CONTRACT)
    assert {table.name: table for table in TABLES} == BY_NAME


@tables
def test_a_table_has_the_promised_key_and_columns(table: Table) -> None:
    """Columns may be added and not removed."""
    key, columns = CONTRACT[table.name]
    assert table.key == tuple(key.split())
    assert [name for name in columns.split() if name not in table.names] == []


@tables
def test_a_column_has_one_type_everywhere(table: Table) -> None:
    """A column name has one type in all tables."""
    promised = {name: type_ for type_, names in TYPED.items() for name in names.split()}
    if table.name == "insights" or table.name == "citations":
        promised["output"] = "text"  # which of the three outputs, not what was put out
    found = {column.name: column.type for column in table.columns}
    assert {n: t for n, t in found.items() if n in promised} == {
        n: promised[n] for n in found if n in promised
    }


@tables
def test_exactly_the_key_is_not_null(table: Table) -> None:
    """Key columns are not null; all other columns may be null."""
    assert tuple(column.name for column in table.columns if not column.nullable) == table.key


@tables
def test_names_are_snake_case_and_unique(table: Table) -> None:
    """Names of tables and columns do not change under any destination's naming convention."""
    names = [table.name, *table.names]
    assert [n for n in names if not re.fullmatch(r"_?[a-z][a-z0-9]*(_[a-z0-9]+)*", n)] == []
    assert len(set(table.names)) == len(table.columns)


@tables
def test_everything_is_documented(table: Table) -> None:
    """The data dictionary has a sentence for each table and column."""
    for doc in [table.doc, *(column.doc for column in table.columns)]:
        assert doc.endswith(".") and doc == doc.strip()


@tables
def test_a_row_is_built_from_named_cells(table: Table) -> None:
    """Unnamed cells are null, an unknown name is an error, and as_dict returns the named cells."""
    row = table.row(**dict.fromkeys(table.key, "x"))
    expected = {name: "x" if name in table.key else None for name in table.names if name != CLEARED}
    assert table.as_dict(row) == expected
    assert len(row) == len(table.columns)
    with pytest.raises(KeyError):
        table.row(nonsense=1)


@sets
def test_a_clearing_row_names_its_run_and_has_a_whole_key(table: Table) -> None:
    """A clearing row has only the key, the run's id and the mark."""
    row = dict(zip(table.names, table.clearing_row("run_1"), strict=True))
    assert row[table.set_of or ""] == "run_1"
    assert {name for name, cell in row.items() if cell is not None} == {
        *table.key,
        table.set_of,
        CLEARED,
    }
    assert row[CLEARED] is True
    assert CLEARED not in table.as_dict(table.clearing_row("run_1"))


@sets
def test_a_clearing_row_never_equals_a_real_one(table: Table) -> None:
    """No real row has the key of a clearing row."""
    row = dict(zip(table.names, table.clearing_row("run_1"), strict=True))
    assert row.get("output", NO_PATH) not in ("final", "initial", "reviewed")
    assert row.get("path", NO_PATH) == NO_PATH
    if "position" in table.key:
        assert row["position"] == -1
    assert table.set_of in table.key


def test_only_tables_of_a_run_s_rows_are_replaced_as_a_set() -> None:
    """Tables without set_of are merged row by row and have no clearing row."""
    assert {t.name: t.set_of for t in TABLES if t.set_of} == {
        "workflow_steps": "workflow_run_id",
        "fields": "processor_run_id",
        "insights": "processor_run_id",
        "citations": "processor_run_id",
        "splits": "processor_run_id",
        "run_files": "run_id",
        "charges": "run_id",
        "expected_fields": "evaluation_item_id",
    }
    assert RUN_FILES.names[-1] == CLEARED


@settings(deadline=None)
@given(st.lists(st.integers(min_value=0) | st.text() | st.just("]"), max_size=4))
def test_no_path_is_written_like_the_clearing_one(steps: list[str | int]) -> None:
    """No path of a field equals the path of a clearing row, even for the key `]`."""
    assert join(steps) != NO_PATH
    with pytest.raises(Exception, match="not a field path"):
        split(NO_PATH)
