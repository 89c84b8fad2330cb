"""The commands `load`, `verify`, `sweep`, `copy`, `replay` and `report` as Python calls. The commands are thin layers over them.

    import docruns

    summary = docruns.load("extend", database="runs.duckdb")

Options have the names and defaults of the command's. Every setting of the platform is a keyword too (`api_key`,
`base_url`, `api_version`, `requests_per_second`, …); one that is missing or None comes from dlt's configuration, as for
the command. Errors are `docruns.DocrunsError`: `retryable` says whether the same call may succeed later, `exit_code` what
the command would end with. Nothing is printed: the logger `docruns` tells what happens.

A call works in any thread, also beside a running event loop, and in a forked process. Two calls at once need two
datasets, and on DuckDB two files.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from ...core.errors import ConfigError
from ...core.settings import CONFIRM, DATABASE, DESTINATION
from ...store.process.environment import disable_telemetry
from ...store.target import Target, require_database
from ...sync.metrics import Progress
from ..load import OnPackage, Summary, load_runs
from ..reconcile.against import verify_against
from ..reconcile.sweep import SweepResult, sweep_deleted
from ..reconcile.verify import VerifyResult, verify_runs
from ..warehouse.copy import CopySummary, copy_runs
from .backfill import make_window
from .connect import connect_platform, make_target, other_target
from .metrics_file import MetricsFile
from .stored import connect_stored, open_stored

logger = logging.getLogger("docruns")


def load(
    provider: str,
    *,
    database: Path | str = DATABASE,
    destination: str = DESTINATION,
    table_format: str | None = None,
    untested: bool = False,
    dataset: str | None = None,
    since: str | date | None = None,
    until: str | date | None = None,
    backfill: str | None = None,
    by: str | None = None,
    max_runs: int | None = None,
    full: bool = False,
    publish: Path | str | None = None,
    metrics_file: Path | str | None = None,
    archive: str | None = None,
    on_package: OnPackage | None = None,
    on_progress: Progress | None = None,
    **settings: Any,
) -> Summary:
    """Load every new or changed run of a platform, `extend` or `plextera`: what `docruns load` does.

    Args:
        provider: The platform.
        database: DuckDB file.
        destination: Name of any dlt destination. Set it up in dlt's configuration.
        table_format: `delta`, `iceberg` or `none`, for the destination `filesystem`. Default: its setting.
        untested: Use a destination whose rows nobody has compared with DuckDB's.
        dataset: Schema for the tables. Default: the platform's name.
        since: Load only runs last changed at or after this time: RFC 3339, a date or a datetime.
        until: Load only runs last changed before this time.
        backfill: Load the runs last changed in these years, months or days of UTC, the last one included, period by
            period, oldest first: `2024-01..2026-06`. The lists are read once, and each period has packages of its own.
        by: The periods of a backfill: `day`, `month` or `year`. Default: `month`.
        max_runs: Load at most this many runs.
        full: Fetch every run again, also unchanged ones.
        publish: Copy the database to this file when all is loaded.
        metrics_file: Write the figures of the load to this file, in Prometheus' text format.
        archive: Folder or URL that keeps every answer. Default: the setting.
        on_package: Is called with a `Package` after each commit. An error that it raises ends the load.
        on_progress: Is called with each step: stage, list, number done, total or None.
        **settings: Settings of the platform, by the names that docs/configuration.md lists.

    Returns:
        The summary. `exit_code` is 0, or 3 where runs are missing; `complete`, `left_out`, `quarantined` and `gone`
        say what is missing.

    Raises:
        DocrunsError: What was committed by then stays, and the next load continues there.
    """
    target = make_target(provider, database, destination, dataset, table_format, untested)
    window = make_window(backfill, by, _as_text(since), _as_text(until))
    given = {
        "since": window.since,
        "until": window.until,
        "max_runs": max_runs,
        "full": full or None,
        "archive": archive,
    }
    with MetricsFile.or_none(metrics_file, provider, target.dataset) as metrics:
        platform = connect_platform(provider, {**settings, **given}, load)
        if window.parts:
            platform = replace(platform, settings=replace(platform.settings, parts=window.parts))

        def committed(package: Any) -> None:
            if metrics is not None:
                metrics.write_package(package)
            if on_package is not None:
                on_package(package)

        summary = load_runs(
            platform,
            target,
            on_progress,
            publish=None if publish is None else Path(publish),
            on_wait=logger.warning,
            on_package=None if metrics is None and on_package is None else committed,
        )
        if metrics is not None:
            metrics.write_end(summary)
    return summary


def verify(
    provider: str,
    *,
    database: Path | str = DATABASE,
    destination: str = DESTINATION,
    table_format: str | None = None,
    untested: bool = False,
    dataset: str | None = None,
    deep: int = 0,
    seed: int | None = None,
    against: Path | str | None = None,
    against_dataset: str | None = None,
    on_progress: Progress | None = None,
    **settings: Any,
) -> VerifyResult:
    """Compare the database with the platform: what `docruns verify` does.

    `deep` runs are fetched again and compared cell by cell; the same `seed` chooses the same runs. `against` is a
    DuckDB file or a destination: with it every cell is compared with the one there, and the platform is not asked.
    `exit_code` of the result is 0, 1 where they differ, or 3 where runs are in quarantine. The other keywords are those
    of `load`.
    """
    target = make_target(provider, database, destination, dataset, table_format, untested)
    if against is not None:
        given = {"deep": deep, "seed": seed, **settings}
        if names := [f"--{name.replace('_', '-')}" for name, value in given.items() if value]:
            raise ConfigError(
                "--against", f"excludes {' and '.join(names)}: it asks no platform.", "Choose one."
            )
        disable_telemetry()
        other = other_target(provider, against, against_dataset or target.dataset)
        return verify_against(provider, target, other, on_progress, on_wait=logger.warning)
    platform = connect_platform(provider, settings, verify)
    return verify_runs(platform, target, on_progress, deep=deep, seed=seed, on_wait=logger.warning)


def sweep(
    provider: str,
    *,
    database: Path | str = DATABASE,
    destination: str = DESTINATION,
    table_format: str | None = None,
    untested: bool = False,
    dataset: str | None = None,
    confirm: int = CONFIRM,
    yes: bool = False,
    archive: str | None = None,
    on_progress: Progress | None = None,
    **settings: Any,
) -> SweepResult:
    """Mark runs that the platform has deleted: what `docruns sweep` does.

    At most `confirm` requests are sent for runs that no list shows, or any number with `yes`. `archive` notes what is
    marked. The other keywords are those of `load`.
    """
    target = make_target(provider, database, destination, dataset, table_format, untested)
    platform = connect_platform(provider, {**settings, "archive": archive}, sweep)
    return sweep_deleted(platform, target, on_progress, confirm=confirm, yes=yes, on_wait=logger.warning)


def copy(
    provider: str,
    source: Path | str,
    *,
    database: Path | str = DATABASE,
    destination: str = DESTINATION,
    table_format: str | None = None,
    untested: bool = False,
    dataset: str | None = None,
    from_dataset: str | None = None,
    full: bool = False,
    on_progress: Progress | None = None,
) -> CopySummary:
    """Copy what is loaded in the DuckDB file `source` to another destination: what `docruns copy` does.

    Sends no request. The first time it copies everything, later only runs whose rows have changed, or all with `full`.
    `exit_code` of the summary is 0, or 3 where the file lacks runs. The other keywords are those of `load`.
    """
    disable_telemetry()
    target = make_target(provider, database, destination, dataset, table_format, untested)
    loaded = make_target(provider, source, DESTINATION, from_dataset or dataset)
    return copy_runs(loaded, target, provider, on_progress, full=full, on_wait=logger.warning)


def replay(
    provider: str,
    *,
    archive: str | None = None,
    database: Path | str = DATABASE,
    destination: str = DESTINATION,
    table_format: str | None = None,
    untested: bool = False,
    dataset: str | None = None,
    since: str | date | None = None,
    until: str | date | None = None,
    workers: int = 1,
    on_progress: Progress | None = None,
    **settings: Any,
) -> Summary:
    """Load every table from an archive of raw answers: what `docruns replay` does.

    Sends no request and needs no key. `archive` is a folder or a URL, by default the setting. `workers` are processes
    that read the answers about Extend's workflow runs: a program that wants several must be importable, as for any
    pool of processes of Python. The other keywords and the summary are those of `load`.
    """
    target = make_target(provider, database, destination, dataset, table_format, untested)
    window = {"since": _as_text(since), "until": _as_text(until)}
    platform = connect_stored(provider, open_stored(provider, archive), {**settings, **window}, workers)
    return load_runs(platform, target, on_progress, on_wait=logger.warning)


def report(
    output: Path | str = "report.html", *, database: Path | str = DATABASE, dataset: str | None = None
) -> int:
    """Write quality and operations, charts included, into one HTML file: what `docruns report` does.

    Returns its size in bytes. `dataset` is by default the only one of the file, or the first by name.
    """
    # it draws charts, and no other call does
    from ...models.report.page import write_report

    require_database(Target("", Path(database)))
    return write_report(Path(database), dataset, Path(output))


def _as_text(at: str | date | None) -> str | None:
    return at.isoformat() if isinstance(at, date) else at
