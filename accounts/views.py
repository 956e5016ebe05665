"""Signing in, and what we keep about the person."""

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from accounts.models import Session


def safe_next(request: HttpRequest) -> str:
    """`next` of the query if it leads to this site; else nothing."""
    url = request.GET.get("next", "")
    allowed = url_has_allowed_host_and_scheme(url, {request.get_host()}, require_https=request.is_secure())
    return url if allowed else ""


@never_cache
@require_GET
def sign_in(request: HttpRequest) -> HttpResponse:
    if request.user.is_authenticated and "again" not in request.GET:
        return redirect(safe_next(request) or settings.LOGIN_REDIRECT_URL)
    return render(request, "accounts/sign_in.html", {"next": safe_next(request)})


@never_cache
@login_required
@require_GET
def account(request: HttpRequest) -> HttpResponse:
    """Who the person is here, and what is stored, counted. Never asks Discord."""
    sessions = Session.objects.filter(user_id=request.user.pk, expire_date__gt=timezone.now()).count()
    return render(request, "accounts/account.html", {"sessions": sessions})


@never_cache
@login_required
@require_POST
def sign_out_everywhere(request: HttpRequest) -> HttpResponse:
    """End every session of the person, this one too. Their tokens stay: revoking one would end all at Discord."""
    Session.objects.filter(user_id=request.user.pk).delete()
    logout(request)
    messages.success(request, _("You are signed out in every browser."))
    return redirect("home")
