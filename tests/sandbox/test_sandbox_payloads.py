"""The sandbox's payloads compared with the API's example payloads: exactly the same keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from conftest import Client, rows, walk
from docruns.sandbox import Sandbox

EXAMPLES = Path(__file__).parents[1] / "support" / "payloads" / "extend"

# maps whose keys are the customer's own data
FREE = {
    "value",
    "metadata",
    "properties",
    "edits",
    "config",
    "data",
    "output",
    "initialOutput",
    "reviewedOutput",
    "schema",
}

# keys that the API declares optional: present or absent depending on the run
OPTIONAL = {
    ".usage.totalCredits", ".usage.breakdown", ".usage.breakdown[].charges", "[].usage.breakdown[].charges", ".failureReason", ".failureMessage", ".usage",
    ".reviewedBy", ".reviewedAt", ".rejectionNote", ".reviewedByUser", ".batchId", ".endTime", ".startTime", ".initialRunAt",
    ".result.rules[].validArray", ".result.rules[].error", ".result.rules[].failureReason", ".output.rules[].validArray",
    ".output.rules[].error", ".output.rules[].failureReason", ".reviewedOutput", ".initialOutput", ".metadata.parentSplit", ".parentFileId",
}  # fmt: skip


def keys(value: Any, path: str = "", free: set[str] = FREE) -> set[str]:
    """Every key path of a payload; positions in lists are merged, and the customer's own maps are left
    out."""
    if isinstance(value, list):
        return set().union(*(keys(item, f"{path}[]", free) for item in value)) if value else set()
    if not isinstance(value, dict):
        return set()
    found = set()
    for key, inner in value.items():
        found.add(f"{path}.{key}")
        if key not in free:
            found |= keys(inner, f"{path}.{key}", free)
    return found


def example(name: str) -> Any:
    return json.loads((EXAMPLES / f"{name}.json").read_text())


def assert_same_keys(ours: Any, theirs: Any, free: set[str] = FREE) -> None:
    have, want = keys(ours, free=free), keys(theirs, free=free)
    # a part that is null or empty on either side has no keys to compare
    odd = {path for path in have ^ want if not any(path.endswith(optional) for optional in OPTIONAL)}
    inside = {path for path in odd if _parent_is_bare(path, ours) or _parent_is_bare(path, theirs)}
    assert odd - inside == set(), (
        f"extra {sorted((odd - inside) & have)}, missing {sorted((odd - inside) & want)}"
    )


def _parent_is_bare(path: str, payload: Any) -> bool:
    here = [payload]
    parts = [part for part in path.replace("[]", ".[]").split(".") if part]
    for part in parts[:-1]:
        here = [
            item
            for value in here
            for item in (
                value
                if part == "[]" and isinstance(value, list)
                else [value.get(part)]
                if isinstance(value, dict)
                else []
            )
        ]
        here = [value for value in here if value not in (None, [], {})]
        if not here:
            return True
    return False


def details(http: httpx.Client, path: str, **params: Any) -> list[dict[str, Any]]:
    size = "limit" if path == "/parse_runs" else "maxPageSize"
    return [http.get(f"{path}/{row['id']}").json() for row in walk(http, path, size, **params)[:60]]


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("workflow_run.2026-02-09", "PROCESSED"),
        ("workflow_run.other_steps.2026-02-09", "PROCESSED"),
        ("workflow_run.failed.2026-02-09", "FAILED"),
        ("workflow_run.rejected.2026-02-09", "REJECTED"),
        ("workflow_run.pending.2026-02-09", "PENDING"),
    ],
)
def test_workflow_runs_have_the_keys_of_the_current_version(
    calm: Sandbox, client: Client, name: str, status: str
) -> None:
    """A full workflow run under 2026-02-09 has exactly the keys of the example, with null where a key does
    not apply."""
    theirs = example(name)
    steps = {step["stepType"]: step for step in theirs["stepRuns"]}
    found = list(details(client(calm), "/workflow_runs", status=status))
    assert found
    for ours in found:
        assert_same_keys({**ours, "stepRuns": []}, {**theirs, "stepRuns": []})
        for step in ours["stepRuns"]:
            if step["stepType"] in steps:
                assert_same_keys(step, steps[step["stepType"]], FREE - {"metadata"} | {"value", "metadata"})
    if status == "PROCESSED":
        assert steps.keys() <= {step["stepType"] for ours in found for step in ours["stepRuns"]}


@pytest.mark.parametrize(
    ("type", "name"),
    [
        ("extract", "extract_run.2026-02-09"),
        ("extract", "extract_run.reviewed.2026-02-09"),
        ("extract", "extract_run.multifile.2026-02-09"),
        ("extract", "extract_run.failed.2026-02-09"),
        ("classify", "classify_run.2026-02-09"),
        ("split", "split_run.2026-02-09"),
        ("parse", "parse_run.2026-02-09"),
    ],
)
def test_processor_runs_have_the_keys_of_the_current_version(
    calm: Sandbox, client: Client, type: str, name: str
) -> None:
    """Extract, classify, split and parse runs have exactly the documented keys, in the full object and in
    list rows."""
    http = client(calm)
    for ours in details(http, f"/{type}_runs"):
        assert_same_keys(ours, example(name))
    for row in walk(http, f"/{type}_runs", "limit" if type == "parse" else "maxPageSize"):
        assert_same_keys(row, example(f"list_{type}_runs.2026-02-09")["data"][0])


def test_outputs_have_the_keys_of_the_current_version(calm: Sandbox, client: Client) -> None:
    """An entry of output.metadata has the documented keys, citations and edits included, and its own key is a
    path into the value."""
    theirs = example("extract_run.reviewed.2026-02-09")
    entry = theirs["output"]["metadata"]["total"]
    edit = theirs["edits"]["po_number"]
    seen = set()
    for ours in details(client(calm), "/extract_runs"):
        output = ours["output"]
        if not output or output.keys() != {"value", "metadata"}:
            continue
        for inner in output["metadata"].values():
            assert keys(inner) <= keys(entry)
            seen |= keys(inner)
        for change in (ours["edits"] or {}).values():
            assert change is None or keys(change, free=set()) - keys(
                change["editedValue"], ".editedValue"
            ) - keys(change["originalValue"], ".originalValue") <= keys(edit)
    assert seen == keys(entry)


def test_legacy_outputs_are_flat_field_results(calm: Sandbox, client: Client) -> None:
    """Extractors with a fields-array configuration return a fields array in every version."""
    theirs = example("extract_run.legacy_output.2026-02-09")["output"]
    allowed = set().union(*(field.keys() for field in theirs.values()))
    legacy = [ours for ours in details(client(calm), "/extract_runs") if ours["config"].get("fields")]
    assert legacy
    for ours in legacy:
        for field in (ours["output"] or {}).values():
            assert {"id", "type", "value", "references"} <= field.keys() <= allowed
            for reference in field["references"]:
                assert reference.keys() == {"id", "fieldName", "page", "boundingBoxes"}


@pytest.mark.parametrize("version", ["2025-04-21", "2024-12-23", "2024-11-14"])
def test_old_workflow_runs_have_the_old_keys(calm: Sandbox, client: Client, version: str) -> None:
    """Before 2026-02-09 runs have an envelope and `outputs`, and keys that do not apply are absent instead of
    null."""
    name = {"2024-11-14": "v1"}.get(version, version)
    http = client(calm, version)
    theirs, summary = example(f"workflow_run.{name}"), example(f"list_workflow_runs.{name}")
    want = {output["type"]: output for output in theirs["workflowRun"]["outputs"]}
    for row in walk(http, "/workflow_runs"):
        assert row.keys() <= set().union(*(known.keys() for known in summary["workflowRuns"])) | {
            "rejectionNote"
        }
        assert None not in row.values()
    for ours in details(http, "/workflow_runs", status="PROCESSED"):
        run = ours["workflowRun"]
        assert None not in run.values()
        assert_same_keys(
            {**run, "outputs": [], "stepRuns": []},
            {**theirs["workflowRun"], "outputs": [], "stepRuns": []},
        )
        for output in run["outputs"]:
            if output["type"] in want:
                # a run without metadata has no such key
                assert_same_keys({"metadata": None, **output}, {"metadata": None, **want[output["type"]]})
        for step in run.get("stepRuns", []):
            assert_same_keys(step, theirs["workflowRun"]["stepRuns"][0])


@pytest.mark.parametrize(
    ("type", "name"),
    [
        ("EXTRACT", "extract"),
        ("EXTRACT", "extract_fields_array"),
        ("CLASSIFY", "classify"),
        ("SPLITTER", "splitter"),
    ],
)
def test_old_processor_runs_have_the_old_keys(calm: Sandbox, client: Client, type: str, name: str) -> None:
    """2025-04-21 has one kind of object for every processor run, and short list rows."""
    http = client(calm, "2025-04-21")
    for ours in details(http, "/processor_runs", processorType=type, status="PROCESSED"):
        theirs = example(f"processor_run.{name}.2025-04-21")
        assert_same_keys(
            {**ours["processorRun"], "metadata": None}, {**theirs["processorRun"], "metadata": None}
        )
    for row in walk(http, "/processor_runs"):
        assert_same_keys(row, example("list_processor_runs.2025-04-21")["processorRuns"][0])


def test_legacy_path_shows_new_ids_in_the_old_shape(calm: Sandbox, client: Client) -> None:
    """Under 2026-02-09 the old path works, with the ids and files of the new version."""
    http = client(calm)
    theirs = example("legacy_processor_run.2026-02-09")
    for ours in details(http, "/processor_runs", processorType="EXTRACT", status="PROCESSED")[:40]:
        assert ours["processorRun"]["id"].startswith("exr_")
        assert_same_keys(
            {**ours["processorRun"], "metadata": None}, {**theirs["processorRun"], "metadata": None}
        )


def test_v1_processor_runs_have_the_v1_keys(calm: Sandbox, client: Client) -> None:
    """The shape without a version has exactly the documented keys, without those of merged processors and
    usage, and null for output and edits that do not exist yet."""
    http = client(calm, "2024-11-14")
    done, waiting = (
        example("processor_run.v1")["processorRun"],
        example("processor_run.v1.unprocessed")["processorRun"],
    )
    allowed = done.keys() | waiting.keys() | {"failureMessage"}
    for row in walk(client(calm, "2025-04-21"), "/processor_runs")[:80]:
        ours = http.get(f"/v1/processor_runs/{row['id']}").json()["processorRun"]
        assert ours.keys() <= allowed
        assert {"output", "edits"} <= ours.keys()


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/edit_runs", "list_edit_runs"), ("/verify_runs", "list_verify_runs"), ("/files", "list_files"), ("/workflows", "list_workflows"),
        ("/extractors", "list_extractors"), ("/workflow_runs", "list_workflow_runs"),
    ],
)  # fmt: skip
def test_lists_have_the_documented_rows(calm: Sandbox, client: Client, path: str, name: str) -> None:
    """Every list row has the keys of the example list."""
    reply = client(calm).get(path, params={"maxPageSize": 1000}).json()
    theirs = example(f"{name}.2026-02-09")
    assert reply.keys() == {"object", "data"}
    for row in rows(reply):
        assert_same_keys(row, theirs["data"][0])


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/extractors", "extractor"),
        ("/workflows", "workflow"),
        ("/files", "file"),
        ("/edit_runs", "edit_run"),
        ("/verify_runs", "verify_run"),
    ],
)
def test_single_objects_have_the_documented_keys(calm: Sandbox, client: Client, path: str, name: str) -> None:
    """Every object that is fetched by id has the keys of the example."""
    http = client(calm)
    for row in rows(http.get(path).json()):
        theirs = example(f"{name}.2026-02-09")
        for payload in (ours := http.get(f"{path}/{row['id']}").json(), theirs):
            payload.get("draftVersion", {}).pop("steps", None)
        assert_same_keys(ours, theirs)
