"""The Celery application of a site without a broker: a task can't be queued, and the error says why."""

from typing import Any

from celery import Celery
from celery.backends.base import DisabledBackend
from django.core.exceptions import ImproperlyConfigured


def refuse(name: str) -> None:
    raise ImproperlyConfigured(f"CELERY_BROKER_URL is empty, and so is REDIS_URL, so {name} can't be queued.")


class NoResults(DisabledBackend):
    def ensure_chords_allowed(self) -> None:
        # Celery calls it before a chord, and a group in front of a task, queues anything.
        refuse("a chord")


class NoBroker(Celery):
    backend_cls: Any = NoResults

    def send_task(self, name: str, *args: Any, **options: Any) -> None:
        refuse(name)


app = NoBroker("guildhall", broker="memory://")  # type: ignore[no-untyped-call]  # Celery has no types
# For all threads, and not only for the one that imports this.
app.set_default()  # type: ignore[no-untyped-call]  # as above
