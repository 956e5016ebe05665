"""The database's time. It alone decides leases, bounds and ages, so that machines may disagree about theirs."""

from datetime import datetime

from django.db import connection
from django.db.models.functions import Now
from django.utils import timezone

__all__ = ["Now", "database_now"]

_QUERIES = {
    "sqlite": "SELECT STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', 'NOW')",
    "postgresql": "SELECT STATEMENT_TIMESTAMP()",
}


def database_now() -> datetime:
    """The database's present moment, aware, in UTC. The same clock that Django's `Now()` reads in a query."""
    with connection.cursor() as cursor:
        cursor.execute(_QUERIES[connection.vendor].replace("%%", "%"))
        (value,) = cursor.fetchone()
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment if timezone.is_aware(moment) else moment.replace(tzinfo=timezone.get_default_timezone())
