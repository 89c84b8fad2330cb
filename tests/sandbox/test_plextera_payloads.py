"""Plextera's payloads compared with the API's example payloads and with the truth, under every switch."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from conftest import turn_pages
from docruns.sandbox import Sandbox

EXAMPLES = Path(__file__).parents[1] / "support" / "payloads" / "plextera"
RUNS, EXTRACTIONS = "/workflow-runs", "/document-insights/extractions"

# the customer's own data, and nested runs, which are compared one by one
FREE = {"output", "tags", "nestedRuns"}

Client = Callable[..., httpx.Client]


@pytest.fixture(scope="module")
def still() -> Iterator[Sandbox]:
    """A sandbox whose tests change only switches."""
    with Sandbox(runs=0, plextera_runs=160, seed=3) as sandbox:
        yield sandbox


@pytest.fixture
def turned(still: Sandbox) -> Iterator[Callable[..., None]]:
    """A function that sets switches for one test."""
    before = still.plextera.switch()
    yield lambda **settings: still.plextera.switch(**settings)
    still.plextera.switch(**before)


def example(name: str) -> Any:
    return json.loads((EXAMPLES / f"{name}.json").read_text())


def keys(value: Any, free: frozenset[str] | set[str] = FREE, path: str = "") -> set[str]:
    """Every key path; positions in lists are merged, and values of `free` keys are left out."""
    if isinstance(value, list):
        return set().union(*(keys(item, free, f"{path}[]") for item in value)) if value else set()
    if not isinstance(value, dict):
        return set()
    found = {f"{path}.{key}" for key in value}
    for key, inner in value.items():
        if key not in free:
            found |= keys(inner, free, f"{path}.{key}")
    return found


def details(http: httpx.Client, path: str, **params: Any) -> list[dict[str, Any]]:
    return [http.get(f"{path}/{row['id']}").json() for row in turn_pages(http, path, **params)]


def inner(run: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The runs nested directly in a run."""
    for step in run["steps"]:
        yield from step["nestedRuns"]["data"]


def family(
    run: dict[str, Any], depth: int = 0, above: tuple[str, ...] = ()
) -> Iterator[tuple[dict[str, Any], int, tuple[str, ...]]]:
    """(run, depth, ids of the runs around it) for a run and all runs nested in it."""
    yield run, depth, above
    for nested in inner(run):
        yield from family(nested, depth + 1, (*above, run["id"]))


@pytest.mark.parametrize("status", ["COMPLETED", "FAILED", "PROCESSING", "CLOSED"])
def test_runs_have_the_keys_of_the_examples(still: Sandbox, plextera: Client, status: str) -> None:
    """A run of each status has exactly the keys of its example, and nested runs have the same keys as
    top-level ones."""
    optional = {".steps[].message", ".steps[].output"}
    want = keys(example(f"run_{status.lower()}")) - optional
    found = details(plextera(still), RUNS, status=status)
    shown = [run for run in found if run["steps"]]
    assert shown and {run["status"] for run in found} == {status}
    for run in shown:
        assert keys(run) - optional == want
        for nested in inner(run):
            assert keys(nested) - optional == keys(example(f"run_{nested['status'].lower()}")) - optional
    everything = keys(shown) | {f"[]{key}" for key in optional}
    assert everything == {f"[]{key}" for key in want | optional}


def test_nested_runs_have_the_keys_of_the_example(still: Sandbox, plextera: Client) -> None:
    """Runs are nested two levels deep with exactly the keys of the example, some failed inside a completed
    one."""
    found = [run for run in details(plextera(still), RUNS) if any(inner(run))]
    free = FREE - {"nestedRuns"}
    # errors, messages and outputs occur at more depths than in the example
    odd = (".error", ".error.code", ".error.message", "[].message", "[].output")
    theirs = keys(example("run_nested_two_levels"), free)
    ours = set().union(*(keys(run, free) for run in found if run["status"] == "COMPLETED"))
    assert {key for key in theirs ^ ours if not key.endswith(odd)} == set()
    depths = {depth for run in found for _, depth, _ in family(run)}
    assert depths == {0, 1, 2}
    assert any(
        nested["status"] == "FAILED" and run["status"] == "COMPLETED"
        for run in found
        for nested in inner(run)
    )


