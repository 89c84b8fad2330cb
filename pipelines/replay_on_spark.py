"""All tables of Extend's runs from an archive, on Spark: a folder of Parquet for each table.

    spark-submit replay_on_spark.py ARCHIVE OUT

    archive ──► newest answer of each run ──► docruns.rows, in the Python workers ──► OUT/answers: a row an answer,
        a column of rows a table ──► without runs that came inside another one ──► OUT/fields, OUT/processor_runs, …

ARCHIVE and OUT are paths or URLs of Spark. Its workers need docruns and msgspec, and nothing else that docruns
needs. OUT/unread names the answers that cannot be read; the exit code is then 3. See docs/archive.md.
"""

import sys
from functools import cache, partial

import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql import functions as F  # noqa: N812 # as its own documents do

import docruns
from docruns.core.errors import ApiError
from docruns.core.tables import CLEARED, PROCESSOR_RUNS, QUARANTINE, RUN_TABLES, SYNCS, WORKFLOW_STEPS
from docruns.store.arrow import UNFIT_ERRORS, schema

TABLES = [table for table in RUN_TABLES if table not in (QUARANTINE, SYNCS)]
COLUMNS = {t.name: [c for c in t.columns if c.name != CLEARED] for t in TABLES}
TYPES = {"text": "string", "json": "string", "bool": "boolean"}  # the other types have Spark's names

ROWS = {
    t: ", ".join(f"`{c.name}`: {TYPES.get(c.type, c.type)}" for c in columns)
    for t, columns in COLUMNS.items()
}
ANSWERS = ", ".join(
    [
        "feed string, id string, error string, inside array<string>",
        *(f"{t} array<struct<{ROWS[t]}>>" for t in ROWS),
    ]
)
ARROW = pa.schema(
    [
        *((name, pa.string()) for name in ("feed", "id", "error")),
        ("inside", pa.list_(pa.string())),
        *((t.name, pa.list_(pa.struct([f for f in schema(t) if f.name != CLEARED]))) for t in TABLES),
    ]
)
SETTINGS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",  # the default is an old type of 96 bits
    "spark.sql.execution.arrow.maxRecordsPerBatch": "64",  # answers in the memory of a Python worker
}


def read_answer(reader, row):
    answer = {"feed": row["feed"], "id": row["id"]}
    try:
        body = None if row["body"] is None else row["body"].encode()
        parsed = reader(body, {**row["listed"], **answer})
    except (ApiError, ValueError, RecursionError) as error:
        return {**answer, "error": f"{type(error).__name__}: {error}"}
    return {**answer, "inside": parsed.nested_ids, **{t.name: parsed.batch.dicts(t) for t in TABLES}}


def read_answers(batches):
    reader = cache(partial(docruns.rows, "extend"))
    for batch in batches:
        answers = [
            read_answer(reader(row["api_version"], row["workspace"]), row) for row in batch.to_pylist()
        ]
        try:
            yield pa.RecordBatch.from_pylist(answers, schema=ARROW)
        except UNFIT_ERRORS:
            # a cell does not fit its column
            for answer in answers:
                try:
                    yield pa.RecordBatch.from_pylist([answer], schema=ARROW)
                except UNFIT_ERRORS as error:
                    failed = {
                        "feed": answer["feed"],
                        "id": answer["id"],
                        "error": f"{type(error).__name__}: {error}",
                    }
                    yield pa.RecordBatch.from_pylist([failed], schema=ARROW)


def newest_of(seen):
    """A row a run: how a list has shown it last, and where its newest answer is. A run without dates is no list's."""
    has_dates = F.coalesce("updated_at", "created_at").isNotNull()
    # a list without details has complete rows
    is_answer = F.col("body").isNotNull() | F.get_json_object("summary", "$.row").isNotNull()
    answered_at = F.when(is_answer, F.col("fetched_at"))
    listed = F.struct("status", "created_at", "updated_at", "is_final", "summary")
    return (
        seen.where(F.col("feed").endswith("_runs"))
        .groupBy("feed", "id")
        .agg(
            F.max_by(listed, F.struct(has_dates, F.col("fetched_at"))).alias("listed"),
            F.max_by(F.struct("file_path", "row_index"), answered_at).alias("place"),
            F.max(answered_at).alias("answered_at"),
        )
    )


def deleted_of(seen, newest):
    """When runs were marked as deleted that have not come back since."""
    marks = seen.where("feed = 'deleted'").groupBy("id")
    marks = marks.agg(
        F.max_by("updated_at", "fetched_at").alias("deleted_at"), F.max("fetched_at").alias("marked_at")
    )
    answered = newest.groupBy("id").agg(F.max("answered_at").alias("answered_at"))
    is_gone = "deleted_at IS NOT NULL AND (answered_at IS NULL OR answered_at <= marked_at)"
    return marks.join(answered, "id", "left").where(is_gone).select("id", "deleted_at")


