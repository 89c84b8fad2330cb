"""The figures of the last load as a file in Prometheus' text format, for example for node_exporter's textfile collector.

    # HELP docruns_watermark_timestamp_seconds All changes up to this time are loaded.
    # TYPE docruns_watermark_timestamp_seconds gauge
    docruns_watermark_timestamp_seconds{provider="extend",dataset="extend"} 1790337959.3

The file is replaced in one step: when a load begins, after each package, and when it ends, also with an error. It holds
no content of documents, so everybody may read it. All figures are gauges: they are about one load, or the dataset.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Self

from ...core.errors import DocrunsError
from ...store.process.outputs import replacement
from ..load import Package, Summary

KEY = "--metrics-file"

METRICS = {
    "docruns_load_running": "1 while a load is at work, 0 after it.",
    "docruns_load_exit_code": "Exit code of the last load that ended: 0 all is loaded, 3 runs are missing, others failed.",
    "docruns_load_complete": "1 where the load left nothing to do.",
    "docruns_load_runs": "Runs of the load, by outcome.",
    "docruns_load_rows": "Rows that the load wrote, by table.",
    "docruns_load_requests": "Requests that the load sent.",
    "docruns_load_refusals": "Requests that the platform refused with 429.",
    "docruns_load_retries": "Requests that were sent again.",
    "docruns_load_throttled_seconds": "Seconds in which the platform allowed no requests.",
    "docruns_load_left_out_lists": "Lists that could not be read, or may lack runs.",
    "docruns_load_seconds": "Seconds that the load took.",
    "docruns_quarantine_runs": "Runs of the dataset that could not be loaded.",
    "docruns_unfinished_runs": "Workflow runs of the dataset that are not final.",
    "docruns_watermark_timestamp_seconds": "All changes up to this time are loaded.",
    "docruns_lag_seconds": "Seconds from the watermark to the moment when this file was written.",
    "docruns_last_load_timestamp_seconds": "When the last load ended.",
    "docruns_last_success_timestamp_seconds": "When the last load that is complete ended.",
}
"""Every metric that a file can hold, with its meaning."""

_KEPT = {name for name in METRICS if not name.startswith("docruns_load_")} | {"docruns_load_exit_code"}
"""What stays from load to load: it is about the dataset."""
_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
_OUTCOMES = ("listed", "fetched", "unchanged", "quarantined", "gone")

Samples = dict[tuple[str, str], float]
"""Values by metric and label beyond provider and dataset, such as `table="fields"`."""


class MetricsFile:
    """The file of one dataset. ConfigError where it cannot be written."""

    def __init__(self, path: Path, provider: str, dataset: str) -> None:
        self._path = path
        self._labels = f'provider="{provider}",dataset="{dataset}"'
        self._samples: Samples = {}
        with suppress(OSError):
            found = _SAMPLE.findall(path.read_text())
            self._samples = {
                (name, ""): float(value)
                for name, labels, value in found
                if name in _KEPT and labels == self._labels
            }

    @classmethod
    @contextmanager
    def or_none(cls, path: Path | str | None, provider: str, dataset: str) -> Iterator[Self | None]:
        """The file while a load is at work; None where none is wanted. An error's exit code is written too."""
        if path is None:
            yield None
            return
        metrics = cls(Path(path), provider, dataset)
        metrics._write({("docruns_load_running", ""): 1})
        try:
            yield metrics
        except BaseException as error:
            code = error.exit_code if isinstance(error, DocrunsError) else 1
            metrics._end(code)
            raise

    def write_package(self, package: Package) -> None:
        """Write the figures of a load that goes on."""
        counted = {
            "docruns_quarantine_runs": package.quarantine,
            "docruns_unfinished_runs": package.unfinished,
        }
        of_dataset = {(name, ""): number for name, number in counted.items() if number is not None}
        self._write({**_of_load(package.summary), **of_dataset})

    def write_end(self, summary: Summary) -> None:
        """Write the figures of a load that has ended."""
        self._samples.update(_of_load(summary))
        if summary.complete and not summary.exit_code:
            self._samples["docruns_last_success_timestamp_seconds", ""] = time.time()
        self._end(summary.exit_code)

    def _end(self, exit_code: int) -> None:
        self._write(
            {
                ("docruns_load_running", ""): 0,
                ("docruns_load_exit_code", ""): exit_code,
                ("docruns_last_load_timestamp_seconds", ""): time.time(),
            }
        )

    def _write(self, samples: Samples) -> None:
        self._samples.update(samples)
        watermark = self._samples.get(("docruns_watermark_timestamp_seconds", ""))
        if watermark is not None:
            self._samples["docruns_lag_seconds", ""] = time.time() - watermark
        text = self._as_text()
        with replacement(self._path, KEY) as part:
            part.write_text(text)
            part.chmod(0o644)

    def _as_text(self) -> str:
        lines: list[str] = []
        for name, meaning in METRICS.items():
            found = [(label, value) for (metric, label), value in self._samples.items() if metric == name]
            if found:
                lines += [f"# HELP {name} {meaning}", f"# TYPE {name} gauge"]
            for label, value in found:
                labels = f"{self._labels},{label}" if label else self._labels
                lines.append(f"{name}{{{labels}}} {value:.15g}")
        return "\n".join([*lines, ""])


def _of_load(summary: Summary) -> Samples:
    samples: Samples = {
        ("docruns_load_complete", ""): summary.complete,
        ("docruns_load_requests", ""): summary.requests,
        ("docruns_load_refusals", ""): summary.refusals,
        ("docruns_load_retries", ""): summary.retries,
        ("docruns_load_throttled_seconds", ""): summary.throttled_s,
        ("docruns_load_left_out_lists", ""): len({*summary.left_out, *summary.incomplete_lists}),
        ("docruns_load_seconds", ""): summary.seconds,
    }
    for outcome in _OUTCOMES:
        samples["docruns_load_runs", f'outcome="{outcome}"'] = getattr(summary, outcome)
    for table, rows in summary.rows.items():
        samples["docruns_load_rows", f'table="{table}"'] = rows
    if summary.watermark is not None:
        at = datetime.fromisoformat(summary.watermark).timestamp()
        samples["docruns_watermark_timestamp_seconds", ""] = at
    return samples
