"""A platform of light documents in a separate process, so that a load's memory and CPU can be measured.

serve.py RUNS [LATENCY]     prints its URL and serves until its stdin ends
"""

from __future__ import annotations

import sys

from docruns.sandbox import Sandbox


def main() -> None:
    """Serve until stdin ends."""
    runs, latency = int(sys.argv[1]), float(sys.argv[2])
    with Sandbox(runs, document_size="light", latency=latency, plextera_runs=0) as sandbox:
        print(sandbox.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
