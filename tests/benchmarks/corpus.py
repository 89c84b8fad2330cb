"""The sandbox's answers, written to files once, so that every measurement has the same input bytes.

    heavy-20000-7/
      runs.jsonl       workflow runs in full, one per line, oldest change first
      <list>.jsonl     rows of the lists that docruns reads, newest change first
      catalogue.jsonl  {"path": "/extractors", "body": {…}}
      index.json       the end of each line, and the workflow run it belongs to
      changed/         the same for one run in a hundred, after another review

Every run has ended, and every object belongs to a workflow run: a rival that reads only workflow runs reads
everything. The first N runs are a corpus too.

corpus.py SIZE RUNS FOLDER [SEED]     write a corpus
"""

from __future__ import annotations

import json
import os
import sys
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

SEED = 7
LISTS = (
    "workflow_runs",
    "extract_runs",
    "classify_runs",
    "split_runs",
    "parse_runs",
    "edit_runs",
    "verify_runs",
)
PAGE_SIZE = 1000

_NESTED = ("extractRun", "classifyRun", "splitRun", "parseRun")
_CATALOGUE = ("workflows", "extractors", "classifiers", "splitters")


class Lines:
    """A file of lines that are read from disk on request; none of them stays in memory."""

    def __init__(self, path: Path, ends: Iterable[int]) -> None:
        self._file = os.open(path, os.O_RDONLY)
        self._ends = array("Q", ends)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, number: int) -> bytes:
        """A line without its line end."""
        start = self._ends[number - 1] if number else 0
        return os.pread(self._file, self._ends[number] - start - 1, start)


class Corpus:
    """The oldest `runs` workflow runs of a corpus, and their rows in all lists."""

    def __init__(self, folder: Path, runs: int | None = None) -> None:
        index = json.loads((folder / "index.json").read_text())
        self.ids: list[str] = index["ids"][:runs]
        self.numbers: list[int] = index["numbers"][:runs]
        """The position of each run in the whole corpus."""
        self._place = {id_: place for place, id_ in enumerate(self.ids)}
        self._details = Lines(folder / "runs.jsonl", index["runs"])
        known = set(self.numbers)
        self._lists = {}
        for name in LISTS:
            ends, owners = index["lists"][name]
            chosen = array("L", [row for row, owner in enumerate(owners) if owner in known])
            self._lists[name] = (
                Lines(folder / f"{name}.jsonl", ends),
                chosen,
                array("L", owners),
            )
        lines = (folder / "catalogue.jsonl").read_bytes().splitlines()
        self._catalogue = {json.loads(line)["path"]: line for line in lines}

    @property
    def bytes(self) -> int:
        """The size of all workflow runs in full."""
        return sum(len(self._details[place]) for place in range(len(self.ids)))

    def detail(self, run_id: str) -> bytes | None:
        """A workflow run in full."""
        place = self._place.get(run_id)
        return None if place is None else self._details[place]

    def rows(self, name: str, but: Iterable[int] = ()) -> tuple[Lines, array[int]]:
        """The rows of a list, as positions in its file, without the rows of the runs in `but`."""
        lines, chosen, owners = self._lists[name]
        without = set(but)
        return lines, array("L", [row for row in chosen if owners[row] not in without])

    def catalogue(self, path: str) -> bytes:
        """The answer at a catalogue path."""
        line = self._catalogue.get(path)
        return json.dumps(json.loads(line)["body"]).encode() if line else b'{"data":[]}'


class Answers:
    """A platform that answers from a corpus; with a second corpus, the runs in it have changed."""

    def __init__(self, base: Corpus, changed: Corpus | None = None) -> None:
        self._all = [changed, base] if changed else [base]
        moved = changed.numbers if changed else []
        # the changed runs come first
        self._lists = {
            name: [corpus.rows(name, moved if corpus is base else ()) for corpus in self._all]
            for name in LISTS
        }

    def get(self, path: str, token: str | None) -> bytes:
        """The body of a GET."""
        name, _, run_id = path.strip("/").partition("/")
        if name not in LISTS:
            return self._all[-1].catalogue(path)
        if run_id:
            found = (corpus.detail(run_id) for corpus in self._all)
            return next(body for body in found if body is not None)
        start = int(token or 0)
        end = min(start + PAGE_SIZE, sum(len(places) for _, places in self._lists[name]))
        rows = b",".join([self._row(name, number) for number in range(start, end)])
        more = b'"%d"' % end if end == start + PAGE_SIZE else b"null"
        return b'{"object":"list","data":[%b],"nextPageToken":%b}' % (rows, more)

    def _row(self, name: str, number: int) -> bytes:
        for lines, places in self._lists[name]:
            if number < len(places):
                return lines[places[number]]
            number -= len(places)
        raise IndexError(number)


