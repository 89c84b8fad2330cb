"""Every run of a document-AI platform (Extend, Plextera), flattened into analytics tables

    import dlt
    from docruns import extend

    dlt.pipeline("docruns_extend", destination="duckdb", dataset_name="extend").run(extend())

`extend()` and `plextera()` are dlt sources that fill the same tables. `docruns.core.tables` declares every
table and column. `extend_workflow_runs()` is a dlt destination that writes names and metadata back to Extend.
`read()` opens a loaded DuckDB file for data frames of pandas. `load()`, `verify()`, `sweep()` and `copy()` are the commands
as calls, for schedulers; their errors are `DocrunsError`.

`import docruns` loads neither dlt nor pyarrow nor httpx: a public name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .commands.calls.public import copy, load, sweep, verify
    from .core.errors import DocrunsError
    from .models.reader import read
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
    "sweep": ".commands.calls.public",
    "verify": ".commands.calls.public",
}
"""The module of each public name."""


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