@pytest.mark.parametrize("position", ["full", "absent", "null"])
def test_listed_runs_carry_steps_as_the_switch_says(
    still: Sandbox, plextera: Client, turned: Callable[..., None], position: str
) -> None:
    """List items are the details, lack `steps`, or have null for them."""
    turned(steps_in_list=position)
    http = plextera(still)
    for item in turn_pages(http, RUNS)[:60]:
        whole = http.get(f"{RUNS}/{item['id']}").json()
        steps = {"full": {"steps": whole.pop("steps")}, "absent": {}, "null": {"steps": None}}
        assert item == {**whole, **steps[position]}
    slim = {key for item in example("runs_list_slim_items")["data"] for key in item}
    assert position != "absent" or {key for run in turn_pages(http, RUNS) for key in run} == slim


def test_details_can_have_more_than_list_items(
    still: Sandbox, plextera: Client, turned: Callable[..., None]
) -> None:
    """With `detail_differs` list items lack errors, computed durations, step outputs and document sizes; all
    other keys are equal."""
    turned(detail_differs=True)
    http = plextera(still)
    lost: set[str] = set()
    for path in (RUNS, EXTRACTIONS):
        for item in turn_pages(http, path):
            whole = http.get(f"{path}/{item['id']}").json()
            whole.pop("output", None)
            assert keys(item) <= keys(whole)
            lost |= keys(whole) - keys(item)
    assert lost == {
        ".error", ".error.code", ".error.message", ".computedDurationMs", ".steps[].output", ".document.sizeBytes", ".document.pageCount",
    }  # fmt: skip


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("readable", [False, True])
def test_nested_runs_are_listed_and_readable_as_the_switches_say(
    still: Sandbox, plextera: Client, turned: Callable[..., None], listed: bool, readable: bool
) -> None:
    """Nested runs are listed at top level or not; an id that is neither listed nor readable is answered with
    404."""
    turned(nested_listed=listed, nested_readable=readable)
    http = plextera(still)
    truth = [run for run in still.plextera.truth() if run["resource"] == "workflow_runs"]
    nested = {run["id"] for run in truth if run["depth"]}
    shown = {run["id"] for run in turn_pages(http, RUNS)}
    assert shown == {run["id"] for run in truth if listed or not run["depth"]}
    wanted = 200 if listed or readable else 404
    assert nested and {http.get(f"{RUNS}/{id}").status_code for id in list(nested)[:9]} == {wanted}


def test_nested_entries_can_be_summaries(
    still: Sandbox, plextera: Client, turned: Callable[..., None]
) -> None:
    """With `nested_detail` "summaries" a nested entry has an id, a status, times and a workflow, but no
    steps."""
    turned(nested_detail="summaries", nested_readable=True)
    http = plextera(still)
    found = [nested for run in details(http, RUNS) for nested in inner(run)]
    assert found
    for nested in found:
        assert nested.keys() - {"completedAt"} == {
            "id",
            "status",
            "createdAt",
            "updatedAt",
            "workflow",
        }
    whole = http.get(f"{RUNS}/{found[0]['id']}").json()
    assert found[0].items() <= whole.items() and whole["steps"]


@pytest.mark.parametrize("status", ["QUEUED", "PROCESSING", "COMPLETED", "FAILED", "REJECTED"])
def test_extractions_have_the_keys_of_the_examples(still: Sandbox, plextera: Client, status: str) -> None:
    """An extraction of each status has exactly the keys of its example; tags and page counts are optional."""
    name = "completed__fields_inferred" if status == "COMPLETED" else status.lower()
    optional = {".tags", ".document.pageCount"}
    found = details(plextera(still), EXTRACTIONS, status=status)
    assert found
    for one in found:
        assert keys(one) - optional == keys(example(f"extraction_{name}")) - optional


