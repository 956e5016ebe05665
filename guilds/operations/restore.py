"""Correcting a database that was restored from a backup, before the site serves people from it.

Each step can be repeated: it changes nothing that is right already.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import structlog
from django.db import connection, transaction
from django.db.models import F

from accounts import access_tokens, deletions, gate, service_tokens
from accounts.clock import database_now
from accounts.deletions import Deletion
from accounts.limits import Gate
from accounts.models import DiscordAccount, DiscordGate, PersonalAccessToken, ServiceToken, Session, User
from guilds import personal_data
from guilds.operations import migrations
from guilds.resources import ALL

logger = structlog.get_logger(__name__)


class SchemaOutdated(Exception):
    """The backup is from an earlier release, and its database has not been migrated."""


@dataclass(frozen=True, kw_only=True)
class Corrected:
    """What `correct` changed. `undeletable` are people who can't be deleted: the last superuser."""

    people: int
    undeletable: tuple[User, ...]
    access_tokens: int
    sessions: int
    records: int
    leases: int
    gate: Gate


def correct(listed: Iterable[Deletion], *, dry_run: bool = False) -> Corrected:
    """Apply the listed deletions again, end all sessions, make fresh answers stale, and reset leases and the gate.

    With `dry_run`, all of it is rolled back. Raises `SchemaOutdated` if the database has not been migrated.
    """
    if migrations.unapplied(connection):
        raise SchemaOutdated
    if dry_run:
        with transaction.atomic():
            corrected = _correct(listed)
            transaction.set_rollback(True)
        return corrected
    corrected = _correct(listed)
    logger.warning(
        "backup_restored",
        people=corrected.people,
        access_tokens=corrected.access_tokens,
        sessions=corrected.sessions,
        records=corrected.records,
    )
    return corrected


def _correct(listed: Iterable[Deletion]) -> Corrected:
    # First, so that requests in flight are dropped, and because deleting a person takes the lock on their records too.
    records, leases = _make_stale()
    people, undeletable, tokens = _delete_again(listed)
    return Corrected(
        people=people,
        undeletable=undeletable,
        access_tokens=tokens,
        sessions=Session.objects.all().delete()[0],
        records=records,
        leases=leases,
        gate=_reset_gate(),
    )


def _delete_again(listed: Iterable[Deletion]) -> tuple[int, tuple[User, ...], int]:
    """Delete what the list names; return the number of people, those who can't be deleted, and of access tokens.

    The database gives out numbers again that the backup doesn't know, so a row made after the deletion is another one.
    """
    people, undeletable, tokens = 0, list[User](), 0
    for deletion in listed:
        if deletion.event == deletions.PERSON:
            for user in User.objects.filter(pk=deletion.pk, date_joined__lt=deletion.at):
                try:
                    personal_data.forget_user(user)
                except personal_data.LastSuperuserError:
                    undeletable.append(user)
                else:
                    people += 1
        elif deletion.event == deletions.ACCESS_TOKEN:
            revoked = PersonalAccessToken.objects.filter(pk=deletion.pk, created_at__lt=deletion.at)
            tokens += access_tokens.revoke(revoked)
        else:
            of_service = ServiceToken.objects.filter(pk=deletion.pk, created_at__lt=deletion.at)
            tokens += service_tokens.revoke(of_service, by="after_restore")
    return people, tuple(undeletable), tokens


def _make_stale() -> tuple[int, int]:
    """Make fresh answers stale and end leases; return the number of both.

    What Discord reported between the backup and the restore is lost, so no answer may count as fresh, whatever its age.
    A stale one is refreshed when it is read, and stands in if Discord doesn't answer.
    """
    made_stale = leases = 0
    for resource in ALL:
        now = database_now()
        records = resource.model._default_manager
        fenced = {"generation": F("generation") + 1, "lease_until": None}
        leases += records.exclude(lease_until=None).update(**fenced)
        bound = now - resource.windows().fresh
        made_stale += records.filter(verified_at__gt=bound).update(
            verified_at=bound, refresh_after=bound, generation=F("generation") + 1
        )
    return made_stale, leases + DiscordAccount.objects.exclude(renewal_until=None).update(renewal_until=None)


def _reset_gate() -> Gate:
    state = gate.change(Gate.restored)
    DiscordGate.objects.exclude(probe_after=None).update(probe_after=None)
    return state
