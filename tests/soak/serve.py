"""Both platforms, light documents: serve.py RUNS SEED prints the address and serves until its stdin ends."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

from docruns.sandbox import Sandbox


def main() -> None:
    """Serve as long as somebody holds the other end of stdin."""
    runs, seed = int(sys.argv[1]), int(sys.argv[2])
    # every change takes seconds there: its clock is behind at first, by less than the overlap, and ahead in the end
    now = datetime.now(UTC) - timedelta(minutes=10)
    with Sandbox(runs, seed=seed, document_size="light", now=now) as sandbox:
        print(sandbox.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