def test_listed_extractions_carry_output_as_the_switch_says(
    still: Sandbox, plextera: Client, turned: Callable[..., None]
) -> None:
    """List items of extractions are the details, with or without output."""
    http = plextera(still)
    bare = turn_pages(http, EXTRACTIONS)
    turned(output_in_list=True)
    full = turn_pages(http, EXTRACTIONS)
    assert full == details(http, EXTRACTIONS)
    assert bare == [{k: v for k, v in item.items() if k != "output"} for item in full]
    assert {"output" in item for item in full} == {False, True}


def test_fields_of_shape_a_have_the_keys_of_the_example(still: Sandbox, plextera: Client) -> None:
    """Scalars, groups, tables, nulls and placements have the names of example A, and `fieldCount` is
    right."""
    found = [one["output"] for one in details(plextera(still), EXTRACTIONS, status="COMPLETED")]
    theirs = example("extraction_completed__fields_inferred")["output"]
    assert keys(found, {"value"}) == {f"[]{key}" for key in keys(theirs, {"value"})}
    fields = [field for output in found for field in output["fields"]]
    assert {field["type"] for field in fields} == {field["type"] for field in theirs["fields"]}
    cells = [
        cell
        for field in fields
        if field["type"] == "TABLE"
        for row in field["value"]
        for cell in row.values()
    ]
    assert cells and {frozenset(cell) for cell in cells} == {frozenset({"value", "confidence"})}
    assert all(output["fieldCount"] == len(output["fields"]) for output in found)
    assert any(field["value"] is None and field.get("placements") == [] for field in fields)
    assert any("placements" not in field for field in fields)


def test_fields_of_shape_b_have_the_keys_of_the_example(
    still: Sandbox, plextera: Client, turned: Callable[..., None]
) -> None:
    """Example B's names, repeated ids, bare strings and nulls all occur, and children, rows and items
    besides."""
    turned(field_shape="B")
    found = [one["output"] for one in details(plextera(still), EXTRACTIONS, status="COMPLETED")]
    theirs = keys(example("extraction_completed__fields_inferred_alt")["output"])
    ours = {key.removeprefix("[]") for key in keys(found)}
    assert theirs <= ours
    assert {key.rsplit(".", 1)[-1] for key in ours} - {key.rsplit(".", 1)[-1] for key in theirs} == {"children", "rows", "items"}  # fmt: skip
    fields = [output["fields"] for output in found]
    assert any("bare string field" in each and None in each for each in fields)
    ids = [[field["fieldId"] for field in each if isinstance(field, dict) and "fieldId" in field] for each in fields]  # fmt: skip
    assert any(len(each) > len(set(each)) for each in ids)


def plain(field: Any) -> Any:
    """A field of either shape as plain JSON."""
    if field.get("type") == "TABLE":
        return [{name: cell["value"] for name, cell in row.items()} for row in field["value"]]
    if "rows" in field:
        return [{item["fieldId"]: plain(item) for item in row["items"]} for row in field["rows"]]
    parts = field.get("fields", field.get("children"))
    if parts is not None:
        return {part.get("name", part.get("fieldId")): plain(part) for part in parts}
    return next(field[key] for key in ("value", "normalizedValue", "text") if key in field)


@pytest.mark.parametrize("shape", ["A", "B"])
def test_truth_is_what_extractions_say(
    still: Sandbox, plextera: Client, turned: Callable[..., None], shape: str
) -> None:
    """The served statuses, times, tags and values equal the truth in both shapes."""
    turned(field_shape=shape)
    served = {one["id"]: one for one in details(plextera(still), EXTRACTIONS)}
    truth = [one for one in still.plextera.truth() if one["resource"] == "extractions"]
    assert {one["id"] for one in truth} == served.keys()
    for one in truth:
        shown = served[one["id"]]
        assert (one["status"], one["created_at"], one["updated_at"], one["completed_at"]) == (
            shown["status"], shown["createdAt"], shown["updatedAt"], shown.get("completedAt"),
        )  # fmt: skip
        assert (one["tags"], one["file_id"]) == (shown.get("tags", {}), shown["document"]["fileId"])
        if one["values"] is None:
            assert "output" not in shown
            continue
        values: dict[str, Any] = {}
        for field in shown["output"]["fields"]:
            if isinstance(field, dict):
                values.setdefault(field.get("name", field.get("fieldId", field.get("key"))), plain(field))  # fmt: skip
        assert one["values"] == values


