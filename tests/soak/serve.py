"""Both platforms with light documents: serve.py RUNS SEED prints the URL and serves until its stdin ends."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

from docruns.sandbox import Sandbox


def main() -> None:
    """Serve until stdin ends."""
    runs, seed = int(sys.argv[1]), int(sys.argv[2])
    # every change advances the sandbox's clock by seconds: it starts behind by less than the
    # overlap and ends ahead of the real time
    now = datetime.now(UTC) - timedelta(minutes=10)
    with Sandbox(runs, seed=seed, document_size="light", now=now) as sandbox:
        print(sandbox.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
