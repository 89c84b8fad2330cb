"""Run the jobs of `pipelines/` as their schedulers do.

    make test-jobs

`JOBS` is the folder of an environment that has this project and one scheduler, whose name is the argument: `dagster` or
`airflow`. Without an argument: cron, systemd, GitHub Actions and the container file.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from docruns.sandbox import Sandbox

ROOT = Path(__file__).parents[2]
PIPELINES = ROOT / "pipelines"
HOME = "/srv/docruns"


def run(*command: str, **how: object) -> str:
    """The output of a command. Exits where it fails."""
    ended = subprocess.run(command, capture_output=True, text=True, check=False, **how)  # type: ignore[call-overload]
    if ended.returncode:
        sys.exit(
            f"{' '.join(command)}: exit code {ended.returncode}\n{ended.stdout[-8000:]}\n{ended.stderr[-8000:]}"
        )
    return str(ended.stdout)


def on_cron(folder: Path) -> None:
    """Each line runs in cron's environment, which is nearly empty, with the settings in .dlt/."""
    (folder / ".venv").symlink_to(ROOT / ".venv")
    (folder / ".dlt").mkdir()
    with Sandbox(runs=12, plextera_runs=0, seed=5) as platform:
        settings = f'[sources.extend]\nbase_url = "{platform.extend_url}"\n'
        (folder / ".dlt" / "config.toml").write_text(settings)
        lines = re.findall(r"^\d\S* \S+ \S+ \S+ \S+  (.+)$", (PIPELINES / "crontab").read_text(), re.M)
        for line in lines:
            command = line.replace(HOME, str(folder))
            environment = [f"HOME={folder}", "PATH=/usr/bin:/bin", "SHELL=/bin/sh"]
            said = run("env", "-i", *environment, "/bin/sh", "-c", command)
            assert said == "", said
    found = sorted(path.name for path in folder.iterdir())
    assert {"docruns.duckdb", "extend.prom", "load.log", "doctor.txt"} <= set(found), found
    print(f"cron: {len(lines)} lines run", flush=True)


def on_systemd(folder: Path) -> None:
    """`systemd-analyze verify` accepts the units, with the command of this checkout."""
    if shutil.which("systemd-analyze") is None:
        print("systemd: skipped, there is no systemd-analyze", flush=True)
        return
    names = [f"docruns-extend.{kind}" for kind in ("service", "timer")]
    for name in names:
        (folder / name).write_text((PIPELINES / name).read_text().replace(f"{HOME}/.venv", f"{ROOT}/.venv"))
    run("systemd-analyze", "verify", *(str(folder / name) for name in names))
    print("systemd: both units are valid", flush=True)


def on_github() -> None:
    """The workflow fits GitHub's schema."""
    check = str(ROOT / ".venv" / "bin" / "check-jsonschema")
    run(check, "--builtin-schema", "vendor.github-workflows", str(PIPELINES / "github-actions.yml"))
    print("GitHub Actions: the workflow fits the schema", flush=True)


def on_container() -> None:
    """The container file has instructions that exist, a user, and a health command. Nothing here can build it."""
    text = (PIPELINES / "Containerfile").read_text().replace("\\\n", " ")
    lines = [line.split()[0] for line in text.splitlines() if line and not line.startswith("#")]
    known = {"FROM", "COPY", "RUN", "ENV", "USER", "WORKDIR", "VOLUME", "HEALTHCHECK", "ENTRYPOINT", "CMD"}
    assert set(lines) == known, set(lines) ^ known
    assert lines.index("USER") < lines.index("ENTRYPOINT")
    print("container: the file is well-formed", flush=True)


def on_scheduler(name: str, folder: Path) -> None:
    """Run `on_<name>.py` in the environment of the scheduler."""
    bin = Path(os.environ["JOBS"]).absolute() / "bin"
    environment = {
        **os.environ,
        "PATH": f"{bin}:{os.environ['PATH']}",
        "DLT_DATA_DIR": str(folder / "dlt"),
        "DOCRUNS_DATABASE": str(folder / "docruns.duckdb"),
        "DOCRUNS_FIRST_MONTH": "2026-04-01",
        "DOCRUNS_RETRY_S": "1",
        "PYTHONPATH": str(ROOT / "tests"),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "AIRFLOW_HOME": str(folder / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
        "AIRFLOW__CORE__DAGS_FOLDER": str(PIPELINES),
    }
    if name == "airflow":
        for command in ("db migrate", "pools set docruns 1 one", "dags reserialize"):
            run(str(bin / "airflow"), *command.split(), env=environment, cwd=folder)
    script = Path(__file__).with_name(f"on_{name}.py")
    said = run(str(bin / "python"), str(script), env=environment, cwd=folder)
    print(
        *[f"{name}: {line[3:]}" for line in said.splitlines() if line.startswith("=> ")], sep="\n", flush=True
    )


def main() -> None:
    """Exits with an error where a job does not do what it says."""
    with tempfile.TemporaryDirectory(prefix="docruns-jobs-") as temporary:
        folder = Path(temporary)
        if sys.argv[1:]:
            on_scheduler(sys.argv[1], folder)
            return
        on_github()
        on_container()
        on_systemd(folder)
        on_cron(folder)


if __name__ == "__main__":
    main()
