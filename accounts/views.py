"""The sign-in page and the account pages."""

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts import access_tokens as tokens
from accounts.clock import database_now
from accounts.forms import AccessTokenForm
from accounts.models import PersonalAccessToken, Session
from accounts.requests import SignedInRequest


def safe_next(request: HttpRequest) -> str:
    """The query's `next` if it points to this site, else an empty string."""
    url = request.GET.get("next", "")
    allowed = url_has_allowed_host_and_scheme(url, {request.get_host()}, require_https=request.is_secure())
    return url if allowed else ""


@never_cache
@require_GET
def sign_in(request: HttpRequest) -> HttpResponse:
    if request.user.is_authenticated and "again" not in request.GET:
        return redirect(safe_next(request) or settings.LOGIN_REDIRECT_URL)
    return render(request, "accounts/sign_in.html", {"next": safe_next(request), "again": "again" in request.GET})


@never_cache
@login_required
@require_GET
def account(request: SignedInRequest) -> HttpResponse:
    """The account page: the person's profile and what the site stores about them. Never asks Discord."""
    sessions = Session.objects.filter(user_id=request.user.pk, expire_date__gt=timezone.now()).count()
    return render(request, "accounts/account.html", {"sessions": sessions})


@never_cache
@login_required
@require_http_methods(["GET", "POST"])
def access_tokens(request: SignedInRequest) -> HttpResponse:
    """The person's access tokens and a form that creates one. Only the response to the form shows the new token.

    The form's response is no redirect: to show the token on the next page, the site would have to store it.
    """
    form = AccessTokenForm(request.user, request.POST if request.method == "POST" else None)
    token = None
    if form.is_valid():
        try:
            _row, token = tokens.create(request.user, form.cleaned_data["name"], form.wanted, form.lifetime)
        except tokens.NameTaken:
            form.add_error("name", _("You have a token of that name. Choose another, or remove that one first."))
        except tokens.TooManyTokens:
            form.add_error(None, _("You have as many tokens as one person can have. Remove one first."))
        else:
            form = AccessTokenForm(request.user)
    context = {
        "form": form,
        "token": token,
        "tokens": PersonalAccessToken.objects.filter(user=request.user),
        "now": database_now(),
    }
    return render(request, "accounts/tokens.html", context, status=422 if form.errors else 200)


@never_cache
@require_POST
def sign_out_everywhere(request: HttpRequest) -> HttpResponse:
    """End all of the person's sessions, including this one.

    Their Discord tokens stay: revoking one would make Discord revoke every token this site has for the person.
    """
    if not request.user.is_authenticated:
        return redirect_to_login(reverse("account"))
    Session.objects.filter(user_id=request.user.pk).delete()
    logout(request)
    messages.success(request, _("You are signed out in every browser."))
    return redirect("home")


@never_cache
@require_POST
def revoke_access_token(request: HttpRequest, pk: int) -> HttpResponse:
    """Revoke a token of the person. Does nothing if the token belongs to another person or no longer exists."""
    if not request.user.is_authenticated:
        return redirect_to_login(reverse("access-tokens"))
    deleted, _models = PersonalAccessToken.objects.filter(pk=pk, user=request.user).delete()
    if deleted:
        messages.success(request, _("The token is revoked."))
    return redirect("access-tokens")
