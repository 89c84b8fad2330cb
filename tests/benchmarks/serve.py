"""A platform in a process of its own, so that what a client takes is its own; all runs have ended.

serve.py RUNS SIZE LATENCY      prints its address, serves until its stdin ends; seconds a request
"""

from __future__ import annotations

import sys

from docruns.sandbox import Sandbox


def main() -> None:
    """Serve as long as somebody holds the other end of stdin."""
    runs, size, latency = int(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    with Sandbox(
        runs, document_size=size, latency=latency, standalone=0, plextera_runs=0
    ) as sandbox:
        sandbox.extend.finish()
        print(sandbox.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
