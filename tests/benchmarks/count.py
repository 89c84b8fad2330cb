"""count.py DATABASE {"name": "SELECT count(*) …"}     prints {"name": 1}"""

from __future__ import annotations

import json
import sys

import duckdb

if __name__ == "__main__":
    with duckdb.connect(sys.argv[1], read_only=True) as connection:
        asked = json.loads(sys.argv[2])
        found = {name: connection.execute(sql).fetchone() for name, sql in asked.items()}
    print(json.dumps({name: one[0] if one else 0 for name, one in found.items()}))
