"""docruns on a corpus: its source, its client's redaction and checks, its complete load; no socket.

The client is docruns's own with one method replaced, the one that sends a request to the network: it answers
from the corpus at once. Only the request budget and the transport are left out.

replay.py CORPUS DATABASE [--runs N] [--after] [--chunk-runs N] [--archive FOLDER]
    prints {"seconds": …, "runs": …}: the load without imports and without opening the corpus
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import Future
from pathlib import Path

from benchmarks.corpus import Answers, Corpus
from docruns.commands.load import load_runs
from docruns.core.settings import CHUNK_RUNS
from docruns.net.client import Client
from docruns.net.messages import Outcome, Reply, Request
from docruns.providers import settings
from docruns.providers.extend import connect_extend
from docruns.store.duckdb.heap import limit_arenas
from docruns.store.process.memory import hide_pandas
from docruns.store.target import Target

ANSWERS: list[Answers] = []


class FromDisk(Client):
    """Answers without a network."""

    def __enter__(self) -> FromDisk:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def _dispatch(self, request: Request, is_ahead: bool) -> Future[Outcome]:
        token = dict(request.params).get("nextPageToken")
        body = ANSWERS[0].get(request.path, None if token is None else str(token))
        body = self._redact(body)
        self._check(body, str(request))
        self.usage.requests += 1
        self.usage.bytes += len(body)
        future: Future[Outcome] = Future()
        future.set_result(Reply(body, {}))
        return future


def main() -> None:
    """Run one load."""
    parser = argparse.ArgumentParser()
    parser.add_argument("corpus", type=Path)
    parser.add_argument("database", type=Path)
    parser.add_argument("--runs", type=int, help="number of the corpus's oldest runs; default: all")
    parser.add_argument("--after", action="store_true", help="use the changed runs")
    parser.add_argument("--archive", help="folder that keeps the answers")
    parser.add_argument("--chunk-runs", type=int, default=CHUNK_RUNS)
    asked = parser.parse_args()
    # the same settings as in the command
    limit_arenas()
    changed = Corpus(asked.corpus / "changed") if asked.after else None
    ANSWERS.append(Answers(Corpus(asked.corpus, asked.runs), changed))
    # where sources take their clients from
    vars(settings)["Client"] = FromDisk
    started = time.perf_counter()
    platform = connect_extend(
        base_url="http://127.0.0.1:9", chunk_runs=asked.chunk_runs, archive=asked.archive
    )
    with hide_pandas():
        summary = load_runs(platform, Target("extend", asked.database))
    seconds = time.perf_counter() - started
    assert summary.complete and not summary.quarantined, summary
    print(json.dumps({"seconds": seconds, "runs": summary.fetched, "rows": summary.rows}))


if __name__ == "__main__":
    main()
