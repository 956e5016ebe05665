"""Indexes for case-insensitive prefix searches (`istartswith`).

PostgreSQL needs a special index for them, which Django has no portable name for. SQLite scans the table, which is fast
enough for small sites.
"""

from typing import Any

from django.db import migrations


def add_prefix_index(table: str, column: str) -> migrations.RunPython:
    """Return a reversible migration operation that creates the index on PostgreSQL."""
    name = f"{table}_{column}_prefix"

    def add(_apps: Any, schema_editor: Any) -> None:
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.execute(f"CREATE INDEX {name} ON {table} (UPPER({column}::text) text_pattern_ops)")

    def remove(_apps: Any, schema_editor: Any) -> None:
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.execute(f"DROP INDEX {name}")

    return migrations.RunPython(add, remove)
