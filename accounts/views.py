"""The sign-in page and the account pages."""

from collections.abc import Callable, Collection
from typing import TypeVar

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login, logout
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import ObjectDoesNotExist
from django.db import DatabaseError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from social_django.utils import psa

from accounts import access_tokens as tokens
from accounts.backends import DiscordOAuth2
from accounts.clock import database_now
from accounts.decorators import open_to_all
from accounts.forms import AccessTokenForm
from accounts.models import DiscordAccount, PersonalAccessToken, Session, User
from accounts.requests import SignedInRequest, say_not_saved
from accounts.sign_in import (
    Destination,
    LinkUnconfirmed,
    Prompt,
    SignInFailed,
    SignInFailure,
    destination_of,
    is_at_site_url,
    remember_scopes,
    scopes_to_request,
)
from accounts.token_scopes import Scope


class BackendRequest(HttpRequest):
    """A request that passed social-auth's `psa`."""

    user: User | AnonymousUser
    backend: DiscordOAuth2


V = TypeVar("V", bound=Callable[..., HttpResponse])
with_backend: Callable[[V], V] = psa("social:complete")  # type: ignore[no-untyped-call]  # has no types


@open_to_all
@never_cache
@require_GET
def sign_in(request: HttpRequest) -> HttpResponse:
    """Show the page that leads to Discord, also to a signed-in person who hasn't granted what `scope` names."""
    destination = destination_of(request)
    more: set[str] = set()
    if request.user.is_authenticated and "again" not in request.GET:
        account = DiscordAccount.objects.filter(user_id=request.user.pk, disconnected_at=None).first()
        more = set(destination.scope.split()) - (account.scopes if account else frozenset())
        if not more:
            return go_on(destination.next_page)
    context = {
        "destination": destination,
        "requested": scopes_to_request(request, destination.scope),
        "more": more,
        "again": "again" in request.GET,
    }
    return render(request, "accounts/sign_in.html", context)


def go_on(next_page: str) -> HttpResponse:
    """Redirect a signed-in person to `next_page`, a path on this site, or to their servers if it is empty."""
    return redirect(next_page or settings.LOGIN_REDIRECT_URL)


@open_to_all
@never_cache
@require_POST
@with_backend
def begin_sign_in(request: BackendRequest, backend: str) -> HttpResponse:
    """Begin an attempt and redirect to Discord. A person with a local account must confirm the link first (`link`).

    With `another`, the person is signed out, and Discord shows its page, on which they can choose another account.
    """
    destination = destination_of(request)
    if not is_at_site_url(request):
        return redirect(f"{settings.SITE_URL}{reverse('sign-in')}{destination.query()}")
    another = "another" in request.POST
    if another:
        logout(request)
        request.backend.prompt = Prompt.CONSENT
    user = request.user
    if user.is_authenticated and user.discord_id is None:
        if "link" not in request.POST:
            return _confirm_link(request, destination)
        request.backend.links_user_id = user.pk
    request.backend.destination = destination
    request.backend.requested_scopes = scopes_to_request(request, destination.scope, another=another)
    response: HttpResponse = request.backend.start()
    return response


@open_to_all
@never_cache
@require_GET
@with_backend
def complete_sign_in(request: BackendRequest, backend: str) -> HttpResponse:
    """Handle Discord's callback. A repeated callback redirects a signed-in person to the same destination again."""
    person = request.user if request.user.is_authenticated else None
    destination = destination_of(request)
    links = person is not None and person.discord_id is None
    try:
        user = request.backend.complete(user=person)
        if isinstance(user, HttpResponse):
            return user
        if not isinstance(user, User):
            raise SignInFailed(SignInFailure.FAILED)
        if person is None:
            login(request, user)
            messages.success(request, _("You're signed in as %(name)s.") % {"name": user})
        elif not User.objects.filter(pk=person.pk).exists():
            raise User.DoesNotExist
    except LinkUnconfirmed:
        return _confirm_link(request, destination)
    except SignInFailed as error:
        if person and error.failure is SignInFailure.USED_CODE:
            return go_on(destination.next_page)
        raise
    except (DatabaseError, ObjectDoesNotExist) as error:
        if not _was_forgotten(request.backend, error):
            raise
        # The session was deleted as well and can't be saved.
        logout(request)
        raise SignInFailed(SignInFailure.FORGOTTEN) from error
    if links:
        messages.success(request, _("Your account is now linked to the Discord account “%(name)s”.") % {"name": user})
    response = go_on(destination.next_page)
    remember_scopes(response, request.backend.granted_scopes)
    return response


