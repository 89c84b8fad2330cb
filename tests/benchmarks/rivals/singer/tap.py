"""A Singer tap for workflow runs, as the SDK's tutorial builds one: a list and its child stream."""

from __future__ import annotations

from typing import Any, ClassVar

from contract import VERSION
from singer_sdk import RESTStream, Tap
from singer_sdk import typing as th
from singer_sdk.authenticators import BearerTokenAuthenticator

ANYTHING = th.ObjectType(additional_properties=True)


class ExtendStream(RESTStream):  # type: ignore[type-arg]
    """The settings of both streams."""

    primary_keys: ClassVar[tuple[str, ...]] = ("id",)
    next_page_token_jsonpath = "$.nextPageToken"

    @property
    def url_base(self) -> str:
        """The API's URL."""
        return str(self.config["base_url"])

    @property
    def authenticator(self) -> BearerTokenAuthenticator:
        """The key."""
        return BearerTokenAuthenticator(token=self.config["token"])

    @property
    def http_headers(self) -> dict[str, str]:
        """The API's version."""
        return {"x-extend-api-version": VERSION}


class Runs(ExtendStream):
    """The list of runs."""

    name = "runs"
    path = "/workflow_runs"
    records_jsonpath = "$.data[*]"
    schema = th.PropertiesList(
        th.Property("id", th.StringType, required=True),
        th.Property("status", th.StringType),
        th.Property("createdAt", th.DateTimeType),
        th.Property("updatedAt", th.DateTimeType),
    ).to_dict()

    def get_url_params(self, context: Any, next_page_token: Any) -> dict[str, Any]:
        """The parameters of a page of a thousand rows."""
        params = {"maxPageSize": 1000, "sortBy": "updatedAt"}
        return {**params, "nextPageToken": next_page_token} if next_page_token else params

    def get_child_context(self, record: Any, context: Any) -> dict[str, Any]:
        """The parameters of the detail request."""
        return {"run_id": record["id"]}


class WorkflowRuns(ExtendStream):
    """A run in full; objects and arrays are stored as JSON."""

    name = "workflow_runs"
    path = "/workflow_runs/{run_id}"
    records_jsonpath = "$"
    parent_stream_type = Runs
    state_partitioning_keys: ClassVar[list[str]] = []
    schema = th.PropertiesList(
        th.Property("id", th.StringType, required=True),
        th.Property("status", th.StringType),
        th.Property("workflow", ANYTHING),
        th.Property("workflowVersion", ANYTHING),
        th.Property("metadata", ANYTHING),
        th.Property("batchId", th.StringType),
        th.Property("initialRunAt", th.DateTimeType),
        th.Property("startTime", th.DateTimeType),
        th.Property("endTime", th.DateTimeType),
        th.Property("reviewed", th.BooleanType),
        th.Property("reviewedByUser", th.StringType),
        th.Property("reviewedAt", th.DateTimeType),
        th.Property("failureReason", th.StringType),
        th.Property("dashboardUrl", th.StringType),
        th.Property("files", th.ArrayType(ANYTHING)),
        th.Property("stepRuns", th.ArrayType(ANYTHING)),
        th.Property("usage", ANYTHING),
    ).to_dict()


class TapExtend(Tap):
    """The tap."""

    name = "tap-extend"
    config_jsonschema = th.PropertiesList(
        th.Property("base_url", th.StringType, required=True),
        th.Property("token", th.StringType, required=True, secret=True),
    ).to_dict()

    def discover_streams(self) -> list[ExtendStream]:
        """Both streams."""
        return [Runs(self), WorkflowRuns(self)]


if __name__ == "__main__":
    TapExtend.cli()
