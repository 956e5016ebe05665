"""The door in front of views that need the list."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse

from guilds.problems import NOT_SIGNED_IN, problem_response, wants_json


def guild_list_required(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Let the view be sure of `request.guild_list`: it has been read when the view begins.

    An anonymous visitor goes to sign-in and comes back; a program gets 401. A list that can't be had becomes the page
    that says why (429, 503, reconnect).
    """

    @wraps(view)
    def with_list(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not request.user.is_authenticated:
            if wants_json(request):
                return problem_response(request, NOT_SIGNED_IN)
            return redirect_to_login(request.get_full_path())
        len(request.guild_list)  # type: ignore[attr-defined]  # set by the middleware; reading it is the point
        return view(request, *args, **kwargs)

    return with_list
