"""Commands in separate processes that need not import docruns: it is imported once, then forked.

Input is a line of JSON: {"folder", "arguments", "environment", "point", "signal", "file_bytes"}. Output is
one line with the process id when the process runs, and one when it has ended: exit code (-9 for killed), CPU
seconds, peak memory in MB.

With a point (see `points`) the process sends the signal to itself there. `file_bytes` is the maximum size of
any file of the process, like a full disk or a quota; `open_files` is the maximum number of open files. `retry`
has other arguments for `messages.Retry`, in its order. With `all_logs`, stderr has all logs of all libraries.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

GIVE_UP_S = 180

# modules that a load imports later: a second per process
NEEDED = (
    "docruns.providers.extend",
    "docruns.providers.plextera",
    "docruns.commands.load",
    "docruns.commands.health.check",
    "docruns.commands.health.status",
    "docruns.commands.reconcile.sweep",
    "docruns.commands.reconcile.verify",
    "docruns.commands.cli.progress",
    "dlt.common.configuration.plugins",
    "dlt.common.libs.pyarrow",
    "dlt.common.libs.sql_alchemy_compat",
    "dlt.destinations.insert_job_client",
    "dlt.sources.helpers.requests",
    "pandas",
    "pendulum.locales.en.locale",
    "pyarrow.pandas_compat",
    "pyarrow.parquet",
)

_LOGGERS = ("httpx", "httpcore", "aiohttp", "asyncio", "dlt", "docruns", "urllib3")


def main() -> None:
    """Start processes until stdin ends."""
    from docruns.commands.cli import main as cli

    for name in NEEDED:
        importlib.import_module(name)
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            _run(cli, asked)
        print(child, flush=True)
        _, status, used = os.wait4(child, 0)
        unit = 1024 * 1024 if sys.platform == "darwin" else 1024
        cpu_s = used.ru_utime + used.ru_stime
        print(os.waitstatus_to_exitcode(status), cpu_s, used.ru_maxrss / unit, flush=True)


def _run(cli: Any, asked: dict[str, Any]) -> None:
    code = 1
    try:
        signal.alarm(GIVE_UP_S)
        # the requests on stdin are for the launcher, not for this process
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(asked["folder"])
        os.environ.clear()
        os.environ.update(asked["environment"])
        for name, stream in (("out", 1), ("err", 2)):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), stream)
        if asked["point"]:
            # import from this script's folder, whatever the working directory is
            sys.path.insert(0, str(Path(__file__).parents[1]))
            from proofs.points import arm

            arm(asked["point"], signal.Signals[f"SIG{asked.get('signal', 'KILL')}"])
        if asked.get("file_bytes"):
            resource.setrlimit(resource.RLIMIT_FSIZE, (asked["file_bytes"],) * 2)
        if asked.get("open_files"):
            resource.setrlimit(resource.RLIMIT_NOFILE, (asked["open_files"],) * 2)
        if asked.get("retry"):
            made, given = importlib.import_module("docruns.net.messages").Retry.__init__, asked["retry"]
            made.__defaults__ = (*given, *made.__defaults__[len(given) :])
        if asked.get("all_logs"):
            logging.basicConfig(level=logging.DEBUG)
            for logger in _LOGGERS:
                logging.getLogger(logger).setLevel(logging.DEBUG)
        sys.argv = ["docruns", *asked["arguments"]]
        cli.run()
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    except Exception:  # noqa: BLE001 - the error is reported to the parent process
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
