"""How a problem is told: as a page with a way back for people, as problem+json for programs."""

from urllib.parse import urlencode, urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme

from guilds.problems.catalogue import BOT_NOT_IN_GUILD, Problem
from guilds.services import Membership

CSRF_FIELD = "csrfmiddlewaretoken"


def problem_response(request: HttpRequest, problem: Problem) -> HttpResponse:
    """A page for people, problem+json for programs, both with the same status and Retry-After."""
    if wants_json(request):
        return problem_json(problem)
    guild: Membership | None = getattr(request, "guild", None)
    changes = not is_safe(request) and not _is_sign_in(request)
    context = {
        "problem": problem,
        "again": _again(request),
        "is_sign_in": _is_sign_in(request),
        "changes": changes,
        # A form that is only a button has no text to lose.
        "has_text": changes and bool(request.POST.keys() - {CSRF_FIELD}),
        "has_form": changes and came_from(request) is not None,
        # For views without @guild_required, the id is taken from the URL.
        "guild_id": guild.guild_id if guild else _url_argument(request, "guild_id"),
        "can_add_bot": problem is BOT_NOT_IN_GUILD and guild is not None and guild.can_manage,
    }
    return _final(render(request, "guilds/problem.html", context, status=problem.status), problem)


def problem_json(problem: Problem) -> HttpResponse:
    response = JsonResponse(problem.as_dict(), status=problem.status, content_type="application/problem+json")
    return _final(response, problem)


def sign_in_failed(request: HttpRequest, problem: Problem) -> HttpResponse:
    """The page of a sign-in that has to start again."""
    return render(request, "accounts/sign_in_failed.html", {"problem": problem}, status=problem.status)


def _final(response: HttpResponse, problem: Problem) -> HttpResponse:
    if problem.retry_after is not None:
        response["Retry-After"] = str(problem.retry_after)
    response["Cache-Control"] = "no-store"
    return response


def _url_argument(request: HttpRequest, name: str) -> object:
    return request.resolver_match.kwargs.get(name) if request.resolver_match else None


def _is_sign_in(request: HttpRequest) -> bool:
    return request.resolver_match is not None and request.resolver_match.namespace == settings.SOCIAL_AUTH_URL_NAMESPACE


def _again(request: HttpRequest) -> str:
    """Where to try again. Discord's answer to a sign-in works once, so that starts anew, with its way back."""
    if _is_sign_in(request):
        kept = {"next": request.session["next"]} if request.session.get("next") else {}
        return f"{reverse('sign-in')}?{urlencode({'again': 1, **kept})}"
    return way_back(request)


def way_back(request: HttpRequest) -> str:
    """Where the person can go on: this address, or, if it only takes what a form sends, the form's page."""
    return request.get_full_path() if is_safe(request) else came_from(request) or reverse("guilds:picker")


def is_safe(request: HttpRequest) -> bool:
    """Whether the request only reads (RFC 9110, section 9.2.1)."""
    return request.method in ("GET", "HEAD", "OPTIONS", "TRACE")


def came_from(request: HttpRequest) -> str | None:
    """The page of this site on which a form was sent, or a link followed, as the browser says; None if it doesn't."""
    referer = request.headers.get("Referer", "")
    # Browsers send an absolute URL; a value without scheme or host does not come from a browser.
    ours = urlsplit(referer).netloc and url_has_allowed_host_and_scheme(
        referer, {request.get_host()}, require_https=request.is_secure()
    )
    return referer if ours else None


def wants_json(request: HttpRequest) -> bool:
    if request.path.startswith("/api/"):
        return True
    preferred = request.get_preferred_type(["text/html", "application/json", "application/problem+json"])
    return preferred is not None and preferred != "text/html"
