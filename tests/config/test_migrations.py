"""The previous release works on the new schema, because both write to it during a rolling update."""

from importlib import import_module
from itertools import count
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connection, models
from django.db.migrations.loader import MigrationLoader
from django.utils import timezone

from accounts.models import User
from guilds.models import BotGuild

APPS = ("accounts", "guilds")
LOADER = MigrationLoader(None)
# A value for each type of required column.
VALUES: dict[Any, Any] = {
    models.CharField: lambda number: f"value {number}",
    models.TextField: lambda number: f"value {number}",
    models.IntegerField: lambda number: number,
    models.BooleanField: lambda number: True,
    models.DateTimeField: lambda number: timezone.now(),
    models.JSONField: lambda number: [number],
}
numbers = count(1000)


def insert(model: type[models.Model]) -> models.Model:
    """Insert a row as older code does, with only the required columns and those without a default."""
    given = {
        field.name: value_of(field)
        for field in model._meta.concrete_fields
        if not (field.null or field.has_default() or isinstance(field, models.AutoField | models.BigAutoField))
    }
    return model._default_manager.create(**given)


def value_of(field: Any) -> Any:
    if field.remote_field:
        return insert(field.related_model)
    return next(make for kind, make in VALUES.items() if isinstance(field, kind))(next(numbers))


@pytest.mark.django_db
@pytest.mark.parametrize("migration", sorted(key for key in LOADER.disk_migrations if key[0] in APPS), ids="-".join)
def test_code_of_each_migration_inserts_rows_into_the_newest_schema(migration: tuple[str, str]) -> None:
    state = LOADER.project_state(migration)
    names = [name for app, name in state.models if app == migration[0]]

    for name in names:
        model = state.apps.get_model(migration[0], name)
        if not model._meta.proxy:
            assert insert(model).pk
    connection.check_constraints()


@pytest.mark.django_db
def test_operators_keep_their_permissions_on_the_renamed_bot_guilds() -> None:
    kind = ContentType.objects.get_for_model(BotGuild)
    old = Permission.objects.create(content_type=kind, codename="view_guild", name="Can view server of the bot")
    Permission.objects.filter(codename="view_botguild").delete()
    operator, member = User.objects.create(username="grace"), User.objects.create(username="ada")
    operator.user_permissions.add(old)
    group = Group.objects.create(name="support")
    group.permissions.add(old)
    member.groups.add(group)

    import_module("guilds.migrations.0012_bot_guild_names").copy_permissions(apps, None)

    for user in (operator, member):
        assert User.objects.get(pk=user.pk).has_perms(["guilds.view_guild", "guilds.view_botguild"])
