"""The types of text columns in MySQL and MariaDB. Imported only where SQLAlchemy is installed."""

from __future__ import annotations

from functools import cache
from typing import Any

from dlt.destinations.impl.sqlalchemy.type_mapper import MysqlVariantTypeMapper
from sqlalchemy.dialects.mysql import LONGTEXT, VARCHAR

_ID_LENGTH = 255


@cache
def text_types(collation: str) -> type[MysqlVariantTypeMapper]:
    """dlt's types, but with text columns that hold any text of this collation of utf8mb4.

    Ids have an end, because MySQL looks up others row by row: `id IN (SELECT id …)` over two long texts takes the
    product of both tables. Where an id is longer, the load fails.
    """
    charset: dict[str, Any] = {"charset": "utf8mb4", "collation": collation}

    class TextTypes(MysqlVariantTypeMapper):
        def db_type_from_text_type(self, column: Any, table: Any) -> Any:  # noqa: ARG002
            if column["name"].endswith("id") and (
                column.get("primary_key") or column["name"].endswith("load_id")
            ):
                return VARCHAR(_ID_LENGTH, **charset)
            return LONGTEXT(**charset)

    return TextTypes
