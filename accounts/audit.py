"""The admin's log of what operators did. It outlives the accounts that it mentions and the accounts of its authors.

An entry refers to accounts by number, so it holds no personal data after a person is forgotten. The log line
`user_forgotten` has the same number. When an author's account is deleted, the author's entries move to a *tombstone*:
an account named `[user 42]` without permissions, which can't sign in and appears in no list. It is an account because
Django's `LogEntry.user` can't be empty, and there is one per author, so that the log still tells authors apart.

Each entry is also an event of the site's log, `operator_acted`, as is each change that an operator's command makes.
"""

import json
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
from django.contrib.admin import AdminSite, ModelAdmin
from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
from django.contrib.auth.hashers import make_password
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.db.models import Model, QuerySet
from django.db.models.signals import post_save, pre_delete
from django.dispatch import receiver
from django.http import HttpRequest

from accounts.models import User

if TYPE_CHECKING:
    # Generic for the type checker only.
    AnyModelAdmin = ModelAdmin[Any]
else:
    AnyModelAdmin = ModelAdmin

ACTIONS = {ADDITION: "added", CHANGE: "changed", DELETION: "deleted"}

logger = structlog.get_logger(__name__)

# Username forms reject brackets, so no other account has such a name.
PREFIX = "[user "


def record(author: User, rows: Iterable[Model], flag: int, message: str | list[Any] = "") -> list[LogEntry]:
    """Log an action of `author` on people or rows that belong to a person; `message` is as in Django's admin."""
    return [
        LogEntry.objects.create(
            user=author,
            content_type=ContentType.objects.get_for_model(row, for_concrete_model=False),
            object_id=str(row.pk),
            object_repr=_by_number(row),
            action_flag=flag,
            change_message=message if isinstance(message, str) else json.dumps(message),
        )
        for row in rows
    ]


def tell(flag: int, *, by: str, via: str, model: type[Model] | None, pk: object, details: Iterable[str] = ()) -> None:
    """Log once the transaction commits that the operator `by` changed something, in `details` that name no person.

    `via` is `admin` or the name of a command. `model` and `pk` are None if the change is about no single row.
    """
    fields = {
        "action": ACTIONS[flag],
        "by": by,
        "via": via,
        "object": model._meta.label_lower if model else None,
        "object_id": None if pk is None else str(pk),
        "details": list(details),
    }
    transaction.on_commit(partial(logger.info, "operator_acted", **fields), robust=True)


@receiver(post_save, sender=LogEntry)
def tell_entry(instance: LogEntry, created: bool, raw: bool, **_: object) -> None:
    """Log an entry of the admin's log, without the names that it holds."""
    if created and not raw:
        kind = instance.content_type_id and ContentType.objects.get_for_id(instance.content_type_id)
        tell(
            instance.action_flag,
            by=f"user {instance.user_id}",
            via="admin",
            model=kind.model_class() if kind else None,
            pk=instance.object_id,
            details=_details(instance.change_message),
        )


class Audited(AnyModelAdmin):
    """Logs each deleted row by itself: Django stores the entries of several rows without a signal."""

    def log_deletions(self, request: HttpRequest, queryset: Any) -> list[LogEntry]:
        log: Any = super().log_deletions
        return [entry for row in queryset for entry in log(request, [row])]


class AuditedSite(AdminSite):
    """The admin, where every registered admin is `Audited`, also those of a site's own apps and of packages."""

    def register(self, model_or_iterable: Any, admin_class: Any = None, **options: Any) -> None:
        chosen = admin_class or ModelAdmin
        if not issubclass(chosen, Audited):
            chosen = type(chosen.__name__, (Audited, chosen), {"__module__": chosen.__module__})
        super().register(model_or_iterable, chosen, **options)


@receiver(pre_delete, sender=User)
def move_to_tombstone(instance: User, **_: object) -> None:
    """Keep the log entries of an account that is being deleted, however it is deleted."""
    entries = LogEntry.objects.filter(user_id=instance.pk)
    if entries.exists():
        tombstone, _created = User.objects.get_or_create(
            username=f"{PREFIX}{instance.pk}]", defaults={"is_active": False, "password": make_password(None)}
        )
        entries.update(user=tombstone)


def without_tombstones(users: QuerySet[User]) -> QuerySet[User]:
    """Return `users` without the tombstones of deleted authors."""
    return users.exclude(username__startswith=PREFIX)


def _by_number(row: Any) -> str:
    return f"user {row.pk}" if isinstance(row, User) else f"{row._meta.model_name} {row.pk} of user {row.user_id}"


def _details(message: str) -> list[str]:
    """Return which fields changed, or the sentence that an action logs; never the names of rows."""
    if not message.startswith("["):
        return [message] if message else []
    return [
        " ".join(filter(None, (kind, what.get("name"), ", ".join(what.get("fields", ())))))
        for change in json.loads(message)
        for kind, what in change.items()
        if what
    ]
