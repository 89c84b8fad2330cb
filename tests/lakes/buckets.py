"""Lakes and archives in S3, apart from the rows that they hold (tests/destinations)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from destinations.matrix import docruns
from docruns.sandbox import Sandbox
from support import s3


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server whose keys are in the environment, as every program of AWS finds them."""
    with s3.running_server(tmp_path / "s3") as url:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3.KEY)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3.SECRET)
        monkeypatch.setenv("AWS_DEFAULT_REGION", s3.REGION)
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        yield url


def test_archive(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A load keeps its answers in a bucket; a replay from there makes the same rows, and the next load goes on."""
    place, loaded = f"s3://{s3.BUCKET}/answers", ("--database", str(tmp_path / "loaded.duckdb"))
    again = ("--database", str(tmp_path / "again.duckdb"))
    with Sandbox(runs=12, standalone=3, seed=5, document_size="light", plextera_runs=0) as sandbox:
        monkeypatch.setenv("SOURCES__EXTEND__BASE_URL", sandbox.extend_url)
        fetched = docruns("load", "extend", *loaded, "--archive", place)["fetched"]
        assert fetched >= 12
        sandbox.extend.review(3)
        assert docruns("load", "extend", *loaded, "--archive", place)["fetched"] == 3
        sandbox.stats.reset()
        docruns("replay", "extend", *again, "--archive", place)
        assert sandbox.stats.requests == 0
        assert docruns("verify", "extend", *again, "--against", str(tmp_path / "loaded.duckdb"))["equal"]
        assert docruns("load", "extend", *again)["fetched"] == 0
    kept = s3.files(server).find(f"{s3.BUCKET}/answers")
    assert sum(path.endswith(".parquet") for path in kept) >= 2
