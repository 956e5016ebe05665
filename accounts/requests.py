"""Request types for annotations. They add no code: Django sets `user`, and the decorator on the view checks it."""

from django.http import HttpRequest

from accounts.models import User


class SignedInRequest(HttpRequest):
    """A request that passed `@login_required`, so its user is never anonymous."""

    user: User
