"""Both platforms, light documents: serve.py RUNS SEED prints the address and serves until its stdin ends."""

from __future__ import annotations

import sys

from docruns.sandbox import Sandbox


def main() -> None:
    """Serve as long as somebody holds the other end of stdin."""
    runs, seed = int(sys.argv[1]), int(sys.argv[2])
    with Sandbox(runs, seed=seed, document_size="light") as sandbox:
        print(sandbox.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