def _confirm_link(request: BackendRequest, destination: Destination) -> HttpResponse:
    return render(request, "accounts/confirm_link.html", {"destination": destination})


def _was_forgotten(backend: DiscordOAuth2, error: Exception) -> bool:
    """Whether the sign-in failed because the person's data was deleted meanwhile."""
    if isinstance(error, OperationalError):
        return False
    if isinstance(error, ObjectDoesNotExist):
        return True
    return backend.user_id is not None and not User.objects.filter(pk=backend.user_id).exists()


@open_to_all
@never_cache
@login_required
@require_GET
def account(request: SignedInRequest) -> HttpResponse:
    """Show the person's profile and what the site stores about them. Makes no request to Discord."""
    sessions = Session.objects.filter(user_id=request.user.pk, expire_date__gt=timezone.now()).count()
    return render(request, "accounts/account.html", {"sessions": sessions})


@never_cache
@require_http_methods(["GET", "POST"])
def access_tokens(request: HttpRequest) -> HttpResponse:
    """Show the person's access tokens and a form that creates one. Only the response to the form shows the new token.

    That response is not a redirect: to show the token on the next page, the site would have to store it.
    """
    if not request.user.is_authenticated:
        say_not_saved(request)
        return redirect_to_login(reverse("access-tokens"))
    form = AccessTokenForm(request.user, request.POST if request.method == "POST" else None)
    token = command = None
    if form.is_valid():
        try:
            row, token = tokens.create(request.user, form.cleaned_data["name"], form.wanted, form.lifetime)
        except tokens.NameTaken:
            form.add_error(
                "name", _("You already have a token with this name. Choose another name, or revoke that token first.")
            )
        except tokens.TooManyTokens:
            form.add_error(None, _("You've reached the maximum number of tokens. Revoke one first."))
        else:
            command = _curl(row.scopes, token)
            form = AccessTokenForm(request.user)
    context = {
        "form": form,
        "token": token,
        "command": command,
        "tokens": PersonalAccessToken.objects.filter(user=request.user),
        "now": database_now(),
    }
    return render(request, "accounts/tokens.html", context, status=422 if form.errors else 200)


# What a person can try with a token first, by scope: the method, and the name of the URL.
_FIRST_REQUESTS = {
    Scope.GUILDS_READ: ("GET", "api:guilds"),
    Scope.ME_READ: ("GET", "api:me"),
    Scope.BOT_READ: ("GET", "api:bot-guilds"),
    Scope.GUILDS_REFRESH: ("POST", "api:refresh"),
}


def _curl(scopes: Collection[str], token: str) -> str | None:
    """Return a command for a shell that the token may run; None if it only has scopes of the site's own apps."""
    method, name = next((first for scope, first in _FIRST_REQUESTS.items() if scope in scopes), (None, ""))
    if method is None:
        return None
    return tokens.curl_command(method, settings.SITE_URL + reverse(name), token)


@open_to_all
@never_cache
@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """End this session. Its Discord tokens stay valid, as other sessions use them."""
    was_signed_in = request.user.is_authenticated
    logout(request)
    if was_signed_in:
        messages.success(request, _("You've been signed out."))
    return redirect(settings.LOGOUT_REDIRECT_URL)


@open_to_all
@never_cache
@require_POST
def sign_out_everywhere(request: HttpRequest) -> HttpResponse:
    """End all of the person's sessions, including this one.

    Their Discord tokens stay valid: revoking one would make Discord revoke every token this site has for the person.
    """
    if not request.user.is_authenticated:
        return redirect_to_login(reverse("account"))
    Session.objects.filter(user_id=request.user.pk).delete()
    logout(request)
    messages.success(request, _("You've been signed out everywhere."))
    return redirect("home")


@never_cache
@require_http_methods(["GET", "POST"])
def revoke_access_token(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask for confirmation (GET), then revoke a token of the person (POST).

    If the token belongs to another person or no longer exists, both only redirect to the person's tokens.
    """
    if not request.user.is_authenticated:
        return redirect_to_login(reverse("access-tokens"))
    found = PersonalAccessToken.objects.filter(pk=pk, user=request.user)
    if request.method == "GET":
        token = found.first()
        if token:
            return render(request, "accounts/revoke_token.html", {"token": token})
    elif tokens.revoke(found):
        messages.success(request, _("Token revoked."))
    return redirect("access-tokens")
