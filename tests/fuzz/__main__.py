"""Search for answers that break a reader, led by coverage: python -m fuzz --seconds 60, below tests/.

Each reader gets its part of the time in a process of its own, beginning with the examples. What breaks one is
saved in fuzz/found/READER, where tests/test_fuzz.py reads it from then on. Ends with 0 where nothing was
found, 1 where something was, 2 where atheris is missing (`uv sync --group fuzz`) or was interrupted.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

LONGEST = 64 * 1024
"""The largest input, in bytes: enough for any shape, and to find work that grows faster than its input."""

INTERRUPTED = 72
"""libFuzzer's exit code after an interrupt."""

MEGABYTES = 1500
"""The memory limit of the process: an input that takes more counts as a finding."""


def main() -> int:
    """Fuzz each reader in turn."""
    asked = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    asked.add_argument("readers", nargs="*", help="which readers; default: all")
    asked.add_argument("--seconds", type=int, default=60, help="for all readers together")
    asked.add_argument("--corpus", type=Path, help="a folder that keeps what was learnt")
    arguments = asked.parse_args()
    if importlib.util.find_spec("atheris") is None:
        print("atheris is not installed: uv sync --group fuzz", file=sys.stderr)
        return 2
    from . import target

    names = arguments.readers or list(target.READERS)
    if unknown := set(names) - target.READERS.keys():
        asked.error(f"no reader {min(unknown)}; there are {', '.join(target.READERS)}")
    with tempfile.TemporaryDirectory() as temporary:
        codes = [
            fuzz(name, (arguments.corpus or Path(temporary)) / name, arguments.seconds // len(names))
            for name in names
        ]
    print(f"something was found, see {target.FOUND}" if 1 in codes else "nothing was found")
    return 1 if 1 in codes else max(codes)


def fuzz(name: str, corpus: Path, seconds: int) -> int:
    """Fuzz one reader: 0 without a finding, 1 with one, 2 after an interrupt."""
    from . import target

    corpus.mkdir(parents=True, exist_ok=True)
    found = target.FOUND / name
    found.mkdir(parents=True, exist_ok=True)
    for kind, body in target.seeds():
        if kind == name:
            (corpus / hashlib.sha256(body).hexdigest()[:16]).write_bytes(body)
    words = corpus.with_suffix(".dict")
    words.write_text(dictionary(name))
    options = [
        f"-max_total_time={max(seconds, 1)}", f"-max_len={LONGEST}", f"-rss_limit_mb={MEGABYTES}", "-timeout=120",
        f"-artifact_prefix={found}/", f"-dict={words}", "-print_final_stats=1", "-verbosity=0",
    ]  # fmt: skip
    child = [sys.executable, "-m", "fuzz.child", name, *options, str(corpus)]
    started = time.monotonic()
    ended = subprocess.run(child, stderr=subprocess.PIPE, text=True, check=False)
    stats = dict(
        line.removeprefix("stat::").split(":", 1)
        for line in ended.stderr.splitlines()
        if line.startswith("stat::")
    )
    runs = int(stats.get("number_of_executed_units", "0"))
    took = time.monotonic() - started
    print(f"{name}: {runs:,} inputs in {took:.0f} s, {runs / took:,.0f} a second, exit {ended.returncode}")
    if ended.returncode != 0:
        print(ended.stderr[-4000:], file=sys.stderr)
    if not any(found.iterdir()):
        found.rmdir()
    return {0: 0, INTERRUPTED: 2}.get(ended.returncode, 1)


def dictionary(name: str) -> str:
    """The words of the examples in libFuzzer's dictionary format."""
    from . import target

    words: set[str] = {
        "null",
        "true",
        "[]",
        "{}",
        "[[",
        '"":',
        "\\u0000",
        "\\ud800",
        "1e999",
        "9" * 20,
        '"a.b"',
        '"]"',
    }
    waiting: list[Any] = [json.loads(body) for kind, body in target.seeds() if kind == name]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            words.update(f'"{key}":' for key in value)
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    quoted = (word.replace("\\", "\\\\").replace('"', '\\"') for word in sorted(words))
    return "".join(f'"{word}"\n' for word in quoted if word.isascii())


if __name__ == "__main__":
    sys.exit(main())