def with_lists(runs, newest):
    """Nested runs lack their dates, and in old versions their status and processor: their lists show them."""
    lists = newest.where("feed <> 'workflow_runs'").select("id", "listed")
    dates = {name: F.coalesce(name, f"listed.{name}") for name in ("status", "created_at", "updated_at")}
    names = {
        "processorId": "processor_id",
        "processorName": "processor_name",
        "processorVersionId": "processor_version_id",
    }
    told = {
        mine: F.coalesce(mine, F.get_json_object("listed.summary", f"$.{theirs}"))
        for theirs, mine in names.items()
    }
    is_told = F.col("status").isNull() & F.col("listed.status").isNotNull()
    final = F.when(is_told, F.col("listed.is_final")).otherwise(F.col("is_final"))
    return runs.join(lists, "id", "left").withColumns({**dates, **told, "is_final": final}).drop("listed")


def with_statuses(steps, newest):
    """In old versions a step has the status of its processor run, which that may have from its list."""
    lists = newest.where("feed <> 'workflow_runs'")
    lists = lists.select(F.col("id").alias("processor_run_id"), F.col("listed.status").alias("told"))
    told = F.when(F.col("step_run_id").isNull(), F.col("told"))
    return steps.join(lists, "processor_run_id", "left").withColumn("status", F.coalesce("status", told))


def with_links(runs):
    """A failed run is not in its workflow run's answer: its parse run tells where it belongs."""
    parses = runs.where("workflow_run_id IS NOT NULL").select(
        F.col("id").alias("parse_run_id"), F.col("workflow_run_id").alias("made_in")
    )
    is_astray = F.expr(
        "workflow_run_id IS NULL AND made_in IS NOT NULL AND status = 'FAILED' AND deleted_at IS NULL "
        "AND coalesce(source, 'WORKFLOW_RUN') = 'WORKFLOW_RUN'"
    )
    cells = {"workflow_run_id": "made_in", "source_id": "made_in", "source": "'WORKFLOW_RUN'"}
    linked = {name: F.when(is_astray, F.expr(cell)).otherwise(F.col(name)) for name, cell in cells.items()}
    return runs.join(parses, "parse_run_id", "left").withColumns(linked)


def main(archive: str, out: str) -> int:
    spark = SparkSession.builder.appName("docruns replay").getOrCreate()
    for name, value in SETTINGS.items():
        spark.conf.set(name, value)
    # without the partitions of the folders: their values are columns of the files too
    seen = spark.read.option("recursiveFileLookup", True).parquet(f"{archive}/provider=extend")
    seen = seen.select("*", "_metadata.file_path", "_metadata.row_index")
    newest = newest_of(seen).cache()
    answers = seen.select("file_path", "row_index", "feed", "id", "api_version", "workspace", "body")
    answers = answers.join(newest.select("listed", "place.*"), ["file_path", "row_index"])
    answers.drop("file_path", "row_index").mapInArrow(read_answers, ANSWERS).write.mode("overwrite").parquet(
        f"{out}/answers"
    )

    read = spark.read.schema(ANSWERS).parquet(f"{out}/answers")
    # a processor run that was read alone, and came inside its workflow run as well
    inside = read.select(F.explode("inside").alias("id")).distinct().cache()
    alone = read.where("feed <> 'workflow_runs'").join(inside, "id", "left_anti")
    whole = read.where("feed = 'workflow_runs'").unionByName(alone)
    deleted = deleted_of(seen, newest).cache()
    for table in TABLES:
        rows = whole.select(F.inline(table.name))
        if "deleted_at" in rows.columns:
            rows = rows.drop("deleted_at").join(deleted, "id", "left")
        if table is PROCESSOR_RUNS:
            rows = with_links(with_lists(rows, newest))
        if table is WORKFLOW_STEPS:
            rows = with_statuses(rows, newest)
        names = [column.name for column in COLUMNS[table.name]]
        rows.select(*names).write.mode("overwrite").parquet(f"{out}/{table.name}")
    read.where("error IS NOT NULL").select("feed", "id", "error").write.mode("overwrite").parquet(
        f"{out}/unread"
    )
    unread = spark.read.parquet(f"{out}/unread").count()
    print(
        f"extend: {newest.where('place IS NOT NULL').count() - unread} answers read, {unread} unread, in {out}"
    )
    spark.stop()
    return 3 if unread else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
