"""What views raise becomes a page or problem+json, a sign-in's failures too."""

from collections.abc import Callable

import structlog
from django.http import HttpRequest, HttpResponse

from accounts.sign_in import SignInFailure, failure_of
from guilds.problems.catalogue import SIGN_IN_FAILURES
from guilds.problems.of_errors import problem_of
from guilds.problems.responses import problem_response, sign_in_failed

logger = structlog.get_logger(__name__)


class ProblemMiddleware:
    """Answers for each exception that has a problem; Django handles the others."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        # First: a limit that a sign-in meets is the same problem there as on any other page.
        if problem := problem_of(exception):
            return problem_response(request, problem)
        failure = failure_of(exception)
        if failure is None:
            return None
        log = logger.error if failure is SignInFailure.MISCONFIGURED else logger.info
        log("sign_in_failed", error=type(exception).__name__, detail=str(exception))
        return sign_in_failed(request, SIGN_IN_FAILURES[failure])
