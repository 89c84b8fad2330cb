"""Tables of extractions whose error rates are known, made without a platform."""

from __future__ import annotations

import duckdb
import numpy as np
import pandas as pd

from docruns.models import dialects
from docruns.models.model import models
from docruns.models.reader import tables_of

DATASET = "simulated"


def make_tables(connection: duckdb.DuckDBPyConnection, leaves: pd.DataFrame) -> None:
    """The tables of a dataset, and the views of the models over them.

    `leaves` has the columns processor, document, field, right (boolean) and score; all documents are reviewed.
    """
    connection.execute(
        f"CREATE SCHEMA IF NOT EXISTS {DATASET}; CREATE SCHEMA IF NOT EXISTS {DATASET}_answers"
    )
    connection.register("leaves_frame", leaves)
    connection.execute(f"""
        CREATE OR REPLACE TABLE {DATASET}.processor_runs AS
        SELECT processor || '/' || document AS id, processor AS processor_id, processor AS processor_name,
               'v1' AS processor_version, 'EXTRACT' AS type, TRUE AS is_final, 'PROCESSED' AS status,
               NULL::TIMESTAMPTZ AS deleted_at, TRUE AS reviewed, TIMESTAMPTZ '2026-01-05 00:00:00Z' AS created_at
        FROM (SELECT DISTINCT processor, document FROM leaves_frame)
    """)
    connection.execute(f"""
        CREATE OR REPLACE TABLE {DATASET}.fields AS
        SELECT processor || '/' || document AS processor_run_id,
               field || '[' || row_number() OVER (PARTITION BY processor, document, field) || ']' AS path,
               field, 'leaf' AS kind, '"a"' AS initial_json, CASE WHEN "right" THEN '"a"' ELSE '"b"' END AS value_json,
               NOT "right" AS edited, CASE WHEN NOT "right" THEN 'changed' END AS edit_kind,
               score AS logprobs_confidence
        FROM leaves_frame
    """)
    connection.unregister("leaves_frame")
    make_views(connection)


def make_views(connection: duckdb.DuckDBPyConnection, dataset: str = DATASET) -> None:
    """The views of the models over the tables of a dataset."""
    connection.execute(dialects.functions("duckdb", dataset, {}))
    tables = tables_of(connection, dataset)
    for model in models():
        query = dialects.translate(model.sql, "duckdb", dataset, tables)
        connection.execute(f"CREATE OR REPLACE VIEW {dataset}_answers.{model.name} AS {query}")


def documents_with_items(
    random: np.random.Generator, processors: int, documents: int, items: float, accuracy: float, alike: float
) -> pd.DataFrame:
    """One field of line items, in documents of which each has an accuracy of its own: a beta distribution whose mean is
    `accuracy` and whose correlation of two items of a document is `alike`. A document has one item, and `items - 1`
    more on average (Poisson)."""
    sizes = 1 + random.poisson(items - 1, (processors, documents))
    strength = (1 - alike) / alike
    rates = random.beta(accuracy * strength, (1 - accuracy) * strength, (processors, documents))
    processor, document = (np.repeat(axis.ravel(), sizes.ravel()) for axis in np.indices(sizes.shape))
    right = random.random(len(document)) < np.repeat(rates.ravel(), sizes.ravel())
    return pd.DataFrame(
        {
            "processor": pd.Series(processor).map("p{:05d}".format),
            "document": pd.Series(document).map("d{:05d}".format),
            "field": "items[].amount",
            "right": right,
            "score": np.round(random.random(len(document)), 3),
        }
    )
