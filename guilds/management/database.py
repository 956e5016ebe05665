"""What a command says when the database is away."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management.base import CommandError
from django.db import DatabaseError, InterfaceError


@contextmanager
def errors_in_a_line() -> Iterator[None]:
    """A database that can't be asked becomes one line on stderr and exit code 1."""
    try:
        yield
    except (DatabaseError, InterfaceError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CommandError(f"The database can't be asked: {reason}") from None
