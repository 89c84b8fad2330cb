"""Every run of a document-AI platform (Extend, Plextera), flattened into analytics tables

    import dlt
    from docruns import extend

    dlt.pipeline("docruns_extend", destination="duckdb", dataset_name="extend").run(extend())

`extend()` and `plextera()` are dlt sources that fill the same tables; `docruns.core.tables` declares every table and
column. `extend_workflow_runs()` is a dlt destination that writes names and metadata back to Extend.
"""

from .providers.extend import extend, extend_workflow_runs
from .providers.plextera import plextera

__all__ = ["extend", "extend_workflow_runs", "plextera"]
