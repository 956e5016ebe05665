"""Limits on guessing operators' passwords, by address and by name.

The limit for one name from one address is strict. The limit for one name from all addresses is generous and doesn't
apply to a browser that has signed in with that name before, which a device cookie proves (OWASP, "Device cookies").
So guessing from many addresses doesn't lock the operator out.
"""

import hashlib
from collections.abc import Callable
from functools import wraps
from typing import Any, cast

import structlog
from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth.backends import ModelBackend
from django.http import HttpRequest, HttpResponse

from accounts import metrics
from accounts.models import User
from accounts.throttles import Limit, address_of, refund, require

logger = structlog.get_logger(__name__)

DEVICE_COOKIE_SALT = "accounts.passwords.device"
DEVICE_COOKIE_AGE = 180 * 24 * 3600


class DeviceRequest(HttpRequest):
    """A request that has just signed a person in with this name and its password; for annotations only."""

    signed_in_name: str


class ThrottledPasswordBackend(ModelBackend):
    """Django's password backend, which counts the attempt before it checks the password.

    It protects every form that authenticates. Raises `TooManyRequests`. A successful attempt is refunded.
    """

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **kwargs: Any
    ) -> User | None:
        name = username if username is not None else kwargs.get(User.USERNAME_FIELD)
        if name is None or password is None:
            return None
        limits = _limits_of(request, name)
        for limit, who in limits:
            require(limit, request, *who)
        user = super().authenticate(request, name, password)
        metrics.PASSWORD_ATTEMPTS.labels("refused" if user is None else "accepted").inc()
        if user is None:
            _log_refusal(request, name)
            return None
        for limit, who in limits:
            refund(limit, *who)
        if request is not None:
            cast(DeviceRequest, request).signed_in_name = name
        return user

    async def aauthenticate(self, request: HttpRequest | None, *args: Any, **kwargs: Any) -> User | None:
        # Django's own implementation repeats the work, without the limits.
        return await sync_to_async(self.authenticate)(request, *args, **kwargs)


def throttled_password_change(view: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Decorate a view with Django's `PasswordChangeForm`: a wrong old password counts as a failed sign-in."""

    @wraps(view)
    def throttled(request: HttpRequest) -> HttpResponse:
        if request.method != "POST":
            return view(request)
        who = address_of(request), _hash(request.user.get_username())
        require(Limit.PASSWORD_ADDRESS_NAME, request, *who)
        response = view(request)
        form = (getattr(response, "context_data", None) or {}).get("form")
        if form is None or "old_password" not in form.errors:
            refund(Limit.PASSWORD_ADDRESS_NAME, *who)
        return response

    return throttled


def _limits_of(request: HttpRequest | None, name: str) -> list[tuple[Limit, tuple[str, ...]]]:
    address, hashed = address_of(request), _hash(name)
    limits: list[tuple[Limit, tuple[str, ...]]] = [
        (Limit.PASSWORD_ADDRESS_NAME, (address, hashed)),
        (Limit.PASSWORD_ADDRESS, (address,)),
    ]
    return limits if _is_known_device(request, hashed) else [*limits, (Limit.PASSWORD_NAME, (hashed,))]


def _is_known_device(request: HttpRequest | None, hashed_name: str) -> bool:
    if request is None:
        return False
    cookie = request.get_signed_cookie(
        settings.DEVICE_COOKIE_NAME, default="", salt=DEVICE_COOKIE_SALT, max_age=DEVICE_COOKIE_AGE
    )
    return cookie == hashed_name


def remember_device(request: HttpRequest, response: HttpResponse) -> None:
    """Set the device cookie if this request signed a person in with a password."""
    name = getattr(request, "signed_in_name", None)
    if name is not None:
        response.set_signed_cookie(
            settings.DEVICE_COOKIE_NAME,
            _hash(name),
            salt=DEVICE_COOKIE_SALT,
            max_age=DEVICE_COOKIE_AGE,
            path="/",
            secure=settings.SESSION_COOKIE_SECURE,
            httponly=True,
            samesite="Lax",
        )


def _hash(name: str) -> str:
    """Hash a name of any length into a key. Surrogates, which JSON may contain, are encoded instead of failing."""
    return hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()


def _log_refusal(request: HttpRequest | None, name: str) -> None:
    """Log the refusal without the name that was typed, because people type passwords into that field by mistake."""
    user_id = User.objects.filter(username=name).values_list("pk", flat=True).first()
    logger.warning("password_refused", address=address_of(request), user_id=user_id)
