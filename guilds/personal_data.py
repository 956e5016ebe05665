"""Export, retention and deletion of the data the site stores about people.

`KINDS` lists the models of the project, and an app lists its own in its configuration:

    personal_data = {"Vote": "voter"}  # the model's name, and the lookup that finds rows by the person's id
    personal_secrets = {"Vote": {"receipt"}}  # fields that are not exported

A system check finds models with a key to the user that are in neither. All other fields of a listed model are exported
automatically.
"""

from collections import Counter
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.db import transaction
from django.db.models import BigIntegerField, Exists, F, Field, Model, OuterRef, Q, QuerySet

from accounts import allowance, deletions, tokens
from accounts.clock import database_now
from accounts.models import DiscordAccount, DiscordAllowance, PersonalAccessToken, Session, User
from accounts.rights import is_last_superuser
from guilds.engine.resource import Resource
from guilds.models import GuildListVerification, GuildMember, GuildPreference, UserGuildMembership
from guilds.resources import ALL, PERSONAL, server_usage, snapshots
from guilds.resources.memberships import stored_memberships

# Per purge; the next purge continues. A process could not send more revocations before it ends.
MAX_FORGOTTEN = 500

# Model: its name in the export, and the lookup for the person's id.
KINDS: dict[type[Model], tuple[str, str]] = {
    User: ("user", "pk"),
    DiscordAccount: ("discord_account", "user_id"),
    DiscordAllowance: ("discord_allowances", "owner"),
    GuildListVerification: ("guild_list_verification", "user_id"),
    UserGuildMembership: ("guild_memberships", "user_id"),
    GuildMember: ("guild_members", "user_id"),
    GuildPreference: ("guild_preferences", "user_id"),
    PersonalAccessToken: ("personal_access_tokens", "user_id"),
    Session: ("sessions", "user_id"),
    LogEntry: ("administration", "user_id"),
    User.groups.through: ("groups", "user_id"),
    User.user_permissions.through: ("user_permissions", "user_id"),
}
# Which rows of a model are about people, if not all.
ABOUT_PEOPLE: dict[type[Model], Q] = {DiscordAllowance: Q(kind__in=allowance.PERSONAL)}
# Fields that would let a reader of the export act as the person.
SECRETS: dict[type[Model], set[str]] = {
    User: {"password"},
    DiscordAccount: {"extra_data"},
    PersonalAccessToken: {"digest"},
    Session: {"session_key", "session_data"},
}


def kinds_of_apps() -> dict[type[Model], tuple[str, str]]:
    """Return the models that apps list as `personal_data`, as in `KINDS`. A model with the lookup None is excluded."""
    return {
        (model := app.get_model(name)): (model._meta.label_lower, lookup)
        for app in apps.get_app_configs()
        for name, lookup in getattr(app, "personal_data", {}).items()
        if lookup
    }


def everything_about(user: User) -> dict[str, Any]:
    """Return all rows about the person as JSON values, one list per kind, without secret fields."""
    kinds = KINDS | kinds_of_apps()
    return {name: [_plain(model, row) for row in _rows(model, lookup, user)] for model, (name, lookup) in kinds.items()}


def counts_of_apps(user: User) -> dict[str, int]:
    """Return how many rows the apps store about the person, by the model's name for several."""
    return {
        str(model._meta.verbose_name_plural): _rows(model, lookup, user).count()
        for model, (_, lookup) in kinds_of_apps().items()
    }


def stored_guilds(user: User) -> list[dict[str, Any]]:
    """Return the person's memberships as the API shows them, plus `first_seen_at` and `changed_at`."""
    moments = UserGuildMembership.objects.filter(user=user).values_list("guild_id", "first_seen_at", "changed_at")
    seen = {guild_id: {"first_seen_at": first, "changed_at": last} for guild_id, first, last in moments}
    return [
        {**membership.as_json(), **seen[membership.guild_id]}
        for membership in stored_memberships(user.pk)
        # Skip a membership stored between the two queries; the next export has it.
        if membership.guild_id in seen
    ]


class LastSuperuserError(Exception):
    """The account is the site's last superuser, so it can't be deleted."""


def forget_user(user: User) -> None:
    """Delete all data about the person, including tokens and sessions, in one transaction.

    After the commit, the person's number joins the list of deletions, cached values are deleted, and a background
    thread asks Discord to revoke the tokens.
    Raises `LastSuperuserError` and deletes nothing if the person is the last superuser.
    """
    with transaction.atomic():
        if is_last_superuser(user):
            raise LastSuperuserError
        for resource in PERSONAL:
            _delete_records(resource, user.pk)
        for model, (_, lookup) in kinds_of_apps().items():
            _rows(model, lookup, user).order_by().delete()
        account = DiscordAccount.objects.filter(user_id=user.pk).first()
        DiscordAccount.objects.filter(user_id=user.pk).delete()
        Session.objects.filter(user_id=user.pk).delete()
        # Operators' log entries about the person stay, but without the name that earlier releases stored in them.
        entries = LogEntry.objects.filter(content_type__app_label="accounts", content_type__model="user")
        entries.filter(object_id=str(user.pk)).update(object_repr=f"user {user.pk}")
        User.objects.filter(pk=user.pk).delete()
        # Last, because an attempt may create one as long as the person exists.
        allowance.forget(user.pk)
        # A failure in the steps below must not undo the deletion, which is committed by then.
        transaction.on_commit(partial(deletions.person_forgotten, user.pk), robust=True)
        transaction.on_commit(partial(_delete_cached, user.pk), robust=True)
        if account:
            transaction.on_commit(partial(tokens.revoke, account), robust=True)


