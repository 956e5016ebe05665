"""The Celery application of a site without a broker: a task can't be queued, and the error says why."""

from typing import Any

from celery import Celery
from django.core.exceptions import ImproperlyConfigured


class NoBroker(Celery):
    def send_task(self, name: str, *args: Any, **options: Any) -> None:
        raise ImproperlyConfigured(f"CELERY_BROKER_URL is empty, and so is REDIS_URL, so {name} can't be queued.")


app = NoBroker("guildhall", broker="memory://")  # type: ignore[no-untyped-call]  # Celery has no types
# For all threads, and not only for the one that imports this.
app.set_default()  # type: ignore[no-untyped-call]  # as above