class _Written:
    """A file of lines during writing."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self.ends: list[int] = []

    def add(self, line: bytes) -> None:
        assert b"\n" not in line
        self._file.write(line + b"\n")
        self.ends.append(self._file.tell())

    def __enter__(self) -> _Written:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def write(size: str, runs: int, folder: Path, seed: int = SEED) -> None:
    """Generate a platform, read all of it, then review one run in a hundred again and read those."""
    from docruns.sandbox import Sandbox

    with Sandbox(
        runs, seed=seed, document_size=size, standalone=0, plextera_runs=0
    ) as sandbox, _client(sandbox.extend_url) as client:  # fmt: skip
        sandbox.extend.finish()
        waiting = [row["id"] for row in _rows(client, "/workflow_runs", status="NEEDS_REVIEW")]
        if waiting:
            sandbox.extend.review(waiting)
        ids = _read(client, folder)
        numbers = {id_: number for number, id_ in enumerate(ids)}
        reviewed = sandbox.extend.review(max(1, runs // 100))
        _read(client, folder / "changed", numbers, reviewed)


def _client(url: str) -> Any:
    import httpx

    headers = {"authorization": "Bearer bench", "x-extend-api-version": "2026-02-09"}
    return httpx.Client(base_url=url, headers=headers, timeout=600)


def _rows(client: Any, path: str, **params: Any) -> Iterator[Any]:
    """All rows of a list as objects."""
    token: dict[str, str] = {}
    while True:
        # lists without sorting ignore the last two
        asked = {"maxPageSize": PAGE_SIZE, "limit": PAGE_SIZE, "sortBy": "updatedAt", **params}
        page = client.get(path, params={**asked, **token}).raise_for_status().json()
        yield from page["data"]
        if not page.get("nextPageToken"):
            return
        token = {"nextPageToken": page["nextPageToken"]}


def _read(
    client: Any,
    folder: Path,
    numbers: dict[str, int] | None = None,
    only: Iterable[str] | None = None,
) -> list[str]:
    """Write all or some runs; returns their ids, oldest change first."""
    folder.mkdir(parents=True)
    chosen = None if only is None else set(only)
    listed = [
        row
        for row in _rows(client, "/workflow_runs", sortDir="desc")
        if chosen is None or row["id"] in chosen
    ]
    ids = [row["id"] for row in reversed(listed)]
    known = numbers or {id_: number for number, id_ in enumerate(ids)}
    owners = {id_: known[id_] for id_ in ids}
    index: dict[str, Any] = {"ids": ids, "numbers": list(owners.values()), "lists": {}}
    with _Written(folder / "runs.jsonl") as runs:
        for id_ in ids:
            body = client.get(f"/workflow_runs/{id_}").raise_for_status().content
            runs.add(body)
            for step in json.loads(body)["stepRuns"]:
                inside = (step.get("result") or {}).get
                owners.update({run["id"]: known[id_] for key in _NESTED if (run := inside(key))})
        index["runs"] = runs.ends
    for name in LISTS:
        with _Written(folder / f"{name}.jsonl") as file:
            whose = []
            for row in _rows(client, f"/{name}", sortDir="desc"):
                if (owner := owners.get(row["id"])) is not None:
                    file.add(json.dumps(row, separators=(",", ":")).encode())
                    whose.append(owner)
            index["lists"][name] = [file.ends, whose]
    with _Written(folder / "catalogue.jsonl") as file:
        for path, body in _catalogue(client):
            file.add(json.dumps({"path": path, "body": body}).encode())
    (folder / "index.json").write_text(json.dumps(index))
    return ids


def _catalogue(client: Any) -> Iterator[tuple[str, Any]]:
    """The configuration: each list, entry and version."""
    for name in _CATALOGUE:
        yield f"/{name}", client.get(f"/{name}", params={"maxPageSize": PAGE_SIZE}).json()
        for entry in _rows(client, f"/{name}", sortBy="createdAt"):
            path = f"/{name}/{entry['id']}"
            yield path, client.get(path).json()
            yield f"{path}/versions", client.get(f"{path}/versions").json()
            for version in _rows(client, f"{path}/versions", sortBy="createdAt"):
                below = f"{path}/versions/{version['id']}"
                yield below, client.get(below).json()


if __name__ == "__main__":
    write(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), *map(int, sys.argv[4:]))
