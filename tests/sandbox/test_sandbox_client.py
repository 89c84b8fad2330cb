"""The official client reads the sandbox, and the payloads contain only what its models declare."""

from __future__ import annotations

import enum
import typing
from collections.abc import Callable, Iterator
from typing import Any

import pydantic
import pytest
from extend_ai import Extend
from extend_ai.types import (
    ClassifierSummary,
    ClassifyRun,
    ClassifyRunSummary,
    EditRun,
    EditRunSummary,
    EvaluationSet,
    EvaluationSetItem,
    EvaluationSetItemSummary,
    Extractor,
    ExtractorSummary,
    ExtractorVersion,
    ExtractorVersionSummary,
    ExtractRun,
    ExtractRunSummary,
    File,
    FileSummary,
    LegacyListProcessorsProcessor,
    LegacyProcessorRun,
    LegacyProcessorRunSummary,
    LegacyProcessorVersion,
    ParseRun,
    ParseRunSummary,
    SplitRun,
    SplitRunSummary,
    SplitterSummary,
    VerifyRunSummary,
    Workflow,
    WorkflowRun,
    WorkflowRunSummary,
    WorkflowSummary,
    WorkflowVersion,
    WorkflowVersionSummary,
)  # fmt: skip

from conftest import VERSIONS
from docruns.sandbox import Sandbox


def problems(value: Any, want: Any, path: str = "") -> Iterator[str]:
    """The violations of a declared type in a payload: missing or undeclared keys, wrong types, wrong
    nulls."""
    origin, args = typing.get_origin(want), typing.get_args(want)
    if origin is not None and hasattr(want, "__metadata__"):
        yield from problems(value, args[0], path)
    elif want is Any or want is typing.Any:
        return
    elif origin is typing.Union or (
        isinstance(want, type) is False and origin is not None and origin.__name__ == "UnionType"
    ):
        fitting = [each for each in args if _could_be(value, each)] or list(args)
        best: list[str] | None = None
        for each in fitting:
            found = list(problems(value, each, path))
            if best is None or len(found) < len(best):
                best = found
            if not best:
                break
        yield from best or []
    elif origin is typing.Literal:
        # the model declares only `reasoning`, the documentation has all three
        if value not in args and not (
            path.endswith("insights[].type") and value in ("issue", "review_summary")
        ):
            yield f"{path}: {value!r} is none of {args}"
    elif origin in (list, list, typing.Sequence):
        if not isinstance(value, list):
            yield f"{path}: not a list"
        else:
            for item in value:
                yield from problems(item, args[0], f"{path}[]")
    elif origin in (dict, dict):
        if not isinstance(value, dict):
            yield f"{path}: not a map"
        else:
            for item in value.values():
                yield from problems(item, args[1], f"{path}{{}}")
    elif isinstance(want, type) and issubclass(want, pydantic.BaseModel):
        yield from _model_problems(value, want, path)
    elif isinstance(want, type) and issubclass(want, enum.Enum):
        if value not in [member.value for member in want]:
            yield f"{path}: {value!r} is not in {want.__name__}"
    elif want is type(None):
        if value is not None:
            yield f"{path}: not null"
    elif want in (float, int):
        if isinstance(value, bool) or not isinstance(value, int | float):
            yield f"{path}: {value!r} is not a number"
    elif want in (str, bool) and not isinstance(value, want):
        yield f"{path}: {value!r} is not {want.__name__}"


def _could_be(value: Any, want: Any) -> bool:
    """False for a model with other constant fields, and for null against any other type."""
    if value is None or want is type(None):
        return value is None and want is type(None)
    if not (isinstance(want, type) and issubclass(want, pydantic.BaseModel)):
        return True
    constants = {
        _alias(name, field): typing.get_args(field.annotation)
        for name, field in want.model_fields.items()
        if typing.get_origin(field.annotation) is typing.Literal
    }
    return isinstance(value, dict) and all(
        value.get(key) in allowed for key, allowed in constants.items() if key in value
    )


def _model_problems(value: Any, want: type[pydantic.BaseModel], path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path}: not an object"
        return
    declared = {_alias(name, field): field for name, field in want.model_fields.items()}
    for key in value.keys() - declared.keys():
        yield f"{path}.{key}: undeclared in {want.__name__}"
    for key, field in declared.items():
        if key in value:
            yield from problems(value[key], field.annotation, f"{path}.{key}")
        elif field.is_required():
            yield f"{path}.{key}: missing from {want.__name__}"


def _alias(name: str, field: Any) -> str:
    return next(
        (known.alias for known in field.metadata if getattr(known, "alias", None)),
        field.alias or name,
    )


class Raw:
    """Records the JSON that the client parses."""

    def __init__(self, sandbox: Sandbox) -> None:
        import httpx

        self.bodies: list[Any] = []
        self.http = httpx.Client(event_hooks={"response": [self._keep]})
        self.client = Extend(token="sk_test", base_url=sandbox.extend_url, httpx_client=self.http)

    def _keep(self, response: Any) -> None:
        response.read()
        self.bodies.append(response.json())


@pytest.fixture
def raw(calm: Sandbox) -> Iterator[Raw]:
    made = Raw(calm)
    yield made
    made.http.close()


