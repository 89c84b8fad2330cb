"""What `docruns` exports where its requirements are not installed, as when `dlt init` copies it.

dlt imports a source to learn which secrets it needs, and writes them into .dlt/secrets.toml. Only after that does the
user install requirements.txt. So these sources declare their secret, and refuse to run.
"""

from __future__ import annotations

from typing import Any, NoReturn

import dlt
from dlt.common.typing import TSecretStrValue

from ..core.errors import ConfigError


@dlt.source(name="extend", section="extend")
def extend(api_key: TSecretStrValue | None = None, **settings: Any) -> NoReturn:  # noqa: ARG001 # for dlt
    """The source of Extend, before its requirements are installed."""
    raise _error()


@dlt.source(name="plextera", section="plextera")
def plextera(api_key: TSecretStrValue | None = None, **settings: Any) -> NoReturn:  # noqa: ARG001 # for dlt
    """The source of Plextera, before its requirements are installed."""
    raise _error()


def _error() -> ConfigError:
    return ConfigError(
        "requirements.txt", "is not installed.", "Run `pip install -r requirements.txt`, then run this again."
    )