def forget_inactive() -> int:
    """Delete people who have not signed in for DISCORD_ACCOUNT_RETENTION_DAYS. At most `MAX_FORGOTTEN`.

    Returns how many. Staff, people with an active session and inactive accounts are kept: deleting a blocked person
    would lift the block, and tombstones hold the audit log. Each person is deleted in a transaction of their own.
    """
    now = database_now()
    before = now - timedelta(days=settings.DISCORD_ACCOUNT_RETENTION_DAYS)
    sessions = Session.objects.filter(user_id=OuterRef("pk"), expire_date__gt=now)
    inactive = User.objects.filter(is_active=True, is_staff=False, is_superuser=False).filter(
        Q(last_login__lt=before) | Q(last_login=None, date_joined__lt=before), ~Exists(sessions)
    )
    forgotten = 0
    for user in inactive.order_by("pk")[:MAX_FORGOTTEN]:
        with transaction.atomic():
            # The person may have signed in since the list was read.
            if inactive.filter(pk=user.pk).exists():
                forget_user(user)
                forgotten += 1
    return forgotten


def _delete_cached(user_id: int) -> None:
    snapshots.delete(user_id)
    server_usage.delete_ranking()


def _delete_records(resource: Resource[Any, Any], user_id: int) -> None:
    """Delete the person's records with the rows that belong to them. The caller opens the transaction."""
    records = resource.model._default_manager.filter(user_id=user_id)
    # First, to keep the lock order and so that a response in flight finds its claim gone.
    records.update(generation=F("generation") + 1)
    for pk in records.values_list("pk", flat=True):
        _delete_rows(resource, pk)
    records.delete()


def purge_memberships() -> tuple[Counter[str], int]:
    """Delete stored answers that are past their retention.

    Returns the number of records that were deleted or cleared, by resource, and of the memberships they had. Also
    deletes allowances that restrict nothing any more. Each record takes one short transaction, which locks the record
    first, so a long purge never blocks a refresh.
    """
    allowance.purge()
    records, memberships = Counter[str](), 0
    before = database_now() - timedelta(days=settings.DISCORD_MEMBERSHIP_RETENTION_DAYS)
    for resource in ALL:
        if not resource.is_purged:
            continue
        old = resource.model._default_manager.filter(_is_expired(resource, before))
        held = resource.rows_of(OuterRef("pk"))
        with_answer = old if held is None else old.filter(Exists(held))
        for pk in with_answer.order_by("pk").values_list("pk", flat=True):
            with transaction.atomic():
                if _delete_record_or_clear(resource, old.filter(pk=pk)):
                    records[resource.name] += 1
                    memberships += _delete_rows(resource, pk)
    return records, memberships


def _is_expired(resource: Resource[Any, Any], before: datetime) -> Q:
    """Match records verified before then. A record without an answer, if its reader can create it again, counts too."""
    old = Q(verified_at__lt=before)
    if resource.rows_of(0) is not None:
        return old
    idle = Q(lease_until=None) | Q(lease_until__lt=before)
    return old | Q(idle, Q(not_before=None) | Q(not_before__lt=before), verified_at=None)


def _delete_record_or_clear(resource: Resource[Any, Any], record: QuerySet[Any]) -> int:
    """Delete a record that holds its answer in its own columns; clear any other. Returns the number of records."""
    if resource.rows_of(0) is None:
        return record.delete()[0]
    return record.update(verified_at=None, refresh_after=None, generation=F("generation") + 1, version=F("version") + 1)


def _delete_rows(resource: Resource[Any, Any], record: int) -> int:
    rows = resource.rows_of(record)
    return 0 if rows is None else rows.delete()[0]


def _rows(model: type[Model], lookup: str, user: User) -> Any:
    # A query instead of `user.pk`, because an app's key can refer to another field of the person, such as `discord_id`.
    is_about = {f"{lookup}__in": User.objects.filter(pk=user.pk)}
    return model._default_manager.filter(ABOUT_PEOPLE.get(model, Q()), **is_about).order_by("pk")


def _plain(model: type[Model], row: Model) -> dict[str, Any]:
    of_app = getattr(apps.get_app_config(model._meta.app_label), "personal_secrets", {}).get(model.__name__, ())
    secret = {*SECRETS.get(model, ()), *of_app}
    fields = [field for field in model._meta.concrete_fields if field.name not in secret]
    plain = {field.attname: _json(field, getattr(row, field.attname)) for field in fields}
    if isinstance(row, DiscordAccount):
        plain |= {name: row.extra_data.get(name) for name in ("scopes", "expires_at")}
    if isinstance(row, GuildMember):
        plain["roles"] = [str(role) for role in row.roles]
    return plain


def _json(field: "Field[Any, Any]", value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    # JavaScript can't represent ids and permissions above 2^53 as numbers.
    if isinstance(value, str | int | float | list | dict | None) and not isinstance(field, BigIntegerField):
        return value
    # Fields of apps can hold dates, decimals, files and more.
    return None if value is None else str(value)
