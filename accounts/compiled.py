"""A query that Django compiles once.

Building and compiling a query takes several times as long as the database takes to answer it; worth saving only where
every page passes.
"""

from collections.abc import Callable
from typing import Any

from django.db import connection
from django.db.models import QuerySet
from django.utils.functional import cached_property

# Stands for the first value until there is one; those below it stand for the others. No row has any of them.
PLACE = -(2**62) - 271828


class CompiledQuery:
    """The rows of `build(*values)`, a `values_list()` in which each of `count` integers stands once, for any values.

    The columns that are compared with the values hold 64-bit integers. It serves the default database only, as that is
    the one it is compiled for.
    """

    def __init__(self, build: Callable[..., "QuerySet[Any, Any]"], count: int = 1) -> None:
        self._build = build
        self._placeholders = [PLACE - number for number in range(count)]

    def rows(self, *values: int) -> list[list[Any]]:
        sql, compiled, places, converters = self._compiled
        params = list(compiled)
        for place, value in zip(places, values, strict=True):
            params[place] = value
        with connection.cursor() as cursor:
            cursor.execute(sql, params)
            rows = [list(row) for row in cursor.fetchall()]
        for row in rows:
            for position, functions, expression in converters:
                for convert in functions:
                    row[position] = convert(row[position], expression, connection)
        return rows

    @cached_property
    def _compiled(self) -> tuple[str, tuple[Any, ...], list[int], list[tuple[int, Any, Any]]]:
        compiler = self._build(*self._placeholders).query.get_compiler(connection=connection)
        sql, params = compiler.as_sql()
        columns = [column for column, _sql, _alias in compiler.select]
        converters = [(position, *both) for position, both in compiler.get_converters(columns).items()]
        return sql, params, [params.index(placeholder) for placeholder in self._placeholders], converters