def test_truth_is_what_runs_say(still: Sandbox, plextera: Client) -> None:
    """Every run is served where the truth has it: at its depth, in its parent, with its steps; no other run
    is served."""
    truth = {run["id"]: run for run in still.plextera.truth() if run["resource"] == "workflow_runs"}
    seen = set()
    for top in details(plextera(still), RUNS):
        for run, depth, above in family(top):
            told = truth[run["id"]]
            seen.add(run["id"])
            assert (told["status"], told["created_at"], told["updated_at"], told["completed_at"]) == (
                run["status"], run["createdAt"], run["updatedAt"], run.get("completedAt"),
            )  # fmt: skip
            assert (told["depth"], told["parent_id"]) == (depth, above[-1] if above else None)
            assert (told["root_id"], told["steps"]) == (top["id"], len(run["steps"]))
    assert seen == truth.keys()


def test_reading_steps_lead_to_their_extraction(still: Sandbox, plextera: Client) -> None:
    """The output of a finished reading step contains its extraction's id, under more than one key and at more
    than one depth."""
    truth = {run["id"]: run for run in still.plextera.truth() if run["resource"] == "workflow_runs"}
    known = {one["id"] for one in still.plextera.truth() if one["resource"] == "extractions"}
    shapes = set()
    for top in details(plextera(still), RUNS):
        for run, _, _ in family(top):
            for step in run["steps"]:
                if step["type"] == "document_insights" and step["status"] == "COMPLETED":
                    id = truth[run["id"]]["extractions"][step["id"]]
                    assert id in known and id in json.dumps(step["output"])
                    shapes.add(frozenset(step["output"]))
    assert len(shapes) == 4


def test_steps_put_out_anything(still: Sandbox, plextera: Client) -> None:
    """Outputs are objects, arrays, strings, numbers, booleans, null or absent; the total may exceed the steps
    shown."""
    runs = details(plextera(still), RUNS)
    steps = [step for run in runs for step in run["steps"]]
    kinds = {type(step["output"]) if "output" in step else "absent" for step in steps}
    assert kinds == {dict, list, str, int, float, bool, type(None), "absent"}
    assert any(run["progress"]["stepsTotal"] > len(run["steps"]) for run in runs)
    differ = [run for run in runs if run.get("durationMs") != run["computedDurationMs"]]
    assert 0 < len(differ) < len(runs)


def test_files_have_the_keys_of_the_example(still: Sandbox, plextera: Client) -> None:
    """GET by id returns the file of a document."""
    http = plextera(still)
    for one in details(http, EXTRACTIONS, status="COMPLETED")[:5]:
        file = http.get(f"/files/{one['document']['fileId']}").json()
        assert file.keys() == example("file_metadata").keys()
        assert (file["name"], file["sizeBytes"]) == (one["document"]["fileName"], one["document"]["sizeBytes"])  # fmt: skip


@pytest.mark.parametrize("name", ["run_edge_tolerance", "run_created_202", "extraction_completed__fields_inferred_alt"])  # fmt: skip
def test_payloads_put_are_served_verbatim(plextera: Client, name: str) -> None:
    """A payload that is put is served byte for byte and as an item of the list; putting it again replaces
    it."""
    resource, path = ("workflow_runs", RUNS) if name.startswith("run") else ("extractions", EXTRACTIONS)  # fmt: skip
    raw = (EXAMPLES / f"{name}.json").read_bytes()
    with Sandbox(runs=0) as sandbox:
        http = plextera(sandbox)
        for _ in range(2):
            id = sandbox.plextera.put(raw, resource=resource)
        assert http.get(f"{path}/{id}").content == raw
        (item,) = http.get(path).json()["data"]
        assert item == {k: v for k, v in json.loads(raw).items() if k != "output"}
        sandbox.plextera.put(b"{broken", {"id": id, "status": "ODD"}, resource=resource)
        assert http.get(f"{path}/{id}").content == b"{broken"
        assert http.get(path).json()["data"] == [{"id": id, "status": "ODD"}]
        sandbox.plextera.delete(id)
        assert http.get(f"{path}/{id}").status_code == 404
