"""`--metrics-file`: the figures of a load for Prometheus, and the dashboard that shows them."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

import docruns
from docruns.commands.calls.metrics_file import METRICS
from docruns.core.errors import ConfigError, RefusedError
from docruns.sandbox import Sandbox

DASHBOARD = next(folder for folder in Path(__file__).parents if (folder / "pyproject.toml").exists()) / (
    "pipelines/grafana-dashboard.json"
)


def read(path: Path) -> dict[str, float]:
    """Values by metric, and by `metric label` where there is a label beyond provider and dataset."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(path.read_text()):
        assert family.type == "gauge" and family.documentation == METRICS[family.name]
        for sample in family.samples:
            assert (sample.labels.pop("provider"), sample.labels.pop("dataset")) == ("extend", "extend")
            found[" ".join([sample.name, *sample.labels.values()])] = sample.value
    return found


def test_a_load_writes_its_figures(few_runs: Sandbox, tmp_path: Path) -> None:
    """The file has each figure of the summary, at the end and after each package, and what is known stays."""
    path = tmp_path / "extend.prom"
    options: dict[str, Any] = {"base_url": few_runs.extend_url, "metrics_file": path}
    seen: list[dict[str, float]] = []
    summary = docruns.load("extend", **options, chunk_runs=5, on_package=lambda _: seen.append(read(path)))
    found = read(path)
    assert {name.split()[0] for name in found} == set(METRICS)
    assert found["docruns_load_requests"] == summary.requests
    assert found["docruns_load_runs fetched"] == summary.fetched > 0
    assert found["docruns_load_rows fields"] == summary.rows["fields"]
    assert (found["docruns_load_running"], found["docruns_load_complete"]) == (0, 1)
    assert found["docruns_load_exit_code"] == 0
    assert [each["docruns_load_running"] for each in seen] == [1] * len(seen)
    marks = [each["docruns_watermark_timestamp_seconds"] for each in seen]
    assert marks == sorted(marks) and marks[0] < marks[-1] == found["docruns_watermark_timestamp_seconds"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    few_runs.fault("status", status=401)
    with pytest.raises(RefusedError):
        docruns.load("extend", **options)
    few_runs.clear_faults()
    failed = read(path)
    assert (failed["docruns_load_exit_code"], failed["docruns_load_running"]) == (4, 0)
    for name in ("docruns_last_success_timestamp_seconds", "docruns_watermark_timestamp_seconds"):
        assert failed[name] == found[name]
    assert failed["docruns_last_load_timestamp_seconds"] > found["docruns_last_load_timestamp_seconds"]
    assert sorted(each.name for each in tmp_path.glob("*.prom*")) == ["extend.prom"]


def test_a_file_that_cannot_be_written() -> None:
    """It is an error before anything is loaded."""
    with pytest.raises(ConfigError, match=r"--metrics-file: none/x\.prom cannot be written \(No such file"):
        docruns.load("extend", base_url="http://127.0.0.1:9", metrics_file="none/x.prom")


def test_the_dashboard_shows_every_metric() -> None:
    """Its queries name each metric of the file, and no other."""
    board = json.loads(DASHBOARD.read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    assert set(re.findall(r"docruns_\w+", " ".join(queries))) == set(METRICS)
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
