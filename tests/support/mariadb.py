"""A MariaDB server of its own for tests, from Debian's package mariadb-server."""

from __future__ import annotations

import getpass
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

PROGRAM = "mariadbd"
PATIENCE_S = 60


def is_installed() -> bool:
    """Whether the server can be started on this machine."""
    return all(map(shutil.which, (PROGRAM, "mariadb-install-db")))


@contextmanager
def running_server(folder: Path, *options: str) -> Iterator[Path]:
    """The socket of a server that runs inside this context; the user root needs no password."""
    user, data, socket = getpass.getuser(), folder / "data", folder / "s"
    folder.mkdir(parents=True, exist_ok=True)
    common = ["--no-defaults", f"--datadir={data}"]
    install = ["mariadb-install-db", *common, "--auth-root-authentication-method=normal", f"--user={user}"]
    subprocess.run([*install, "--skip-test-db"], check=True, capture_output=True)
    command = [PROGRAM, *common, f"--user={user}", f"--socket={socket}", "--skip-networking", *options]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, "--innodb-buffer-pool-size=64M"], stdout=log, stderr=log)
    try:
        give_up = time.monotonic() + PATIENCE_S
        while not socket.exists():
            assert process.poll() is None and time.monotonic() < give_up, (folder / "log").read_text()
            time.sleep(0.1)
        yield socket
    finally:
        process.terminate()
        process.wait()


def url_of(socket: Path) -> str:
    """The address of a server for SQLAlchemy."""
    return f"mysql+pymysql://root@localhost/mysql?unix_socket={socket}"


def rows(socket: Path, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    """The rows that MariaDB returns for a query."""
    import pymysql

    with closing(pymysql.connect(user="root", unix_socket=str(socket))) as connection:
        with connection.cursor() as cursor:
            cursor.execute(sql, values or None)
            found = list(cursor.fetchall())
        connection.commit()
        return found
