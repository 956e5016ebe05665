"""Access to views: `@guild_list_required` for the list, `@guild_required` for one guild of it.

Both also work on async views. `GuildRequiredMixin` is `@guild_required` for class-based views.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from datetime import timedelta
from functools import wraps
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast, overload

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.views import View
from django.views.generic.base import TemplateResponseMixin
from django.views.generic.detail import SingleObjectMixin
from django.views.generic.edit import BaseCreateView, FormMixin
from django_htmx.http import HttpResponseClientRedirect
from django_htmx.middleware import HtmxDetails

from accounts.decorators import open_to_all as open_to_all  # views import it from here
from accounts.discord import PermissionName, Permissions
from accounts.requests import say_not_saved
from guilds.guard.access import BotNeed, Requirements, RoleNeed, Rule, Validate
from guilds.guard.near_misses import ATTRIBUTES, meant, refuse_near_misses
from guilds.middleware import GuildListRequest, GuildRequest
from guilds.problems.catalogue import NOT_SIGNED_IN
from guilds.problems.responses import is_fragment, problem_response, wants_json, way_back

ViewFunction = TypeVar("ViewFunction", bound=Callable[..., Any])
MarkedView = TypeVar("MarkedView", bound=Callable[..., Any])
# Returns a response to short-circuit the view, else None.
Step = Callable[[HttpRequest, Sequence[Any], dict[str, Any]], HttpResponse | None]

KEYWORDS = tuple(field.name for field in fields(Requirements))
FOR_CLASSES = (
    "For a class-based view, use GuildRequiredMixin, or method_decorator on its dispatch; "
    "for a REST framework view, use permission_classes = [InGuild]."
)


def guild_list_required(view: ViewFunction) -> ViewFunction:
    """Read `request.guild_list` before the view runs.

    An anonymous visitor is redirected to sign-in and returns to this address, or to the form they sent; a program gets
    401. If there is no list to serve, the response is the page that says why (429, 503, or 403 to reconnect).
    """
    if not callable(view):
        raise TypeError(
            f"guild_list_required has no arguments, but got {view!r}. It reads the list alone; for a permission in one "
            'guild, use guild_required("manage_guild").'
        )
    return _run_first(_read_list, view)


@overload
def guild_required(permission: ViewFunction) -> ViewFunction: ...
@overload
def guild_required(
    permission: PermissionName | Permissions | None = None,
    *,
    role: RoleNeed | None = None,
    member: bool = False,
    max_age: timedelta | None = None,
    write_max_age: timedelta | None = None,
    bot: BotNeed = False,
    rule: Rule | None = None,
    validate: Validate | None = None,
    guild_id: str = "guild_id",
) -> Callable[[ViewFunction], ViewFunction]: ...
def guild_required(permission: Any = None, **needs: Any) -> Any:
    """Set `request.guild` before the view runs: the person's membership in the guild whose id is in the URL.

    `guild_id` is the name of that URL argument. The response is 404 if the person isn't in the guild and 403 if they
    lack `permission`, which is Discord's name, such as "manage_guild"; an unknown name raises `ValueError` here.

    `role` requires one of these roles: an id, several ids, or a function of the request that returns them. The owner
    needs none; administrators do. Without the role the response is 403, and the view never runs if the roles can't be
    had (429, 503, or 403 if the person has to share them). With `member=True`, `request.guild.member` is known when
    the view begins.

    `max_age` requires a list, and roles, verified within that time, for actions that would be dangerous with old ones.
    It fails closed: 429 or 503 if Discord can't confirm them now. `write_max_age` does so for unsafe methods
    alone, such as POST. `validate` is a function of the request and `request.guild` that rejects bad input by returning
    a response. It runs before Discord is asked, if older answers admit the person, so that mistakes don't get a 503.

    `rule` is a function of the request and `request.guild` that decides last: it returns True, False or a `Refusal`,
    which is a 403 with its reason.

    `bot` requires the bot in the guild, else 409, or 503
    before the first complete list of the bot's guilds; with names, such as `bot=("send_messages", "embed_links")`, it
    also requires that the bot has these permissions there. All other visitors are answered as by `guild_list_required`.
    `@guild_required` works with and without parentheses.
    """
    if callable(permission):
        return guild_required()(cast(Callable[..., Any], permission))
    for name in needs.keys() - KEYWORDS:
        near = meant(name, KEYWORDS)
        raise TypeError(f"guild_required has no argument {name!r}" + (f"; did you mean {near!r}?" if near else "."))
    return _guard(Requirements.of(permission=permission, **needs))


def _guard(requirements: Requirements) -> Callable[[ViewFunction], ViewFunction]:
    def step(request: HttpRequest, args: Sequence[Any], kwargs: dict[str, Any]) -> HttpResponse | None:
        if response := not_signed_in(request):
            return response
        return requirements.enter(request, args, kwargs)

    def guard(view: ViewFunction) -> ViewFunction:
        guarded = _run_first(step, view)
        guarded.guards_guild = requirements.guild_id  # type: ignore[attr-defined]  # read by `guilds.whole_site.checks`
        return guarded

    return guard


def _read_list(request: HttpRequest, _args: Sequence[Any], _kwargs: dict[str, Any]) -> HttpResponse | None:
    if response := not_signed_in(request):
        return response
    _ = cast(GuildListRequest, request).guild_list.guilds_json  # reading it is the point
    return None


def not_signed_in(request: HttpRequest) -> HttpResponse | None:
    """Return the response to an anonymous visitor, who returns to this page; None for a signed-in person."""
    if request.user.is_authenticated:
        return None
    if wants_json(request):
        return problem_response(request, NOT_SIGNED_IN)
    say_not_saved(request)
    to_sign_in = redirect_to_login(way_back(request))
    # htmx would follow a redirect and put the sign-in page where the fragment belongs.
    return HttpResponseClientRedirect(to_sign_in.url) if is_fragment(request) else to_sign_in


def _run_first(step: Step, view: ViewFunction) -> ViewFunction:
    """Wrap `view` so that it runs only if `step` returns no response of its own."""
    if isinstance(view, type):
        raise ImproperlyConfigured(
            f"The decorator is for view functions, but {view.__qualname__} is a class. {FOR_CLASSES}"
        )

    @wraps(view)
    def run(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        _require_request(request, view)
        return step(request, args, kwargs) or view(request, *args, **kwargs)

    @wraps(view)
    async def run_async(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        _require_request(request, view)
        return await sync_to_async(step)(request, args, kwargs) or await view(request, *args, **kwargs)

    return cast(ViewFunction, run_async if iscoroutinefunction(view) else run)


def _require_request(first: object, view: Callable[..., Any]) -> None:
    if hasattr(first, "META"):
        return
    name = getattr(view, "__qualname__", "the view")
    raise ImproperlyConfigured(
        f"The decorator is for view functions, but {name} was called with {type(first).__name__} instead of a request. "
        f"{FOR_CLASSES}"
    )


def unguarded(reason: str) -> Callable[[MarkedView], MarkedView]:
    """Declare why a view with `guild_id` in its URL needs no guard; the system check `guilds.W001` then accepts it.

    It decorates functions and classes, and changes nothing else.
    """
    if not isinstance(reason, str) or not reason.strip():
        raise ValueError("Say why the view needs no guard, for example @unguarded('shows public data only').")

    def mark(view: MarkedView) -> MarkedView:
        view.unguarded = reason  # type: ignore[attr-defined]  # read by `guilds.whole_site.checks`
        return view

    return mark


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

    permission: ClassVar[PermissionName | Permissions | None] = None
    role: ClassVar[RoleNeed | None] = None
    member: ClassVar[bool] = False
    max_age: ClassVar[timedelta | None] = None
    write_max_age: ClassVar[timedelta | None] = None
    bot: ClassVar[BotNeed] = False
    rule: ClassVar[Rule | None] = None
    validate: ClassVar[Validate | None] = None
    guild_id_kwarg: ClassVar[str] = "guild_id"
    request: GuildRequest

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # Makes a wrong attribute fail when the module is imported, not at the first request.
        refuse_near_misses(cls, GuildRequiredMixin)
        cls._requirements({})

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        requirements = self._requirements(vars(self))
        if requirements.validate is None and isinstance(self, FormMixin):
            requirements = replace(requirements, validate=lambda _request, _guild: _form_rejected(self))
        required = _guard(requirements)
        response: HttpResponseBase = required(super().dispatch)(request, *args, **kwargs)
        return response

    def form_invalid(self, form: Any) -> HttpResponse:
        """Respond to invalid input with status 400 instead of Django's 200, as everywhere on the site.

        Only Django's form views call it. To htmx it stays 200, because htmx shows only successful responses.
        """
        response: HttpResponse = super().form_invalid(form)  # type: ignore[misc]  # of `FormMixin`, in form views
        if response.status_code == HTTPStatus.OK and not HtmxDetails(self.request):
            response.status_code = HTTPStatus.BAD_REQUEST
        return response

    @classmethod
    def _requirements(cls, of_instance: Mapping[str, Any]) -> Requirements:
        """`of_instance` has what `as_view` was called with. A function must not be read from `self`, which binds it."""
        needs = {name: of_instance.get(name, getattr(cls, name)) for name in ATTRIBUTES}
        return Requirements.of(guild_id=needs.pop("guild_id_kwarg"), **needs)


def _form_rejected(view: Any) -> HttpResponse | None:
    """Return the response to an invalid form, as the view's own `post` would."""
    if isinstance(view, SingleObjectMixin):
        view.object = None if isinstance(view, BaseCreateView) else view.get_object()  # type: ignore[attr-defined]
    form = view.get_form()
    response: HttpResponse | None = None if form.is_valid() else view.form_invalid(form)
    return response
