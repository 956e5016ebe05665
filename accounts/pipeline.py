"""Our steps of social-auth's pipeline, which write what a sign-in changes."""

from typing import Any

from django.contrib.auth.hashers import make_password
from django.db import IntegrityError
from django.utils.crypto import get_random_string
from social_core.exceptions import AuthAssociationError, AuthPolicyError

from accounts import hooks, tokens
from accounts.discord import CurrentUser, Tokens
from accounts.models import DiscordAccount, User
from accounts.sign_in import OtherProvider


def refuse_other_backends(backend: Any, *args: Any, **kwargs: Any) -> None:
    """Raise `OtherProvider` for another social-auth backend: its ids would be taken for Discord's. The first step."""
    if backend.name != "discord":
        raise OtherProvider(backend.name)


def find_or_create_user(backend: Any, uid: str, user: User | None = None, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Return the person with this Discord id, creating the account if needed; Discord names can change owners.

    Finding and creating are one step, because two callbacks of one click can run at once.
    """
    discord_id = int(uid)
    is_new = False
    if user is None:
        user, is_new = _get_or_create(discord_id)
    elif user.discord_id != discord_id and (
        user.discord_id is not None or User.objects.filter(discord_id=discord_id).exists()
    ):
        raise AuthAssociationError(backend, code="identity_in_use", stage="pipeline")
    backend.user_id = user.pk
    return {"is_new": is_new, "user": user}


def _get_or_create(discord_id: int) -> tuple[User, bool]:
    """Return the person with this Discord id, even if a local account already has the id as its username."""
    defaults = {"username": str(discord_id), "password": make_password(None)}
    try:
        return User.objects.get_or_create(discord_id=discord_id, defaults=defaults)
    except IntegrityError:
        defaults["username"] += f"-{get_random_string(12)}"
        return User.objects.get_or_create(discord_id=discord_id, defaults=defaults)


def stop_if_inactive(backend: Any, user: User, *args: Any, **kwargs: Any) -> None:
    if not user.is_active:
        raise AuthPolicyError(backend, code="authentication_disallowed", stage="pipeline")


def save_profile(user: User, response: dict[str, Any], *args: Any, **kwargs: Any) -> None:
    """Store the person's current Discord id, names and avatar."""
    person: CurrentUser = response["person"]
    user.discord_id = person.id
    user.discord_username = person.username[:64]
    user.global_name = (person.global_name or "")[:64]
    user.avatar = (person.avatar or "")[:64]
    user.save(update_fields=["discord_id", "discord_username", "global_name", "avatar"])


def save_tokens(social: DiscordAccount, response: dict[str, Any], *args: Any, **kwargs: Any) -> None:
    brought: Tokens = response["tokens"]
    tokens.store_sign_in(social, brought)


def call_sign_in_hooks(user: User, response: dict[str, Any], is_new: bool, *args: Any, **kwargs: Any) -> None:
    """Pass what Discord shared to the site's apps. An error there does not fail the sign-in."""
    brought: Tokens = response["tokens"]
    sign_in = hooks.SignIn(user, response["person"], brought.scopes, is_new)
    hooks.call_hooks(hooks.SIGN_IN_HOOKS, sign_in, "sign_in_hook_failed", user.pk)
