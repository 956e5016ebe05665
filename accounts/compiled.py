"""Queries that Django compiles once.

Building and compiling a query takes several times as long as executing it, which is worth saving only for queries that
every page makes.
"""

from collections.abc import Callable
from typing import Any

from django.db import connection
from django.db.models import QuerySet
from django.utils.functional import cached_property

# The first placeholder. No row contains it or one of the numbers just below it.
PLACE = -(2**62) - 271828


class CompiledQuery:
    """A query `build(*values)`, compiled once for all values of these `types`.

    `build` returns a `values_list()` in which each value occurs once. Columns compared with an `int` must hold 64-bit
    integers, those compared with a `str` text. A NULL is returned
    as None, whatever the column. The query is compiled for the default database and runs only there.
    """

    def __init__(self, build: Callable[..., "QuerySet[Any, Any]"], *types: type[int] | type[str]) -> None:
        self._build = build
        self._placeholders = [kind(PLACE - number) for number, kind in enumerate(types)]

    def rows(self, *values: int | str) -> list[list[Any]]:
        """Execute the query with these values and return its rows, converted as Django would."""
        sql, compiled, places, converters = self._compiled
        params = list(compiled)
        for place, value in zip(places, values, strict=True):
            params[place] = value
        with connection.cursor() as cursor:
            cursor.execute(sql, params)
            rows = [list(row) for row in cursor.fetchall()]
        for row in rows:
            for position, functions, expression in converters:
                if row[position] is not None:
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
