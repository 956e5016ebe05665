"""Access to views: `@guild_list_required` for the list, `@guild_required` for one guild of it.

Both also work on async views. `GuildRequiredMixin` is `@guild_required` for class-based views.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast, overload

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.views import View
from django.views.generic.base import TemplateResponseMixin

from accounts.discord import Permissions
from accounts.models import User
from guilds.bot import has_token
from guilds.extras import get_extras
from guilds.middleware import GuildListRequest, GuildRequest
from guilds.problems import BotNotInGuild, MissingPermission, NotInGuild, ProblemRaised
from guilds.problems.catalogue import NOT_SIGNED_IN
from guilds.problems.of_errors import problem_of_no_answer
from guilds.problems.responses import problem_response, wants_json, way_back
from guilds.services import GuildList, NoAnswer, get_guild_list

ViewFunction = TypeVar("ViewFunction", bound=Callable[..., Any])
# Returns a response to short-circuit the view, else None.
Step = Callable[[HttpRequest, dict[str, Any]], HttpResponse | None]


def guild_list_required(view: ViewFunction) -> ViewFunction:
    """Read `request.guild_list` before the view runs.

    An anonymous visitor is redirected to sign-in and returns to this address, or to the form they sent; a program gets
    401. If there is no list to serve, the response is the page that says why (429, 503, or 403 to reconnect).
    """
    return _run_first(_read_list, view)


@overload
def guild_required(permission: ViewFunction) -> ViewFunction: ...
@overload
def guild_required(
    permission: str | Permissions | None = None,
    *,
    max_age: timedelta | None = None,
    bot: bool = False,
    guild_id: str = "guild_id",
) -> Callable[[ViewFunction], ViewFunction]: ...
def guild_required(
    permission: Any = None, *, max_age: timedelta | None = None, bot: bool = False, guild_id: str = "guild_id"
) -> Any:
    """Set `request.guild` before the view runs: the person's membership in the guild whose id is in the URL.

    `guild_id` is the name of that URL argument. The response is 404 if the person isn't in the guild and 403 if they
    lack `permission`, which is Discord's name, such as "manage_guild"; an unknown name raises `ValueError` here.
    `max_age` requires a list verified within that time, for actions that would be dangerous with an old list. It fails
    closed: 429 or 503 if Discord can't confirm the list now. `bot` requires the bot in the guild, else 409. All other
    visitors are answered as by `guild_list_required`. `@guild_required` works with and without parentheses.
    """
    if callable(permission):
        return guild_required()(cast(Callable[..., Any], permission))
    wanted = None if permission is None else Permissions.named(permission)
    if bot:
        assert_bot()

    def step(request: HttpRequest, kwargs: dict[str, Any]) -> HttpResponse | None:
        if response := _not_signed_in(request):
            return response
        enter(request, kwargs, guild_id, wanted, max_age, bot=bot)
        return None

    return partial(_run_first, step)


def enter(
    request: HttpRequest,
    kwargs: Mapping[str, Any],
    guild_id: str = "guild_id",
    permission: Permissions | None = None,
    max_age: timedelta | None = None,
    *,
    bot: bool = False,
) -> None:
    """Set `request.guild` of a signed-in person, or raise the problem to respond with.

    `kwargs` are the arguments of the URL; the one named `guild_id` is the guild's id.
    """
    if guild_id not in kwargs:
        there = ", ".join(kwargs) or "none"
        raise ImproperlyConfigured(
            f"The guild's id is read from the URL argument '{guild_id}', but {request.path} has {there}. "
            f"Write <int:{guild_id}> in the URL, or pass the argument's name as guild_id."
        )
    entering = cast(GuildRequest, request)
    if max_age is not None:
        entering.guild_list = _young_list(entering.user, max_age)
    guild = entering.guild_list.get(kwargs[guild_id])
    if guild is None:
        raise NotInGuild
    # Set before the permission is checked, because the 403 page links to this guild's page.
    entering.guild = guild
    if permission is not None and not guild.may(permission):
        raise MissingPermission(permission)
    if bot and guild.guild_id not in (get_extras(entering.guild_list).with_bot or ()):
        raise BotNotInGuild


def _young_list(user: User, max_age: timedelta) -> GuildList:
    """A list no older than `max_age`. A refusal names that age, since the person may well have an older list."""
    try:
        return get_guild_list(user, max_age)
    except NoAnswer as error:
        if error.reason.is_refusal:
            raise
        raise ProblemRaised(replace(problem_of_no_answer(error), max_age=int(max_age.total_seconds()))) from error


def assert_bot() -> None:
    """Stop the start of a site that has a view with `bot=True` but no bot."""
    if not has_token():
        raise ImproperlyConfigured("A view requires the bot (bot=True), but DISCORD_BOT_TOKEN is not set.")


def _read_list(request: HttpRequest, _kwargs: dict[str, Any]) -> HttpResponse | None:
    if response := _not_signed_in(request):
        return response
    _ = cast(GuildListRequest, request).guild_list.guilds_json  # reading it is the point
    return None


def _not_signed_in(request: HttpRequest) -> HttpResponse | None:
    if request.user.is_authenticated:
        return None
    if wants_json(request):
        return problem_response(request, NOT_SIGNED_IN)
    return redirect_to_login(way_back(request))


def _run_first(step: Step, view: ViewFunction) -> ViewFunction:
    """Wrap `view` so that it runs only if `step` returns no response of its own."""

    @wraps(view)
    def run(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        return step(request, kwargs) or view(request, *args, **kwargs)

    @wraps(view)
    async def run_async(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        return await sync_to_async(step)(request, kwargs) or await view(request, *args, **kwargs)

    return cast(ViewFunction, run_async if iscoroutinefunction(view) else run)


if TYPE_CHECKING:

    class _AnyView(TemplateResponseMixin, View):
        """Both of Django's classes that declare `request`, so that the mixin's declaration wins in any view."""

else:
    _AnyView = View


class GuildRequiredMixin(_AnyView):
    """`@guild_required` for class-based views: `self.request.guild` is set before the view's own methods run.

    Put it left of Django's view: `class Settings(GuildRequiredMixin, FormView)`. See `guild_required` for how all other
    visitors are answered.
    """

    permission: ClassVar[str | Permissions | None] = None
    max_age: ClassVar[timedelta | None] = None
    bot: ClassVar[bool] = False
    guild_id_kwarg: ClassVar[str] = "guild_id"
    request: GuildRequest

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # Makes a wrong attribute fail when the module is imported, not at the first request.
        guild_required(cls.permission, bot=cls.bot)

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        required = guild_required(self.permission, max_age=self.max_age, bot=self.bot, guild_id=self.guild_id_kwarg)
        response: HttpResponseBase = required(super().dispatch)(request, *args, **kwargs)
        return response
