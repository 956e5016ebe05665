"""What the site stores about people: exported for them, purged after retention, forgotten at once.

`KINDS` names the models one by one, and a test compares it with the models there are: a new model about people must
say here how it is exported, or why it isn't. Their fields come along by themselves.
"""

from datetime import datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.db import transaction
from django.db.models import BigIntegerField, F, Field, Model

from accounts.clock import database_now
from accounts.models import DiscordAccount, PersonalAccessToken, Session, User
from guilds.models import GuildListVerification, GuildPreference, UserGuildMembership
from guilds.resources.memberships import stored_memberships

logger = structlog.get_logger(__name__)

# Model: its name in the export, and the lookup by person.
KINDS: dict[type[Model], tuple[str, str]] = {
    User: ("user", "pk"),
    DiscordAccount: ("discord_account", "user_id"),
    GuildListVerification: ("guild_list_verification", "user_id"),
    UserGuildMembership: ("guild_memberships", "user_id"),
    GuildPreference: ("guild_preferences", "user_id"),
    PersonalAccessToken: ("personal_access_tokens", "user_id"),
    Session: ("sessions", "user_id"),
    LogEntry: ("administration", "user_id"),
    User.groups.through: ("groups", "user_id"),
    User.user_permissions.through: ("user_permissions", "user_id"),
}
# Fields that would let a reader of the export act as the person.
SECRETS: dict[type[Model], set[str]] = {
    User: {"password"},
    DiscordAccount: {"extra_data"},
    PersonalAccessToken: {"digest"},
    Session: {"session_key", "session_data"},
}


def everything_about(user: User) -> dict[str, Any]:
    """All rows about the person but `SECRETS`, a list for each kind, as JSON's types."""
    return {name: [_plain(model, row) for row in _rows(model, lookup, user)] for model, (name, lookup) in KINDS.items()}


def stored_guilds(user: User) -> list[dict[str, Any]]:
    """The person's memberships as the API shows them, with the moments they were first seen and last changed."""
    moments = UserGuildMembership.objects.filter(user=user).values_list("guild_id", "first_seen_at", "changed_at")
    seen = {guild_id: {"first_seen_at": first, "changed_at": last} for guild_id, first, last in moments}
    return [
        {**membership.as_json(), **seen[membership.guild_id]}
        for membership in stored_memberships(user.pk)
        # A membership stored between the two queries is in the next export.
        if membership.guild_id in seen
    ]


def forget_user(user: User) -> None:
    """Delete everything of the person, tokens and sessions included, in one transaction."""
    with transaction.atomic():
        # First, so that an answer in flight finds its claim gone and the lock order holds.
        GuildListVerification.objects.filter(pk=user.pk).update(generation=F("generation") + 1)
        UserGuildMembership.objects.filter(user_id=user.pk).delete()
        GuildListVerification.objects.filter(pk=user.pk).delete()
        DiscordAccount.objects.filter(user_id=user.pk).delete()
        Session.objects.filter(user_id=user.pk).delete()
        # What operators did about them stays on record, without their name.
        entries = LogEntry.objects.filter(content_type__app_label="accounts", content_type__model="user")
        entries.filter(object_id=str(user.pk)).update(object_repr=f"user {user.pk}")
        User.objects.filter(pk=user.pk).delete()
    logger.info("user_forgotten", user_id=user.pk)


def purge_memberships() -> tuple[int, int]:
    """Delete the lists that are past retention; how many people's, and how many memberships.

    One short transaction a person, the verification first, so that a sweep over many never holds up a refresh.
    """
    people = memberships = 0
    before = database_now() - timedelta(days=settings.DISCORD_MEMBERSHIP_RETENTION_DAYS)
    old = GuildListVerification.objects.filter(verified_at__lt=before, user__guild_memberships__isnull=False)
    for user_id in old.order_by("pk").values_list("pk", flat=True).distinct():
        with transaction.atomic():
            row = GuildListVerification.objects.filter(pk=user_id, verified_at__lt=before)
            if row.update(
                verified_at=None,
                refresh_after=None,
                generation=F("generation") + 1,
                version=F("version") + 1,
            ):
                deleted, _ = UserGuildMembership.objects.filter(user_id=user_id).delete()
                people, memberships = people + 1, memberships + deleted
    return people, memberships


def _rows(model: type[Model], lookup: str, user: User) -> Any:
    return model._default_manager.filter(**{lookup: user.pk}).order_by("pk")


def _plain(model: type[Model], row: Model) -> dict[str, Any]:
    fields = [field for field in model._meta.concrete_fields if field.name not in SECRETS.get(model, ())]
    plain = {field.attname: _json(field, getattr(row, field.attname)) for field in fields}
    if isinstance(row, DiscordAccount):
        plain |= {name: row.extra_data.get(name) for name in ("scopes", "expires_at")}
    return plain


def _json(field: "Field[Any, Any]", value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    # Ids and permissions: JavaScript's numbers end at 2^53.
    return str(value) if value is not None and isinstance(field, BigIntegerField) else value
