"""Loads in processes of their own that need not import the command anew: it is imported once, then forked.

A line of JSON in: {"folder", "arguments", "environment", "point"}; a line out: the exit code, -9 for killed.
With a point (see `points`) the load kills itself there.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

GIVE_UP_S = 180


def main() -> None:
    """Serve until stdin ends."""
    import docruns.extend
    import docruns.load
    from docruns import cli

    assert docruns.extend, docruns.load
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            _load(cli, asked)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _load(cli: Any, asked: dict[str, Any]) -> None:
    code = 1
    try:
        signal.alarm(GIVE_UP_S)
        os.chdir(asked["folder"])
        os.environ.clear()
        os.environ.update(asked["environment"])
        for name, stream in (("out", 1), ("err", 2)):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), stream)
        if asked["point"]:
            # beside this script, whatever the working directory is
            sys.path.insert(0, str(Path(__file__).parents[1]))
            from proofs.points import arm

            arm(asked["point"])
        sys.argv = ["docruns", *asked["arguments"]]
        cli.main()
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    except Exception:  # noqa: BLE001 - the process that asked is told
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