def pages(call: Callable[..., Any], raw: Raw, *args: Any, name: str = "data") -> list[Any]:
    """All rows of a list method of the client, as JSON."""
    found: list[Any] = []
    token = None
    while True:
        more = {"next_page_token": token} if token else {}
        reply = call(*args, max_page_size=40, **more) if name != "versions" else call(*args)
        found += raw.bodies[-1][name]
        token = getattr(reply, "next_page_token", None)
        if not token:
            return found


RESOURCES = [
    ("workflow_runs", WorkflowRunSummary, WorkflowRun), ("extract_runs", ExtractRunSummary, ExtractRun),
    ("classify_runs", ClassifyRunSummary, ClassifyRun), ("split_runs", SplitRunSummary, SplitRun), ("parse_runs", ParseRunSummary, ParseRun),
    ("edit_runs", EditRunSummary, EditRun), ("verify_runs", VerifyRunSummary, None), ("files", FileSummary, File),
    ("workflows", WorkflowSummary, Workflow), ("extractors", ExtractorSummary, Extractor), ("classifiers", ClassifierSummary, None),
    ("splitters", SplitterSummary, None), ("evaluation_sets", EvaluationSet, EvaluationSet),
]  # fmt: skip


@pytest.mark.parametrize(("name", "row", "full"), RESOURCES, ids=[name for name, _, _ in RESOURCES])
def test_the_official_client_reads_every_resource_strictly(raw: Raw, name: str, row: Any, full: Any) -> None:
    """The official client parses every page and every object of a resource, and they fit its declared types
    exactly."""
    resource = getattr(raw.client, name)
    found = pages(resource.list, raw)
    assert found
    for each in found:
        assert list(problems(each, row)) == []
    for each in found[:25] if full else []:
        resource.retrieve(each["id"])
        assert list(problems(raw.bodies[-1], full)) == []


def test_the_official_client_reads_versions_strictly(raw: Raw) -> None:
    """Workflow and extractor versions fit the client's declared types, in lists and by id."""
    for workflow in pages(raw.client.workflows.list, raw):
        for version in pages(raw.client.workflow_versions.list, raw, workflow["id"]):
            assert list(problems(version, WorkflowVersionSummary)) == []
            raw.client.workflow_versions.retrieve(workflow["id"], version["id"])
            assert list(problems(raw.bodies[-1], WorkflowVersion)) == []
    for extractor in pages(raw.client.extractors.list, raw):
        for version in pages(raw.client.extractor_versions.list, raw, extractor["id"]):
            assert list(problems(version, ExtractorVersionSummary)) == []
            raw.client.extractor_versions.retrieve(extractor["id"], version["id"])
            assert list(problems(raw.bodies[-1], ExtractorVersion)) == []


def test_the_official_client_reads_evaluation_items_strictly(raw: Raw) -> None:
    """The items of evaluation sets fit the client's declared types, in lists and by id; some have several files."""
    several = 0
    for each in pages(raw.client.evaluation_sets.list, raw):
        items = pages(raw.client.evaluation_set_items.list, raw, each["id"])
        assert len(items) == 6
        for item in items:
            assert list(problems(item, EvaluationSetItemSummary)) == []
            raw.client.evaluation_set_items.retrieve(each["id"], item["id"])
            assert list(problems(raw.bodies[-1], EvaluationSetItem)) == []
            assert (item["file"] is None) == (item["files"] is not None)
            several += item["file"] is None
    assert several > 1


def test_the_official_client_reads_the_legacy_paths_strictly(raw: Raw) -> None:
    """Processor runs and processors under the current version fit the client's types of the old API."""
    for row in pages(raw.client.processor_run.list, raw, name="processorRuns"):
        assert list(problems(row, LegacyProcessorRunSummary)) == []
    for row in raw.bodies[0]["processorRuns"]:
        raw.client.processor_run.get(row["id"])
        if raw.bodies[-1]["processorRun"]["status"] == "PROCESSED":
            assert list(problems(raw.bodies[-1]["processorRun"], LegacyProcessorRun)) == []
    for row in pages(raw.client.processor.list, raw, name="processors"):
        assert list(problems(row, LegacyListProcessorsProcessor)) == []
        for version in pages(raw.client.processor_version.list, raw, row["id"], name="versions"):
            assert list(problems(version, LegacyProcessorVersion)) == []


def test_the_official_client_updates_a_run(sandbox: Sandbox) -> None:
    """An update through the official client merges metadata key by key and keeps the name."""
    raw = Raw(sandbox)
    id = next(
        run["id"] for run in sandbox.extend.truth() if run["metadata"] and run["resource"] == "workflow_runs"
    )
    reply = raw.client.workflow_runs.update(
        id, name="HP-1", metadata={"warehouse_row": "7", "extend:usage_tags": ["fin ance", "a/b"]}
    )
    assert reply.metadata.keys() == {"internal_id", "warehouse_row", "extend:usage_tags"}
    assert reply.metadata["extend:usage_tags"] == ["finance", "ab"]
    assert next(run["name"] for run in sandbox.extend.truth() if run["id"] == id) == "HP-1"
    raw.http.close()


def test_versions_are_the_documented_ones() -> None:
    """The tests cover the three documented versions and an older one."""
    assert VERSIONS[:3] == ("2026-02-09", "2025-04-21", "2024-12-23")
