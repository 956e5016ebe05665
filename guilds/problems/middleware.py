"""Turns exceptions of views and of the sign-in into a page or problem+json."""

from collections.abc import Callable

import structlog
from django.core.exceptions import ObjectDoesNotExist
from django.db import IntegrityError
from django.http import HttpRequest, HttpResponse

from accounts.models import User
from accounts.sign_in import SignInFailure, failure_of
from guilds.problems.catalogue import DATABASE_UNAVAILABLE, SIGN_IN_FAILURES
from guilds.problems.of_errors import problem_of
from guilds.problems.responses import problem_response, sign_in_failed
from guilds.services import NoAnswer, Reason

logger = structlog.get_logger(__name__)

OPERATORS_FAULTS = (SignInFailure.MISCONFIGURED, SignInFailure.OTHER_PROVIDER)


class ProblemMiddleware:
    """Responds to each exception that has a problem; Django handles all others."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        _explain_missing_guild(exception)
        # Checked first, so that a rate limit during sign-in is the same problem as on any other page.
        if _is_person_gone(request, exception):
            exception = NoAnswer("guild_list", Reason.RECONNECT_REQUIRED)
        problem = problem_of(exception)
        if problem is DATABASE_UNAVAILABLE:
            # The page for it is `handler500`'s, which needs no query.
            return None
        if problem:
            return problem_response(request, problem)
        failure = failure_of(exception)
        if failure is None:
            return None
        log = logger.error if failure in OPERATORS_FAULTS else logger.info
        log("sign_in_failed", error=type(exception).__name__, detail=str(exception))
        return sign_in_failed(request, SIGN_IN_FAILURES[failure])


def _explain_missing_guild(exception: Exception) -> None:
    """Add to the traceback what to do about a view that reads `request.guild` without the decorator that sets it."""
    if isinstance(exception, AttributeError) and exception.name == "guild" and hasattr(exception.obj, "META"):
        exception.add_note(
            "request.guild is set by @guild_required, GuildRequiredMixin or permission_classes = [InGuild]. "
            "Add one of them to the view."
        )


def _is_person_gone(request: HttpRequest, exception: Exception) -> bool:
    """Whether the view failed because the data of the request's person was deleted meanwhile."""
    return (
        isinstance(exception, IntegrityError | ObjectDoesNotExist)
        and request.user.is_authenticated
        and not User.objects.filter(pk=request.user.pk).exists()
    )
