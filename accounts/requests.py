"""Types of requests, and the message for visitors who were signed out before they sent a form."""

from django.contrib import messages
from django.http import HttpRequest
from django.utils.translation import gettext as _

from accounts.models import User


class SignedInRequest(HttpRequest):
    """A request that passed `@login_required`, so its user isn't anonymous."""

    user: User


def say_not_saved(request: HttpRequest) -> None:
    """Tell an anonymous visitor on the next page, the sign-in, that the form they sent was not saved.

    The script keeps what they typed until they are back.
    """
    if request.method == "POST":
        messages.warning(request, _("You were signed out, so nothing was saved. Sign in to continue."))
