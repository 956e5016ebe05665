"""The doors in front of views: `@guild_list_required` for the list, `@guild_required` for one guild of it.

Async views may stand behind them too.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial, wraps
from typing import Any, TypeVar, cast, overload

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse

from accounts.discord import Permissions
from accounts.models import User
from guilds.bot import has_token
from guilds.extras import annotations_of
from guilds.middleware import GuildListRequest, GuildRequest
from guilds.problems import (
    BOT_NOT_IN_GUILD,
    NOT_IN_GUILD,
    NOT_SIGNED_IN,
    ProblemRaised,
    missing_permission,
    problem_of,
    problem_response,
    wants_json,
    way_back,
)
from guilds.services import GuildList, get_guild_list

View = TypeVar("View", bound=Callable[..., Any])
# Answers instead of the view, or lets it be called.
Step = Callable[[HttpRequest, dict[str, Any]], HttpResponse | None]


def guild_list_required(view: View) -> View:
    """Let the view be sure of `request.guild_list`: it has been read when the view begins.

    An anonymous visitor goes to sign-in and comes back, to the form if they sent one; a program gets 401. A list that
    can't be had becomes the page that says why (429, 503, reconnect).
    """
    return _behind(_read_list, view)


@overload
def guild_required(permission: View) -> View: ...
@overload
def guild_required(
    permission: str | Permissions | None = None,
    *,
    max_age: timedelta | None = None,
    bot: bool = False,
    guild_id: str = "guild_id",
) -> Callable[[View], View]: ...
def guild_required(
    permission: Any = None, *, max_age: timedelta | None = None, bot: bool = False, guild_id: str = "guild_id"
) -> Any:
    """Let the view be sure of `request.guild`, the person's membership in the guild that the URL names as `guild_id`.

    404 for a guild the person isn't in, 403 without `permission` (Discord's name, such as "manage_guild"; `ValueError`
    for another). `max_age` demands a list verified no longer ago, for what would be dangerous on an old one, and fails
    closed: 429 or 503 where Discord can't be asked. `bot` demands that the bot is in the guild: 409 where it isn't.
    Else as `guild_list_required`; `@guild_required` works bare.
    """
    if callable(permission):
        return guild_required()(cast(Callable[..., Any], permission))
    wanted = None if permission is None else Permissions.named(permission)
    if bot:
        assert_bot()

    def step(request: HttpRequest, kwargs: dict[str, Any]) -> HttpResponse | None:
        if answer := _not_signed_in(request):
            return answer
        enter(request, kwargs, guild_id, wanted, max_age, bot=bot)
        return None

    return partial(_behind, step)


def enter(
    request: HttpRequest,
    kwargs: Mapping[str, Any],
    guild_id: str = "guild_id",
    permission: Permissions | None = None,
    max_age: timedelta | None = None,
    *,
    bot: bool = False,
) -> None:
    """Find the guild for somebody signed in, as `request.guild` from now on. Raises what becomes the answer if not.

    `kwargs` are the URL's, and `guild_id` the name that the guild's id has there.
    """
    if guild_id not in kwargs:
        there = ", ".join(kwargs) or "none"
        raise ImproperlyConfigured(
            f"The door looks for the guild in the URL's argument '{guild_id}', and {request.path} has {there}. "
            f"Write <int:{guild_id}> in the URL, or name the argument that it is."
        )
    entering = cast(GuildRequest, request)
    if max_age is not None:
        entering.guild_list = _young_list(entering.user, max_age)
    guild = entering.guild_list.get(kwargs[guild_id])
    if guild is None:
        raise ProblemRaised(NOT_IN_GUILD)
    # Set before the rest is asked: the page that says no leads to what the person may do there.
    entering.guild = guild
    if permission is not None and not guild.may(permission):
        raise ProblemRaised(missing_permission(permission))
    if bot and guild.guild_id not in (annotations_of(entering.guild_list).with_bot or ()):
        raise ProblemRaised(BOT_NOT_IN_GUILD)


def _young_list(user: User, max_age: timedelta) -> GuildList:
    """A list as young as demanded. The person may well have an older one, so a refusal says what was demanded."""
    try:
        return get_guild_list(user, max_age)
    except Exception as error:
        problem = problem_of(error)
        if problem is None or problem.retry_after is None:
            raise
        raise ProblemRaised(replace(problem, max_age=int(max_age.total_seconds()))) from error


def assert_bot() -> None:
    """A view for guilds that the bot is in, on a site without a bot, is a mistake that is found at the start."""
    if not has_token():
        raise ImproperlyConfigured("A view demands the bot (bot=True), and without DISCORD_BOT_TOKEN there is none.")


def _read_list(request: HttpRequest, _kwargs: dict[str, Any]) -> HttpResponse | None:
    if answer := _not_signed_in(request):
        return answer
    _ = cast(GuildListRequest, request).guild_list.guilds_json  # reading it is the point
    return None


def _not_signed_in(request: HttpRequest) -> HttpResponse | None:
    if request.user.is_authenticated:
        return None
    if wants_json(request):
        return problem_response(request, NOT_SIGNED_IN)
    return redirect_to_login(way_back(request))


def _behind(step: Step, view: View) -> View:
    """`view`, called only if `step` has no answer of its own."""

    @wraps(view)
    def behind(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        return step(request, kwargs) or view(request, *args, **kwargs)

    @wraps(view)
    async def behind_async(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        return await sync_to_async(step)(request, kwargs) or await view(request, *args, **kwargs)

    return cast(View, behind_async if iscoroutinefunction(view) else behind)
