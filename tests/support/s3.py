"""An S3 of its own for tests: moto's server, in a process of its own."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BUCKET = "lake"
KEY, SECRET, REGION = "tester", "none", "eu-central-1"
PATIENCE_S = 60


@contextmanager
def running_server(folder: Path) -> Iterator[str]:
    """The URL of a server that runs inside this context, with an empty bucket."""
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "log").open("wb") as log:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        give_up = time.monotonic() + PATIENCE_S
        while not _answers(port):
            assert process.poll() is None and time.monotonic() < give_up, (folder / "log").read_text()
            time.sleep(0.1)
        url = f"http://127.0.0.1:{port}"
        files(url).mkdir(BUCKET)
        yield url
    finally:
        process.terminate()
        process.wait()


def _answers(port: int) -> bool:
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) == 0


def files(url: str) -> Any:
    """The server's buckets as a file system."""
    import s3fs

    more = {"region_name": REGION}
    return s3fs.S3FileSystem(
        key=KEY, secret=SECRET, endpoint_url=url, client_kwargs=more, use_listings_cache=False
    )
