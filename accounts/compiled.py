"""A query that Django compiles once.

Building and compiling a query takes several times as long as the database takes to answer it; worth saving only where
every page passes.
"""

from collections.abc import Callable
from typing import Any

from django.db import connection
from django.db.models import QuerySet
from django.utils.functional import cached_property

# Stands for the value until there is one; no row has it.
PLACE = -(2**62) - 271828


class CompiledQuery:
    """The rows of `build(value)`, a `values_list()` in which the integer `value` stands once, for any value."""

    def __init__(self, build: Callable[[int], "QuerySet[Any, Any]"]) -> None:
        self._build = build

    def rows(self, value: int) -> list[list[Any]]:
        sql, before, after, converters = self._compiled
        with connection.cursor() as cursor:
            cursor.execute(sql, [*before, value, *after])
            rows = [list(row) for row in cursor.fetchall()]
        for row in rows:
            for position, functions, expression in converters:
                for convert in functions:
                    row[position] = convert(row[position], expression, connection)
        return rows

    @cached_property
    def _compiled(self) -> tuple[str, list[Any], list[Any], list[tuple[int, Any, Any]]]:
        compiler = self._build(PLACE).query.get_compiler(connection=connection)
        sql, params = compiler.as_sql()
        place = params.index(PLACE)
        columns = [column for column, _sql, _alias in compiler.select]
        converters = [(position, *both) for position, both in compiler.get_converters(columns).items()]
        return sql, list(params[:place]), list(params[place + 1 :]), converters
