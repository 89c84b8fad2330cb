"""The rows of the matrix that are Delta and Iceberg tables, in a local folder and in S3."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from docruns.core.tables import Table
from support import s3

Rows = list[dict[str, Any]]

_FILESYSTEM = "DESTINATION__FILESYSTEM__"


def options(table_format: str) -> tuple[str, ...]:
    """The options of the command for a table format."""
    return ("--destination", "filesystem", "--table-format", table_format)


def in_folder(folder: Path, stack: ExitStack) -> dict[str, str]:
    """A lake in a folder."""
    return {f"{_FILESYSTEM}BUCKET_URL": str(folder / "lake")}


def delta_rows(folder: Path, dataset: str, table: Table) -> Rows | None:
    """The rows of a Delta table, as delta-rs reads them."""
    return _delta_rows(str(folder / "lake" / dataset / table.name), {})


def iceberg_rows(folder: Path, dataset: str, table: Table) -> Rows | None:
    """The rows of an Iceberg table, as pyiceberg reads them without a catalog."""
    files = (folder / "lake" / dataset / table.name / "metadata").glob("*.metadata.json")
    return _iceberg_rows(sorted(map(str, files)), {})


def in_s3(folder: Path, stack: ExitStack) -> dict[str, str]:
    """A lake in a bucket of a server of its own."""
    url = stack.enter_context(s3.running_server(folder))
    (folder / "url").write_text(url)
    section = f"{_FILESYSTEM}CREDENTIALS__"
    return {
        f"{_FILESYSTEM}BUCKET_URL": f"s3://{s3.BUCKET}/documents",
        f"{section}AWS_ACCESS_KEY_ID": s3.KEY,
        f"{section}AWS_SECRET_ACCESS_KEY": s3.SECRET,
        f"{section}REGION_NAME": s3.REGION,
        f"{section}ENDPOINT_URL": url,
    }


def delta_rows_in_s3(folder: Path, dataset: str, table: Table) -> Rows | None:
    """The rows of a Delta table in the bucket."""
    found = {
        "aws_access_key_id": s3.KEY,
        "aws_secret_access_key": s3.SECRET,
        "region": s3.REGION,
        "endpoint_url": (folder / "url").read_text(),
        "aws_allow_http": "true",
    }
    return _delta_rows(f"s3://{s3.BUCKET}/documents/{dataset}/{table.name}", found)


def iceberg_rows_in_s3(folder: Path, dataset: str, table: Table) -> Rows | None:
    """The rows of an Iceberg table in the bucket."""
    url = (folder / "url").read_text()
    found = s3.files(url).glob(f"{s3.BUCKET}/documents/{dataset}/{table.name}/metadata/*.metadata.json")
    properties = {
        "s3.access-key-id": s3.KEY,
        "s3.secret-access-key": s3.SECRET,
        "s3.region": s3.REGION,
        "s3.endpoint": url,
    }
    return _iceberg_rows(sorted(f"s3://{path}" for path in found), properties)


def _delta_rows(place: str, store: dict[str, str]) -> Rows | None:
    from deltalake import DeltaTable

    if not DeltaTable.is_deltatable(place, store):
        return None
    found: Rows = DeltaTable(place, storage_options=store).to_pyarrow_table().to_pylist()
    return found


def _iceberg_rows(metadata: list[str], properties: dict[str, str]) -> Rows | None:
    from pyiceberg.table import StaticTable

    if not metadata:
        return None
    found: Rows = StaticTable.from_metadata(metadata[-1], properties).scan().to_arrow().to_pylist()
    return found
