"""Every table and column, declared once.

    tables ──► Arrow schemas (store/arrow.py)
           ──► dlt hints (store/merges/hints.py)
           ──► data dictionary (`docruns tables`)

A table declares its unique key (`key`), its columns, and the column with the run's id (`set_of`): when a run
is loaded again, all of its rows are replaced together. This module does not decide what a cell holds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Literal

Type = Literal["text", "bigint", "double", "bool", "timestamp", "date", "json"]
Private = Literal["document", "person"]
"""What a private column reveals: content of a document, or the identity of a person."""

Row = tuple[Any, ...]

CLEARED = "_cleared"
"""True only in the one row per run that clears the run's earlier rows while they are merged.

Such rows never reach the table, so in the destination the column is always null.
"""

ROWS_VERSION = 2
"""The version of what the rows of a run hold. It grows when docruns reads more of an answer than before. Only a load
with --full fills runs that were loaded before. 2: items of arrays are matched by what they hold, `edited` is
null where nobody has reviewed; `source`, `processing_ms`, `risk_level`, `charges`."""

NO_PATH = "]"
"""The value of path and output in that row: no real path has this form."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name, dlt data type, meaning (unit and origin), and whether it may be null.

    Where two rows of a load package have the same key, the row with the higher value in a `decides` column
    stays. Settings decide how a `private` column is stored, see privacy.py. JSON columns are always private,
    because their keys are not known in advance.
    """

    name: str
    type: Type
    doc: str
    nullable: bool = True
    decides: bool = False
    private: Private | None = None


@dataclass(frozen=True)
class Table:
    """One table. `key` is unique and not null; `set_of` is None where rows are merged one by one."""

    name: str
    doc: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    set_of: str | None = None
    _index: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_index", {c.name: i for i, c in enumerate(self.columns)})

    @property
    def names(self) -> tuple[str, ...]:
        """Column names in row order."""
        return tuple(self._index)

    def row(self, **values: Any) -> Row:
        """A row from named cells; what is not named is null. KeyError on an unknown column."""
        cells: list[Any] = [None] * len(self.columns)
        for name, value in values.items():
            cells[self._index[name]] = value
        return tuple(cells)

    def clearing_row(self, run_id: str) -> Row:
        """The row that clears all earlier rows of `run_id` (only for tables with `set_of`)."""
        at = self._index[self.set_of or ""]
        return (*self._clearing[:at], run_id, *self._clearing[at + 1 :])

    @cached_property
    def _clearing(self) -> Row:
        """A clearing row without its run: a heavy run has seventeen."""
        values: dict[str, Any] = {}
        for name in self.key:
            column = self.columns[self._index[name]]
            values[name] = -1 if column.type == "bigint" else NO_PATH
        return self.row(**values, **{CLEARED: True})

    def as_dict(self, row: Row) -> dict[str, Any]:
        """The row by column name, without the clearing mark."""
        return {n: v for n, v in zip(self.names, row, strict=True) if n != CLEARED}


_key = partial(Column, nullable=False)
_document = partial(Column, private="document")
_person = partial(Column, private="person")


def _table(name: str, doc: str, key: str, columns: list[Column], set_of: str | None = None) -> Table:
    if set_of:
        columns = [*columns, Column(CLEARED, "bool", "Always null; used while a run is merged.")]
    return Table(name, doc, tuple(key.split()), tuple(columns), set_of)


_EXTRA = _document("extra", "json", "Keys of the payload that have no column, as they came.")
_SEEN = [
    Column("workspace", "text", "Workspace id or label from the configuration."),
    Column("api_version", "text", "API version the row was read with."),
]
_CREDITS = [
    Column(
        "credits",
        "double",
        "Credits charged (usage.credits); a workflow run's hold those of the runs inside it.",
    ),
    Column(
        "total_credits",
        "double",
        "Credits including the runs that it started (usage.totalCredits); null on older runs.",
    ),
]
_DELETED = Column("deleted_at", "timestamp", "When the run was found gone from the platform.")

WORKFLOW_RUNS = _table(
    "workflow_runs",
    "One row per workflow run: a document (or several) sent through a workflow. All times are UTC, so a day is a "
    "day of UTC.",
    "id",
    [
        _key("id", "text", "The platform's id, opaque."),
        *_SEEN,
        Column("status", "text", "As the platform says it, e.g. PROCESSED, NEEDS_REVIEW, COMPLETED."),
        Column("is_final", "bool", "True where the status will not change by itself; unknown: false."),
        _document("name", "text", "Display name; not returned by Extend 2026-02-09."),
        Column("workflow_id", "text", "Workflow that ran."),
        Column("workflow_name", "text", "Its name when the run was read."),
        Column("workflow_version_id", "text", "Id of the workflow's version."),
        Column("workflow_version", "text", "The version as text, e.g. 9 or draft."),
        Column("batch_id", "text", "Batch the run was started in."),
        Column("created_at", "timestamp", "From the list row: Extend's details lack it."),
        Column("updated_at", "timestamp", "From the list row: what incremental loading goes by."),
        Column("initial_run_at", "timestamp", "First start."),
        Column("started_at", "timestamp", "Start (startTime, startedAt)."),
        Column(
            "ended_at",
            "timestamp",
            "End (endTime, completedAt); after a review the end of the review, so the time since started_at holds the "
            "wait for a reviewer.",
        ),
        Column("reviewed", "bool", "A person has reviewed the run."),
        _person("reviewed_by", "text", "Reviewer: an e-mail, or a user id in old versions."),
        Column("reviewed_at", "timestamp", "When it was reviewed."),
        _document("rejection_note", "text", "Why the run was rejected."),
        Column("failure_code", "text", "Why the run failed: the platform's code."),
        _document("failure_message", "text", "Why the run failed, for people."),
        _document("metadata", "json", "The customer's own keys on the run."),
        Column("dashboard_url", "text", "Page of the run in the platform's dashboard."),
        *_CREDITS,
        Column("duration_ms", "bigint", "Plextera's durationMs, milliseconds, as it came."),
        Column("computed_duration_ms", "bigint", "Plextera's computedDurationMs, milliseconds."),
        Column("steps_completed", "bigint", "Steps that ended (Plextera's progress)."),
        Column("steps_total", "bigint", "Steps in all (Plextera's progress)."),
        Column(
            "parent_run_id",
            "text",
            "The run this one is nested in; of several the one that was created first, then by id.",
        ),
        Column("parent_step_id", "text", "The step of the parent that started it."),
        Column("root_run_id", "text", "The outermost run."),
        Column("depth", "bigint", "0 for an outermost run.", decides=True),
        _EXTRA,
        _DELETED,
    ],
)

WORKFLOW_STEPS = _table(
    "workflow_steps",
    "One row per step of a workflow run.",
    "workflow_run_id position",
    [
        _key("workflow_run_id", "text", "The workflow run."),
        _key("position", "bigint", "0-based place in the run's answer."),
        Column("step_run_id", "text", "Id of this execution of the step."),
        Column("step_id", "text", "Id of the step in the workflow; differs between its versions."),
        Column("name", "text", "The step's name; join by it across workflow versions."),
        Column("type", "text", "EXTRACT, CLASSIFY, SPLIT, PARSE, RULE_VALIDATION, …; open."),
        Column("status", "text", "The step's status."),
        _document("message", "text", "Last status text (Plextera)."),
        _document("output", "json", "What the step gave, without the processor run inside it."),
        Column("processor_run_id", "text", "The processor run that the step made."),
        Column(
            "processor_run_ids",
            "text",
            "Where the step names several: all of them, as a JSON list (Plextera).",
        ),
        Column("nested_run_count", "bigint", "Workflow runs nested in the step (Plextera)."),
        Column("nested_run_ids", "text", "Their ids, as a JSON list (Plextera)."),
        _EXTRA,
    ],
    set_of="workflow_run_id",
)

PROCESSOR_RUNS = _table(
    "processor_runs",
    "One row per extraction, classification, split or parse.",
    "id",
    [
        _key("id", "text", "The platform's id, opaque."),
        *_SEEN,
        Column("type", "text", "EXTRACT, CLASSIFY, SPLIT, PARSE, EDIT or VERIFY; one vocabulary."),
        Column("status", "text", "As the platform says it; null where a version does not send it."),
        Column("is_final", "bool", "True where the status will not change by itself; unknown: false."),
        Column("processor_id", "text", "Extractor, classifier or splitter; null for an inline one."),
        Column("processor_name", "text", "Its name when the run was read."),
        Column("processor_version_id", "text", "Id of its version."),
        Column("processor_version", "text", "The version as text, e.g. 2.1 or draft."),
        Column("base_processor", "text", "The model line, e.g. extraction_performance."),
        Column("base_version", "text", "The model's version, e.g. 4.6.0."),
        Column(
            "workflow_run_id",
            "text",
            "The workflow run it came in; null when alone. Of several (Plextera) the one that was created first, then "
            "by id. A failed extraction that names none has that of its parse run.",
        ),
        Column("workflow_step_position", "bigint", "Its workflow_steps.position; null when alone."),
        Column(
            "source",
            "text",
            "What made it, e.g. WORKFLOW_RUN, API, STUDIO. From the lists, which filter by it; null: none shows it.",
        ),
        Column("source_id", "text", "Id of what made it."),
        Column("batch_id", "text", "Batch it was started in."),
        Column("parse_run_id", "text", "The parse run it read the document through."),
        Column(
            "reviewed",
            "bool",
            "A person has reviewed the result. Up to 2024-12-23 its workflow run says it; null: nothing does.",
        ),
        Column("edited", "bool", "The review changed the result."),
        Column("created_at", "timestamp", "Created; from the list row where details lack it."),
        Column("updated_at", "timestamp", "Last change; from the list row where details lack it."),
        Column("completed_at", "timestamp", "Ended (Plextera)."),
        Column("failure_code", "text", "Why it failed: the platform's code."),
        _document("failure_message", "text", "Why it failed, for people."),
        _document("metadata", "json", "The customer's own keys."),
        _document("tags", "json", "The customer's own tags (Plextera)."),
        _document("config", "json", "Configuration it ran with, its schema included."),
        Column(
            "output_format",
            "text",
            "json_schema, fields_array, classification, splits, parse, plextera_fields, or null.",
        ),
        Column("dashboard_url", "text", "Page of the run in the platform's dashboard."),
        *_CREDITS,
        _document("classification_id", "text", "Id of the class that was chosen."),
        _document("classification", "text", "The class that was chosen."),
        Column(
            "classification_confidence", "double", "Its score, 0 to 1; after a review no longer the model's."
        ),
        _document(
            "initial_classification",
            "text",
            "The model's own class, where initialOutput is sent: once reviewed, in older versions always.",
        ),
        Column("initial_confidence", "double", "The model's score for that, 0 to 1."),
        Column("page_count", "bigint", "Pages of its file or files."),
        Column("processing_ms", "bigint", "Time that the processor took, in milliseconds, without a review."),
        Column("risk_level", "text", "What a verify run found: LOW, MEDIUM or HIGH."),
        Column("field_count", "bigint", "Leaves among its rows in fields."),
        Column(
            "edited_count",
            "bigint",
            "Of them, those that were changed, added or removed. Null: nobody has reviewed, or the platform does "
            "not show the model's values.",
        ),
        _document("parse_output", "json", "A parse run's output; only with include_parse_output."),
        _EXTRA,
        _DELETED,
    ],
)

FIELDS = _table(
    "fields",
    "One row per node of an extracted value. The value is the final one, the scores are the model's.",
    "processor_run_id path",
    [
        _key("processor_run_id", "text", "The processor run."),
        Column("workflow_run_id", "text", "The workflow run it came in; null when alone."),
        _key(
            "path",
            "text",
            'line_items[0].amount, in the final output; an odd key is quoted: ["a.b"]. line_items[~0] is the '
            "first item of the initial output, which a reviewer has removed.",
        ),
        Column(
            "initial_path",
            "text",
            "Path of the same node in initialOutput, where it is another one: items are matched by what they hold.",
        ),
        Column("field", "text", "Path without indexes, line_items[].amount: group by this."),
        Column("name", "text", "Last name in the path."),
        Column(
            "parent_path",
            "text",
            "Path of the node it hangs from; '' is the whole output, which rarely has a row.",
        ),
        Column("position", "bigint", "Document order in the run, 0-based."),
        Column("item_index", "bigint", "Innermost array index, 0-based; null outside arrays."),
        Column("kind", "text", "leaf, item (an object in an array), array or object."),
        Column(
            "type",
            "text",
            "string number boolean date currency signature enum array object null; as the output says, else "
            "from the processor's schema where the config carries it, else from the value.",
        ),
        _document("value", "text", "Final value as text: a string unquoted, a currency's amount."),
        _document("value_number", "double", "Number or amount; null where a double cannot hold it."),
        _document("value_boolean", "bool", "Boolean, or a signature's is_signed."),
        _document("value_date", "date", "Date, or a signature's signature_date."),
        _document("currency_code", "text", "ISO 4217 code of a currency."),
        _document("value_json", "text", "JSON text in output; SQL null: the path is not there."),
        _document("initial_json", "text", "JSON text in initialOutput; SQL null: not there."),
        _document("reviewed_json", "text", "JSON text in reviewedOutput; SQL null: not there."),
        Column(
            "edited",
            "bool",
            "The final value differs from the model's. False: a reviewer left it. Null: nobody has reviewed, or "
            "the platform does not show the model's value.",
        ),
        Column("edit_kind", "text", "changed, added or removed; null where not edited."),
        _document("edit_note", "text", "The reviewer's note."),
        Column("confidence", "double", "The platform's single score, as it came."),
        Column("ocr_confidence", "double", "How well the text was read, 0 to 1."),
        Column("logprobs_confidence", "double", "The model's own score, 0 to 1; null on new models."),
        Column("review_agent_score", "bigint", "The review agent's score, 1 to 5, 5 is best."),
        Column(
            "page",
            "bigint",
            "Page of the first citation, 1-based, in the file that the citation names, not in the whole run.",
        ),
        Column("citation_count", "bigint", "Rows in citations with output = final."),
        Column("insight_count", "bigint", "Rows in insights with output = final."),
        _document(
            "extra",
            "json",
            "What has no column: other scores, the platform's own edit, or (Plextera) the whole element.",
        ),
    ],
    set_of="processor_run_id",
)

_PART_OF_OUTPUT = [
    _key("processor_run_id", "text", "The processor run."),
    _key(
        "output",
        "text",
        "final: what output carries; initial, reviewed: only where that output's list differs.",
    ),
    _key("path", "text", "The field's path; '' is the whole output, which rarely has a row in fields."),
    _key("position", "bigint", "0-based place in the list."),
]

INSIGHTS = _table(
    "insights",
    "One row per insight: the model's reasoning, an issue, or a review summary.",
    "processor_run_id output path position",
    [
        *_PART_OF_OUTPUT,
        Column("type", "text", "reasoning, issue, review_summary; open."),
        _document("content", "text", "The text."),
        _EXTRA,
    ],
    set_of="processor_run_id",
)

CITATIONS = _table(
    "citations",
    "One row per place on a page that a value was read from.",
    "processor_run_id output path position",
    [
        *_PART_OF_OUTPUT,
        Column("page", "bigint", "Page or sheet, 1-based."),
        Column(
            "page_width",
            "double",
            "Page width in the unit of the coordinates; null in Plextera, and in old outputs of Extend.",
        ),
        Column("page_height", "double", "Page height in the unit of the coordinates."),
        Column("file_id", "text", "File it is in, for runs of several files."),
        _document("reference_text", "text", "The text that is cited."),
        _document("cell_range", "text", "A1 range in a sheet, its name included."),
        Column(
            "left",
            "double",
            "Left edge of the box around the place, counted from the page's left; in the unit of page_width, so "
            "left / page_width is a share. Plextera's unit is not documented.",
        ),
        Column("top", "double", "Upper edge, counted from the page's top, in the same unit as left."),
        Column("right", "double", "Right edge, counted from the page's left."),
        Column("bottom", "double", "Lower edge, counted from the page's top."),
        _document("polygon", "json", "The points as they came; may be skewed."),
        _document("extra", "json", "Keys that have no column; Plextera: the whole place as it came."),
    ],
    set_of="processor_run_id",
)

SPLITS = _table(
    "splits",
    "One row per part that a split run cut a file into.",
    "processor_run_id position",
    [
        _key("processor_run_id", "text", "The split run."),
        _key("position", "bigint", "0-based place in the list."),
        Column("split_id", "text", "The platform's id of the part."),
        _document("classification_id", "text", "Id of the part's class."),
        _document("type", "text", "The part's class."),
        _document("name", "text", "The part's name."),
        _document("identifier", "text", "What tells it from parts of the same class."),
        Column("start_page", "bigint", "First page, 1-based."),
        Column("end_page", "bigint", "Last page, inclusive."),
        Column("file_id", "text", "The file that was made of the part."),
        _document("observation", "text", "The model's remark."),
        _EXTRA,
    ],
    set_of="processor_run_id",
)

RUN_FILES = _table(
    "run_files",
    "One row per file of a run. Presigned URLs and contents are never loaded.",
    "run_id position",
    [
        _key("run_id", "text", "The workflow or processor run."),
        Column("run_kind", "text", "workflow or processor."),
        _key("position", "bigint", "0-based place in the run's list."),
        Column("file_id", "text", "The platform's id of the file."),
        _document("name", "text", "File name."),
        Column("type", "text", "PDF, IMG, EXCEL, …, or a MIME type."),
        Column("page_count", "bigint", "Pages, once the platform knows them."),
        Column("parent_file_id", "text", "The file it was cut from."),
        _document("parent_split", "json", "The split it was cut by."),
        Column("created_at", "timestamp", "Uploaded."),
        Column("updated_at", "timestamp", "Last change of the file."),
        _EXTRA,
    ],
    set_of="run_id",
)

CHARGES = _table(
    "charges",
    "One row per charge of a run, where the platform itemises its credits.",
    "run_id position",
    [
        _key("run_id", "text", "The workflow or processor run whose answer lists the charge."),
        Column(
            "run_kind",
            "text",
            "workflow or processor: count one of them, a workflow run lists all inside it.",
        ),
        _key("position", "bigint", "0-based place in the run's answer."),
        Column("charged_run_id", "text", "The run that caused the charge: this one, or one that it started."),
        Column("charged_run_type", "text", "Its type, as in processor_runs."),
        Column("product", "text", "What was used, e.g. extraction_performance."),
        Column("unit", "text", "What is counted, e.g. page."),
        Column("quantity", "double", "How many of them."),
        Column("credits", "double", "Credits charged."),
        Column("page_count", "bigint", "Pages, where the charge names them."),
        _EXTRA,
    ],
    set_of="run_id",
)

_CATALOGUED = [
    _key("id", "text", "The platform's id."),
    *_SEEN,
    Column("name", "text", "Name."),
    Column("created_at", "timestamp", "Created."),
    Column("updated_at", "timestamp", "Last change."),
    _person("created_by", "json", "Who made it: a user or an API key."),
    _EXTRA,
]

WORKFLOWS = _table("workflows", "One row per workflow.", "id", _CATALOGUED)

WORKFLOW_VERSIONS = _table(
    "workflow_versions",
    "One row per version of a workflow.",
    "id",
    [
        *_CATALOGUED[:3],
        Column("workflow_id", "text", "The workflow."),
        Column("version", "text", "Number as text, or draft."),
        *_CATALOGUED[3:5],
        _person("created_by", "json", "Who made it."),
        _document("steps", "json", "The steps, where the platform lists them."),
        _EXTRA,
    ],
)

PROCESSORS = _table(
    "processors",
    "One row per extractor, classifier or splitter.",
    "id",
    [*_CATALOGUED[:3], Column("type", "text", "EXTRACT, CLASSIFY or SPLIT."), *_CATALOGUED[3:]],
)

PROCESSOR_VERSIONS = _table(
    "processor_versions",
    "One row per version of a processor.",
    "id",
    [
        *_CATALOGUED[:3],
        Column("processor_id", "text", "The processor."),
        Column("type", "text", "EXTRACT, CLASSIFY or SPLIT."),
        Column("version", "text", "Number as text, or draft."),
        _document("description", "text", "What the publisher wrote."),
        Column("created_at", "timestamp", "Published."),
        Column("updated_at", "timestamp", "Last change, where the version says it."),
        _person("created_by", "json", "Who published it."),
        _document("config", "json", "The configuration, where the platform gives it."),
        _document("schema", "json", "Its schema: config.schema, or the old config.fields."),
        _EXTRA,
    ],
)

EVALUATION_SETS = _table(
    "evaluation_sets",
    "One row per evaluation set: documents with the output that people expect of a processor.",
    "id",
    [
        *_CATALOGUED[:3],
        Column("name", "text", "Name."),
        _document("description", "text", "What its owner wrote."),
        Column("processor_id", "text", "The extractor, classifier or splitter that it evaluates."),
        Column("processor_name", "text", "Its name when the set was read; null where the version lacks it."),
        Column("processor_type", "text", "EXTRACT, CLASSIFY or SPLIT; null where nothing says it."),
        *_CATALOGUED[4:6],
        _person("created_by", "json", "Who made it: a user or an API key."),
        _EXTRA,
        Column("deleted_at", "timestamp", "When the list of sets no longer showed it."),
    ],
)

EVALUATION_ITEMS = _table(
    "evaluation_items",
    "One row per document, or group of documents, of an evaluation set.",
    "id",
    [
        _key("id", "text", "The platform's id."),
        Column("evaluation_set_id", "text", "The evaluation set."),
        Column("position", "bigint", "0-based place in the set's list, oldest first, when it was read."),
        Column("file_ids", "text", "Ids of its files in the order that a run gets them, as a JSON list."),
        _document(
            "classification", "text", "The class that is expected; null where the set is no classifier's."
        ),
        Column("created_at", "timestamp", "Created, where the platform says it."),
        Column("updated_at", "timestamp", "Last change, where the platform says it."),
        _person("created_by", "json", "Who made it: a user or an API key."),
        _EXTRA,
        Column("deleted_at", "timestamp", "When the set's list no longer showed it."),
    ],
)

EXPECTED_FIELDS = _table(
    "expected_fields",
    "One row per node of an item's expected output: the truth that rows in fields are compared with.",
    "evaluation_item_id path",
    [
        _key("evaluation_item_id", "text", "The item of an evaluation set."),
        _key("path", "text", "As fields.path: line_items[0].amount."),
        Column("field", "text", "Path without indexes, line_items[].amount: group by this."),
        Column("name", "text", "Last name in the path."),
        Column("kind", "text", "leaf, item (an object in an array), array or object."),
        Column(
            "type",
            "text",
            "As fields.type; from the processor's schema when the item was read, else from the value.",
        ),
        _document("value", "text", "Expected value as text: a string unquoted, a currency's amount."),
        _document("value_number", "double", "Number or amount; null where a double cannot hold it."),
        _document("value_boolean", "bool", "Boolean, or a signature's is_signed."),
        _document("value_date", "date", "Date, or a signature's signature_date."),
        _document("currency_code", "text", "ISO 4217 code of a currency."),
        _document(
            "value_json", "text", "JSON text of the expected value; {} and [] where rows hold its parts."
        ),
    ],
    set_of="evaluation_item_id",
)

QUARANTINE = _table(
    "quarantine",
    "One row per run that could not be loaded as it was listed; it is tried again in every load.",
    "resource id",
    [
        _key("resource", "text", "The list it came from, e.g. workflow_runs, extract_runs."),
        _key("id", "text", "The run."),
        Column("first_seen_at", "timestamp", "First failure."),
        Column("last_seen_at", "timestamp", "Latest failure."),
        Column("attempts", "bigint", "Loads in which it failed."),
        Column("error", "text", "Class of the error."),
        Column("message", "text", "The error, for people; a code alone where values are not kept."),
        _document(
            "detail", "text", "First 2,000 characters of a run that could not be read; null where none came."
        ),
        Column("resolved_at", "timestamp", "When it was loaded after all."),
    ],
)

SYNCS = _table(
    "syncs",
    "One row per committed chunk of a load.",
    "load_id",
    [
        _key("load_id", "text", "dlt's load id, as in _dlt_load_id."),
        Column("provider", "text", "extend or plextera."),
        Column("started_at", "timestamp", "Start of the chunk."),
        Column("finished_at", "timestamp", "Its rows were all read."),
        Column("listed", "bigint", "Rows seen in lists."),
        Column("fetched", "bigint", "Runs read in full, one request each."),
        Column(
            "unchanged",
            "bigint",
            "Listed runs that are loaded already. Runs without details (verify runs) count neither here nor as fetched.",
        ),
        Column("quarantined", "bigint", "Runs that could not be loaded as they were listed."),
        Column("gone", "bigint", "Listed runs whose details answered 404; the next load tries them again."),
        Column("left_out", "text", "Lists that could not be read, separated by commas; null: none."),
        Column("requests", "bigint", "Requests sent."),
        Column("retries", "bigint", "Of them, repeated ones."),
        Column("throttled_s", "double", "Seconds the platform made us wait."),
        Column("bytes", "bigint", "Bytes of the answers' bodies, decompressed."),
        Column("watermark", "timestamp", "All runs listed up to here are loaded."),
        Column(
            "incomplete_lists", "text", "Lists that may have runs that they did not show, with the reason."
        ),
        Column(
            "complete",
            "bool",
            "Nothing was left to do: no run is due, no listed run answered 404, every list was read to its end.",
        ),
        Column("privacy", "text", "How private columns were stored: keep, drop, or hash by a key."),
        Column(
            "rows_version",
            "bigint",
            "The version of what the rows of a run hold; an older one lacks what has been added since. Null is 1.",
        ),
    ],
)

PUSHES = _table(
    "pushes",
    "One row per run of each push: what was written back to the platform, or was not, and why.",
    "push_id id",
    [
        _key("push_id", "text", "The push: when it began, and a few random digits."),
        _key("id", "text", "The workflow run."),
        Column("source_row", "bigint", "1-based place of its row in what was pushed."),
        Column(
            "outcome",
            "text",
            "confirmed: the run, read again, has it; unchanged; refused; or unconfirmed: sent, and not confirmed.",
        ),
        Column("reason", "text", "Why, for people; a code alone where values are not kept."),
        _document("name", "text", "Name that was sent; null: none."),
        _document("metadata", "json", "Metadata that was sent: the keys that differed."),
        _document(
            "before", "json", "Name and these keys before the push; a key that was not there is absent."
        ),
        _document("after", "json", "Name and whole metadata after it; the name where it is returned."),
        _document(
            "wish", "text", "Fingerprint of what the row asked for: equal rows have equal fingerprints."
        ),
        Column("done_at", "timestamp", "When the platform answered, or the push decided."),
        Column(
            "read_at", "timestamp", "When the run was read again and merged; null: not yet, or not loaded."
        ),
    ],
)

TABLES: tuple[Table, ...] = (
    WORKFLOW_RUNS,
    WORKFLOW_STEPS,
    PROCESSOR_RUNS,
    FIELDS,
    INSIGHTS,
    CITATIONS,
    SPLITS,
    RUN_FILES,
    CHARGES,
    WORKFLOWS,
    WORKFLOW_VERSIONS,
    PROCESSORS,
    PROCESSOR_VERSIONS,
    EVALUATION_SETS,
    EVALUATION_ITEMS,
    EXPECTED_FIELDS,
    QUARANTINE,
    SYNCS,
    PUSHES,
)

RUN_TABLES: tuple[Table, ...] = (*TABLES[:9], QUARANTINE, SYNCS)
"""The tables that exist after a platform's first load into DuckDB, even without rows. The catalogue's tables,
those of evaluation sets and pushes exist once they have rows."""

BY_NAME: dict[str, Table] = {table.name: table for table in TABLES}

COPIED = _table(
    "_copied",
    "Of a copy: one row per run, and per row of the tables that are not of runs, as the source had it.",
    "kind id",
    [
        _key(
            "kind", "text", "The table: workflow_runs or processor_runs with the rows below them, or another."
        ),
        _key("id", "text", "The run's id; in other tables the key, its parts separated by slashes."),
        Column("fingerprint", "text", "Hash of its rows in the source, in hexadecimal digits."),
    ],
)
"""The memory of `docruns copy`, in the datasets that it fills: no table of a platform's data, so not one of TABLES."""
