"""The database's time. All leases, deadlines and ages use it, so the machines' own clocks may differ."""

from datetime import datetime, timedelta

from django.db import connection
from django.db.models import DateTimeField, ExpressionWrapper, Q
from django.db.models.functions import Now
from django.utils import timezone

from accounts.limits import LEASE_MARGIN

__all__ = ["Now", "database_now", "is_leased"]

_QUERIES = {
    "sqlite": "SELECT STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', 'NOW')",
    "postgresql": "SELECT STATEMENT_TIMESTAMP()",
}


def database_now() -> datetime:
    """Return the database's current time, aware, in UTC. It is the same clock that `Now()` reads in a query."""
    with connection.cursor() as cursor:
        cursor.execute(_QUERIES[connection.vendor].replace("%%", "%"))
        (value,) = cursor.fetchone()
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment if timezone.is_aware(moment) else moment.replace(tzinfo=timezone.get_default_timezone())


def is_leased(column: str, lease: timedelta) -> Q:
    """`limits.is_leased` in SQL: match rows whose `column` is the end of a running lease of the length `lease`."""
    latest = ExpressionWrapper(Now() + lease + LEASE_MARGIN, DateTimeField())
    return Q(**{f"{column}__gt": Now(), f"{column}__lte": latest})
