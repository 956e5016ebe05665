"""System checks: unguarded views about a guild, views that ask Discord before they throttle, and what apps declare."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.checks import Warning as CheckWarning
from django.core.exceptions import FieldError
from django.core.management import get_commands, load_command_class
from django.template import TemplateDoesNotExist
from django.template.loader import get_template
from django.urls import NoReverseMatch, URLPattern, URLResolver, get_resolver
from rest_framework.views import APIView
from social_django.models import UserSocialAuth

from accounts.discord import Permissions
from accounts.models import User
from accounts.token_scopes import TokenScope, declared
from guilds.decorators import GuildRequiredMixin
from guilds.guard.near_misses import near_misses
from guilds.menu import registered_pages
from guilds.operations.jobs import JobCommand
from guilds.permissions import InGuild, ThrottledFirst
from guilds.personal_data import KINDS

ARGUMENT = "guild_id"
METHODS = {name.upper() for name in APIView.http_method_names} - {"HEAD"}


@register(Tags.urls)
def views_about_a_guild_are_guarded(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    return [
        CheckWarning(
            f"The view of '{route}' takes a {ARGUMENT} from its URL, but anyone can open it.",
            hint="Add @guild_required, GuildRequiredMixin or permission_classes = [InGuild], or say why the view needs "
            "no guard: @unguarded('shows public data only') from guilds.decorators.",
            obj=_name(view),
            id="guilds.W001",
        )
        for route, view in _views(get_resolver())
        if f":{ARGUMENT}>" in route or f"<{ARGUMENT}>" in route
        if not _is_guarded(view)
    ]


@register(Tags.urls)
def views_throttle_before_they_ask_discord(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    return [
        CheckWarning(
            f"The view of '{route}' checks guild permissions, which can ask Discord, before it counts the request.",
            hint="Put ThrottledFirst of guilds.permissions left of its base: class Settings(ThrottledFirst, APIView).",
            obj=_name(view),
            id="guilds.W002",
        )
        for route, view in _views(get_resolver())
        if (cls := getattr(view, "cls", None)) and _checks_guild(cls) and not issubclass(cls, ThrottledFirst)
    ]


@register(Tags.urls)
def requirements_of_endpoints_are_read(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    return [
        Error(
            f"{owner.__qualname__}.{name} of the view of '{route}' requires nothing, because REST framework doesn't "
            "read it.",
            hint='Write it on the permission, such as permission_classes = [InGuild.may("manage_guild")], or give it '
            "another name.",
            obj=_name(view),
            id="guilds.E010",
        )
        for route, view in _views(get_resolver())
        if (cls := _class(view)) and _checks_guild(cls) and not issubclass(cls, GuildRequiredMixin)
        for owner, name, _meant in near_misses(cls, APIView)
        if not hasattr(APIView, name)
    ]


@register()
def apps_name_the_bots_permissions(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    for app in apps.get_app_configs():
        names = getattr(app, "bot_permissions", ())
        hint = 'Write Discord\'s names in a tuple, such as bot_permissions = ("send_messages",).'
        if isinstance(names, str):
            found.append(Error(f"{app.label}: bot_permissions is a string.", hint=hint, id="guilds.E001"))
            continue
        try:
            Permissions.all_named(names)
        except ValueError as error:
            found.append(Error(f"{app.label}: bot_permissions: {error}.", hint=hint, id="guilds.E001"))
    return found


@register()
def apps_declare_token_scopes(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    declared_by: dict[str, str] = {}
    for app in apps.get_app_configs():
        scopes = getattr(app, "token_scopes", ())
        if not isinstance(scopes, tuple) or not all(isinstance(scope, TokenScope) for scope in scopes):
            hint = 'Write token_scopes = (TokenScope("votes:read", "Read the votes"),), with the comma.'
            found.append(Error(f"{app.label}: token_scopes is no tuple of TokenScope.", hint=hint, id="guilds.E006"))
            continue
        for scope in scopes:
            first = declared_by.setdefault(scope.name, app.label)
            if first != app.label:
                message = f"{app.label} declares the scope '{scope.name}', which {first} declares too."
                found.append(Error(message, hint="Give it another name.", id="guilds.E007"))
    return found


@register(Tags.urls)
def scopes_of_views_exist(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    for route, view in _views(get_resolver()):
        wanted = getattr(view, "initkwargs", {}).get("token_scope") or getattr(_class(view), "token_scope", None)
        by_method = wanted if isinstance(wanted, Mapping) else {"": wanted} if wanted else {}
        for method, scope in by_method.items():
            if method and method not in METHODS:
                message = f"token_scope of the view of '{route}' names '{method}', which is no method of HTTP."
                hint = 'Write methods in capitals: token_scope = {"GET": "votes:read"}. HEAD needs the scope of GET.'
                found.append(Error(message, hint=hint, obj=_name(view), id="guilds.E008"))
            if scope not in declared():
                message = f"The view of '{route}' requires the scope '{scope}', which no app declares."
                hint = f"Known scopes: {', '.join(sorted(declared()))}. Declare it as token_scopes in an AppConfig."
                found.append(Error(message, hint=hint, obj=_name(view), id="guilds.E009"))
    return found


@register(Tags.urls)
def registered_pages_exist(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    for page in registered_pages():
        try:
            page.url(1)
        except NoReverseMatch:
            hint = "A page takes the guild's id from its URL and nothing else: <int:guild_id>."
            found.append(Error(f"No URL is named '{page.view}' and takes a guild's id.", hint=hint, id="guilds.E002"))
        try:
            get_template(page.icon_template)
        except TemplateDoesNotExist:
            hint = f"Add the template {page.icon_template} to your app, or use one of templates/icons/."
            found.append(Error(f"The page '{page.view}' has an unknown icon.", hint=hint, id="guilds.E003"))
    return found


@register(Tags.models)
def models_about_people_are_registered(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    for app in apps.get_app_configs():
        listed = getattr(app, "personal_data", {})
        found += [_wrong_lookup(app, name, lookup) for name, lookup in listed.items() if not _finds(app, name, lookup)]
        found += [
            CheckWarning(
                f"{model._meta.label} has a key to the user, but the export and the deletion of a person's data don't "
                "know it.",
                hint=f'Add personal_data = {{"{model.__name__}": "{field.name}"}} to the AppConfig, or None instead of '
                "the field if its rows aren't about that person.",
                obj=model,
                id="guilds.W003",
            )
            for model in app.get_models(include_auto_created=True)
            if not model._meta.proxy and model not in {*KINDS, UserSocialAuth} and model.__name__ not in listed
            for field in [field for field in model._meta.concrete_fields if field.related_model is User][:1]
        ]
    return found


def _finds(app: AppConfig, name: str, lookup: str | None) -> bool:
    try:
        model = app.get_model(name)
        model._default_manager.filter(**{lookup: 0} if lookup else {})
    except (LookupError, FieldError):
        return False
    return True


def _wrong_lookup(app: AppConfig, name: str, lookup: str | None) -> CheckMessage:
    return Error(
        f"{app.label}: personal_data has {{{name!r}: {lookup!r}}}, but there is no such model or no such field.",
        hint='Write the name of a model of the app and the field that holds the person, such as {"Vote": "voter"}.',
        id="guilds.E004",
    )


def _views(resolver: URLResolver, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the route and the view of each URL, those of included modules too."""
    for pattern in resolver.url_patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _views(pattern, route)
        elif isinstance(pattern, URLPattern):
            yield route, pattern.callback


