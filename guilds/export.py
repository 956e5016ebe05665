"""Everything the site stores about one person, for that person; never a token or a password.

The kinds of rows are named here one by one, and a test compares them with the models: whoever adds a model that names
a person says here how it is exported, or why it isn't. Their fields come along by themselves.
"""

from datetime import datetime
from typing import Any

from django.contrib.admin.models import LogEntry
from django.db.models import BigIntegerField, Field, Model

from accounts.models import DiscordAccount, PersonalAccessToken, Session, User
from guilds.models import GuildListVerification, GuildPreference, UserGuildMembership

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
# Whoever has one of these is the person.
SECRETS: dict[type[Model], set[str]] = {
    User: {"password"},
    DiscordAccount: {"extra_data"},
    PersonalAccessToken: {"digest"},
    Session: {"session_key", "session_data"},
}


def everything_about(user: User) -> dict[str, Any]:
    """A list of rows for each kind, as JSON's types."""
    return {name: [_plain(model, row) for row in _rows(model, lookup, user)] for model, (name, lookup) in KINDS.items()}


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
