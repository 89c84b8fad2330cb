"""Every run of a document-AI platform (Extend, Plextera), flattened into analytics tables

    import dlt
    from docruns import extend

    dlt.pipeline("docruns_extend", destination="duckdb", dataset_name="extend").run(extend())

`extend()` and `plextera()` are dlt sources that fill the same tables. `docruns.core.tables` declares every
table and column. `extend_workflow_runs()` is a dlt destination that writes names and metadata back to Extend.
`read()` opens a loaded DuckDB file for data frames of pandas. `load()`, `verify()`, `sweep()`, `copy()`, `replay()` and
`report()` are the commands as calls, for schedulers; their errors are `DocrunsError`. `rows()` gives the function that turns one
answer of a platform into rows.

`import docruns` loads neither dlt nor pyarrow nor httpx: a public name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .commands.calls.public import copy, load, replay, report, sweep, verify
    from .core.errors import DocrunsError
    from .models.reader import read
    from .providers.answers import Read
    from .providers.extend import extend, extend_workflow_runs
    from .providers.plextera import plextera

__all__ = [
    "DocrunsError",
    "copy",
    "extend",
    "extend_workflow_runs",
    "load",
    "plextera",
    "read",
    "replay",
    "report",
    "rows",
    "sweep",
    "verify",
]

__version__: str

_MODULES = {
    "DocrunsError": ".core.errors",
    "copy": ".commands.calls.public",
    "extend": ".providers.extend",
    "extend_workflow_runs": ".providers.extend",
    "load": ".commands.calls.public",
    "plextera": ".providers.plextera",
    "read": ".models.reader",
    "replay": ".commands.calls.public",
    "report": ".commands.calls.public",
    "sweep": ".commands.calls.public",
    "verify": ".commands.calls.public",
}
"""The module of each public name."""


def rows(provider: str, api_version: str | None = None, workspace: str | None = None) -> Read:
    """The reader of one platform's answers: `reader(body, listed)` gives a `docruns.core.parsed.ParsedRun`.

    It is pure: it opens no file and no connection, and imports none of dlt, pyarrow and httpx, so that the workers of
    Spark or another engine can use it. `body` is the answer to a detail request as bytes, `listed` the row of the run
    in an archive as a mapping, or a `docruns.sync.plan.ListedRun`. `ParsedRun.batch.dicts(table)` gives the rows of a
    table of `docruns.core.tables`. What only other answers know is not there: the workflow run of a processor run
    that was fetched alone, and dates of nested runs that only lists have.

    Args:
        provider: extend or plextera.
        api_version: Of Extend, by default the newest one. Plextera has one.
        workspace: The value of the column `workspace`.

    Raises:
        ConfigError: There is no such provider or version.
        ApiError, ValueError, RecursionError: The reader raises one of these for an answer that it cannot read.
    """
    if provider == "extend":
        from .providers.extend import api, workflow_runs
        from .providers.extend.processor_runs import Context

        version = api.version(api_version or api.VERSIONS[0], "api_version")
        return workflow_runs.reader(Context(version, workspace))
    from .providers.plextera import runs

    runs.check_names(provider, api_version)
    return runs.reader(runs.Context(workspace))


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _installed_version()
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        found = getattr(import_module(_MODULES[name], __name__), name)
    except ImportError as error:
        # `dlt init` looks at a source before its requirements are installed
        from .providers import stand_in

        if error.name is None or error.name.startswith(__name__) or not hasattr(stand_in, name):
            raise
        return getattr(stand_in, name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})


def _installed_version() -> str:
    """The installed version, or "unknown" for a copy of the folder, such as `dlt init` makes."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("docruns")
    except PackageNotFoundError:
        return "unknown"
