"""The smallest real load: all of Extend that is due, into DuckDB."""

import dlt

from docruns import extend


def load() -> None:
    """Load what is due; run it again whenever you like."""
    pipeline = dlt.pipeline("docruns", destination="duckdb", dataset_name="extend")
    info = pipeline.run(extend(), loader_file_format="parquet")
    print(info)


if __name__ == "__main__":
    load()