def _class(view: Any) -> type | None:
    """Return the class of a class-based view. Django's views have `view_class`, those of REST framework `cls`."""
    cls: type | None = getattr(view, "view_class", None) or getattr(view, "cls", None)
    return cls


def _is_guarded(view: Any) -> bool:
    cls = _class(view)
    if any(hasattr(each, "unguarded") for each in (view, cls)):
        return True
    if hasattr(view, "guards_guild") or hasattr(getattr(cls, "dispatch", None), "guards_guild"):
        return True
    return cls is not None and (_dispatches_guarded(cls) or _checks_guild(cls))


def _dispatches_guarded(cls: type) -> bool:
    """Whether the mixin's `dispatch` runs. That of REST framework calls no other, so the mixin must be left of it."""
    order = cls.__mro__
    if GuildRequiredMixin not in order:
        return False
    return APIView not in order or order.index(GuildRequiredMixin) < order.index(APIView)


def _checks_guild(cls: type | None) -> bool:
    """Whether the REST framework view uses `InGuild`, or chooses its permissions itself, which counts as the same."""
    if cls is None or not issubclass(cls, APIView):
        return False
    return cls.get_permissions is not APIView.get_permissions or any(map(_is_in_guild, cls.permission_classes))


def _is_in_guild(permission: Any) -> bool:
    """Whether a permission, or a part of a combination such as `Moderates | CanManageGuild`, is a guild's."""
    if isinstance(permission, type):
        return issubclass(permission, InGuild)
    parts = (getattr(permission, name, None) for name in ("op1_class", "op2_class"))
    return any(part is not None and _is_in_guild(part) for part in parts)


def _name(view: Any) -> str:
    cls = _class(view) or view
    return f"{cls.__module__}.{getattr(cls, '__qualname__', type(cls).__name__)}"


@register()
def scheduled_commands_can_run(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    there = get_commands()
    for command, interval in settings.SCHEDULED_COMMANDS.items():
        if not isinstance(interval, timedelta) or interval <= timedelta():
            message = f"SCHEDULED_COMMANDS says that '{command}' runs every {interval!r}, which is no interval."
            hint = f"Write a timedelta, such as {{'{command}': timedelta(hours=1)}}."
            found.append(Error(message, hint=hint, id="guilds.E011"))
        if command not in there:
            message = f"SCHEDULED_COMMANDS names '{command}', which is no command of manage.py."
            found.append(Error(message, id="guilds.E005"))
        elif not isinstance(load_command_class(there[command], command), JobCommand):
            message = f"SCHEDULED_COMMANDS names '{command}', whose runs aren't recorded, so it is always overdue."
            hint = "Derive its Command from JobCommand of guilds.operations.jobs."
            found.append(CheckWarning(message, hint=hint, id="guilds.W004"))
    return found
