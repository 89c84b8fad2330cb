"""Every run of a document-AI platform (Extend, Plextera), flattened into analytics tables

    import dlt
    from docruns import extend

    dlt.pipeline("docruns_extend", destination="duckdb", dataset_name="extend").run(extend())

`extend()` is a dlt source; `docruns.model` knows every table and column.
"""

from .extend import extend

__all__ = ["extend"]
