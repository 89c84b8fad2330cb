"""The smallest real load: loads all due runs of Extend into DuckDB."""

import dlt

from docruns import extend


def load() -> None:
    """Load the runs that are due. You can run it again at any time."""
    pipeline = dlt.pipeline("docruns", destination="duckdb", dataset_name="extend")
    info = pipeline.run(extend(), loader_file_format="parquet")
    print(info)


if __name__ == "__main__":
    load()
