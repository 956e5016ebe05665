"""Authentication middleware with shorter sessions for staff."""

from collections.abc import Awaitable, Callable
from typing import cast

from asgiref.sync import sync_to_async
from django.contrib.auth import middleware
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.utils.functional import SimpleLazyObject

from accounts.models import User
from accounts.passwords import remember_device
from accounts.sessions import SessionStore


class AuthenticationMiddleware(middleware.AuthenticationMiddleware):
    """Django's `request.user`, except that staff sessions end `STAFF_SESSION_HOURS` after sign-in.

    The rule is applied where the user is read, so it holds for every way to sign in and for people who became staff
    later. After a sign-in with a password, the browser gets a device cookie.
    """

    def process_request(self, request: HttpRequest) -> None:
        super().process_request(request)

        def user() -> User | AnonymousUser:
            return self._unless_too_late(request, self.find_user(request))

        request.user = cast(User, SimpleLazyObject(user))
        request.auser = cast(Callable[[], Awaitable[User | AnonymousUser]], sync_to_async(user))

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        remember_device(request, response)
        return response

    def find_user(self, request: HttpRequest) -> User | AnonymousUser:
        """Return the session's user, without checking the session's age."""
        user: User | AnonymousUser = middleware.get_user(request)
        return user

    def _unless_too_late(self, request: HttpRequest, user: User | AnonymousUser) -> User | AnonymousUser:
        session = cast(SessionStore, request.session)
        if user.is_staff and not session.shorten_for_staff():
            session.flush()
            return AnonymousUser()
        return user
