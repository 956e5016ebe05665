"""Indexes for finding what a column begins with, in any case (`istartswith`).

PostgreSQL needs one of its own kind for that, which Django has no portable name for. SQLite reads the table: it serves
small sites.
"""

from typing import Any

from django.db import migrations


def add_prefix_index(table: str, column: str) -> migrations.RunPython:
    name = f"{table}_{column}_prefix"

    def add(_apps: Any, schema_editor: Any) -> None:
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.execute(f"CREATE INDEX {name} ON {table} (UPPER({column}::text) text_pattern_ops)")

    def remove(_apps: Any, schema_editor: Any) -> None:
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.execute(f"DROP INDEX {name}")

    return migrations.RunPython(add, remove)
