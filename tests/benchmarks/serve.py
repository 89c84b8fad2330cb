"""A platform in a separate process, so that a client's resources can be measured; all runs have ended.

serve.py RUNS SIZE LATENCY      prints its URL and serves until its stdin ends; seconds per request
"""

from __future__ import annotations

import sys

from docruns.sandbox import Sandbox


def main() -> None:
    """Serve until stdin ends."""
    runs, size, latency = int(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    with Sandbox(runs, document_size=size, latency=latency, standalone=0, plextera_runs=0) as sandbox:
        sandbox.extend.finish()
        print(sandbox.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
