"""The responses for a problem: a page with a link back for people, problem+json for programs."""

from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django_htmx.middleware import HtmxDetails

from accounts import gate, scopes
from accounts.limits import Reason
from accounts.sign_in import Destination, destination_of
from guilds.problems.catalogue import (
    BOT_MISSING_PERMISSION,
    BOT_NOT_IN_GUILD,
    MEMBERSHIP_REQUIRED,
    MISSING_SCOPE,
    NOT_IN_GUILD,
    RECONNECT_REQUIRED,
    UNEXPECTED_REPLY,
    Problem,
)
from guilds.services import Membership

CSRF_FIELD = "csrfmiddlewaretoken"


def problem_response(request: HttpRequest, problem: Problem) -> HttpResponse:
    """Return a page for people, a fragment for htmx or problem+json for programs, with one status and Retry-After."""
    if wants_json(request):
        return problem_json(problem)
    guild: Membership | None = getattr(request, "guild", None)
    changes = not is_safe(request) and not is_sign_in(request)
    manages = guild is not None and guild.can_manage
    remedies = {
        "can_reconnect": _can_reconnect(problem),
        "consent": _consent(request, problem),
        "can_add_bot": problem is BOT_NOT_IN_GUILD and manages,
        "can_update_bot": problem.name == BOT_MISSING_PERMISSION.name and manages,
    }
    context = {
        "problem": problem,
        # A person who is refused stays among the server's pages, unless the refusal says that they aren't in it.
        "frame": "guilds/base_guild.html" if guild and problem.name != NOT_IN_GUILD.name else "base.html",
        "again": _again(request),
        "is_sign_in": is_sign_in(request),
        "destination": destination_of(request) if is_sign_in(request) else None,
        "changes": changes,
        # A form that is only a button has no text to lose.
        "has_text": changes and bool(request.POST.keys() - {CSRF_FIELD}),
        "has_form": changes and came_from(request) is not None,
        # For views without @guild_required, the id is taken from the URL.
        "guild_id": guild.guild_id if guild else _url_argument(request, "guild_id"),
        # Set if the whole site is closed to the person.
        "required_guild": problem.more.get("guild_id"),
        "invite": settings.REQUIRED_GUILD_INVITE if problem.name == MEMBERSHIP_REQUIRED.name else "",
        **remedies,
        "has_remedy": any(remedies.values()),
    }
    fragment = is_fragment(request)
    template = "guilds/_problem.html" if fragment else "guilds/problem.html"
    response = render(request, template, context, status=problem.status)
    if fragment:
        # Keeps the element that the page's other requests go to; guildhall.js shows a failure only with this header.
        response["HX-Reswap"] = "innerHTML"
    return _final(response, problem)


def _can_reconnect(problem: Problem) -> bool:
    """Whether a new sign-in may help: it brings new tokens, but no settings that fit the database."""
    if problem.reason == Reason.MISCONFIGURED:
        return gate.foreign_issuer() is None
    if problem.name == MISSING_SCOPE.name:
        return problem.more["scope"] in scopes.at_sign_in()
    return problem.name in (RECONNECT_REQUIRED.name, UNEXPECTED_REPLY.name)


def _consent(request: HttpRequest, problem: Problem) -> dict[str, object] | None:
    """Return address and label of a link to grant the missing scope, if only a page may request it."""
    scope = str(problem.more.get("scope", "")) if problem.name == MISSING_SCOPE.name else ""
    if scope in scopes.at_sign_in() or scope not in scopes.allowed():
        return None
    query = Destination(way_back(request), scope).query()
    return {"url": f"{reverse('sign-in')}{query}", "label": scopes.SCOPES[scope].button}


def challenge(response: HttpResponse, attributes: str = "") -> HttpResponse:
    """Add the challenge of a 401 or 403 about a bearer token (RFC 6750, section 3), and return the response."""
    response["WWW-Authenticate"] = f'Bearer realm="guildhall"{attributes}'
    return response


def problem_json(problem: Problem) -> HttpResponse:
    response = JsonResponse(problem.as_dict(), status=problem.status, content_type="application/problem+json")
    return _final(response, problem)


def sign_in_failed(request: HttpRequest, problem: Problem) -> HttpResponse:
    """Return the page for a failed sign-in, with a button to start again."""
    context = {"problem": problem, "destination": destination_of(request)}
    return render(request, "accounts/sign_in_failed.html", context, status=problem.status)


def _final(response: HttpResponse, problem: Problem) -> HttpResponse:
    if problem.retry_after is not None:
        response["Retry-After"] = str(problem.retry_after)
    response["Cache-Control"] = "no-store"
    return name_problem(response, problem)


def name_problem(response: HttpResponse, problem: Problem) -> HttpResponse:
    """Let the log's line of the request name the problem."""
    response.problem_name = problem.name  # type: ignore[attr-defined]  # HttpResponse is open to attributes
    return response


def _url_argument(request: HttpRequest, name: str) -> object:
    return request.resolver_match.kwargs.get(name) if request.resolver_match else None


def is_sign_in(request: HttpRequest) -> bool:
    return request.resolver_match is not None and request.resolver_match.namespace == settings.SOCIAL_AUTH_URL_NAMESPACE


def _again(request: HttpRequest) -> str:
    """Return the address for a retry. A sign-in starts again from the beginning, since its code works only once."""
    if is_sign_in(request):
        return f"{reverse('sign-in')}{destination_of(request).query(again='1')}"
    return way_back(request)


def is_fragment(request: HttpRequest) -> bool:
    """Whether htmx asks for a part of a page. Boosted links and htmx's history ask for whole pages."""
    htmx = HtmxDetails(request)
    return bool(htmx) and not htmx.boosted and not htmx.history_restore_request


def way_back(request: HttpRequest) -> str:
    """Return where the person can continue: this address, or the form's page if this address only accepts forms.

    The address of a fragment is no page; there it is the page that asked for the fragment.
    """
    if is_fragment(request) and (page := HtmxDetails(request).current_url_abs_path):
        return page
    return request.get_full_path() if is_safe(request) else came_from(request) or reverse("guilds:picker")


def is_safe(request: HttpRequest) -> bool:
    """Whether the request only reads (RFC 9110, section 9.2.1)."""
    return request.method in ("GET", "HEAD", "OPTIONS", "TRACE")


def came_from(request: HttpRequest) -> str | None:
    """Return the page of this site that the browser came from, by its Referer; None without one."""
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
