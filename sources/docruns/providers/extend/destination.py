"""Extend's workflow runs as a dlt destination for rows with `id` and `name`, `metadata` or `metadata.<key>`.

    dlt.pipeline("tags", destination=docruns.extend_workflow_runs()).run(rows)

The destination has no database to compare with. It reads each run over the API first and sends only what
differs, also when dlt runs a job again. It always sends a name that the API version does not return
(2026-02-09), because it cannot compare it. At the end it reads the changed runs again: dlt repeats the job
where one of them lacks its change.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import dlt
from dlt.common.destination.exceptions import DestinationTerminalException, DestinationTransientException
from dlt.common.typing import TSecretStrValue

from ...core.errors import ApiError, ConfigError, RefusedError, RowsError
from ...store.process.environment import private_files
from ...sync.lists import Platform
from ...sync.quarantine import redacted_message
from .. import changes
from ..changes import Change, DesiredRun, Problem
from . import updates
from .source import connect_extend

logger = logging.getLogger("docruns")

ALL_ROWS = 100_000_000
"""Rows of one call: all rows of a file are checked before the first one is sent."""


class RefusedRowsError(DestinationTerminalException):
    """The rows or the key are wrong: another try would not help."""


class UnansweredError(DestinationTransientException):
    """Some updates got no answer, or were answered and not applied: dlt tries again. Updates that succeeded are not
    sent again."""


@dlt.destination(
    name="extend_workflow_runs",
    batch_size=ALL_ROWS,
    naming_convention="direct",
    max_table_nesting=0,
    skip_dlt_columns_and_tables=True,
    loader_parallelism_strategy="sequential",
)
def extend_workflow_runs(
    items: Any,
    table: Any,  # noqa: ARG001 - dlt gives it
    api_key: TSecretStrValue | None = None,
    base_url: str | None = None,
    api_version: str | None = None,
    workspace_id: str | None = None,
) -> None:
    """Write names and metadata back to Extend's workflow runs: a dlt destination for any pipeline.

    Rows have the columns `id`, and `name`, `metadata` (an object, or JSON text) or `metadata.<key>`. Each row
    is about another run. Settings that are not passed come from `[sources.extend]`, as for `extend()`. The
    log names runs whose change the platform refuses; all others are updated.

    Raises:
        RowsError: Rows that cannot be pushed; the message names all of them. No row of the file was
            sent.
        ConfigError: A setting is missing or wrong. The message names its key.
        RefusedError: The platform does not accept the key.
    """
    options: dict[str, Any] = {
        "api_key": api_key,
        "base_url": base_url,
        "api_version": api_version,
        "workspace_id": workspace_id,
    }
    with private_files():
        try:
            platform = connect_extend(**{k: v for k, v in options.items() if v is not None})
            _push(platform, items.to_pylist() if hasattr(items, "to_pylist") else items)
        except (ConfigError, RefusedError) as error:
            raise RefusedRowsError(str(error)) from error


def _push(platform: Platform, rows: list[Mapping[str, Any]]) -> None:
    wishes, problems = changes.read(rows)
    due = _due(platform, wishes, problems)
    unanswered: list[ApiError] = []
    answered: dict[str, Change] = {}

    def ended(change: Change, outcome: updates.Outcome) -> None:
        if not isinstance(outcome, ApiError):
            answered[change.wish.id] = change
            return
        if not updates.is_refusal(outcome):
            unanswered.append(outcome)
            return
        logger.warning(
            "row %d (%s) was refused: %s",
            change.wish.row,
            change.wish.id,
            redacted_message(outcome, platform.settings.privacy),
        )

    for _ in updates.send(platform.client, due, lambda _: None, ended):
        pass
    if unanswered:
        first = redacted_message(unanswered[0], platform.settings.privacy)
        raise UnansweredError(f"{len(unanswered):,} updates were not answered; the first: {first}")
    if lacking := _lacking(platform, answered):
        raise UnansweredError(
            f"{len(lacking):,} updates were answered, but the runs, read again, do not have them; "
            f"the first: {lacking[0]}"
        )


def _lacking(platform: Platform, answered: Mapping[str, Change]) -> list[str]:
    """The runs that do not have their answered changes when they are read again."""
    with platform.client as client:
        found = [*updates.has(client, answered)]
    return [
        id_
        for id_, run in found
        # without a database it is not known whether an earlier job has changed the value to this spelling
        if isinstance(run, ApiError) or changes.read_back(answered[id_]._replace(repeats=True), run).missing
    ]


def _due(platform: Platform, desired: list[DesiredRun], problems: list[Problem]) -> list[Change]:
    """The changes to send: where rows differ from the platform. RowsError with all problems."""
    with platform.client as client:
        outcomes = updates.has(client, [run.id for run in desired])
        comparison = changes.compare(outcomes, desired, problems, {}, lambda _, text: text)
    for _, error in comparison.unreadable:
        raise error
    if comparison.problems:
        messages = [str(problem) for problem in comparison.problems]
        privacy = platform.settings.privacy
        if not privacy.keeps:
            # dlt logs the error and stores it in its trace
            number = f"{len(messages):,} rows"
            messages = [f"{number} (no more is kept: field_values = {privacy.field_values})"]
        raise RowsError("extend_workflow_runs", messages)
    return comparison.changes
