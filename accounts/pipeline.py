"""What a sign-in writes: the steps of social-auth's pipeline that are ours."""

from typing import Any

from django.contrib.auth.hashers import make_password
from social_core.exceptions import AuthAssociationError, AuthPolicyError

from accounts import tokens
from accounts.discord import CurrentUser, Tokens
from accounts.models import DiscordAccount, User


def find_or_create_user(backend: Any, uid: str, user: User | None = None, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """The person with this id at Discord, new or not; names there change hands.

    Two answers of Discord's to one click meet here too, so finding and making are one step.
    """
    discord_id = int(uid)
    if user and user.discord_id not in (None, discord_id):
        raise AuthAssociationError(backend, code="identity_in_use", stage="pipeline")
    if user:
        return {"is_new": False}
    user, is_new = User.objects.get_or_create(
        discord_id=discord_id, defaults={"username": uid, "password": make_password(None)}
    )
    return {"is_new": is_new, "user": user}


def stop_if_inactive(backend: Any, user: User, *args: Any, **kwargs: Any) -> None:
    if not user.is_active:
        raise AuthPolicyError(backend, code="authentication_disallowed", stage="pipeline")


def save_profile(user: User, response: dict[str, Any], *args: Any, **kwargs: Any) -> None:
    """Keep id, names and avatar as they are at Discord now."""
    person: CurrentUser = response["person"]
    user.discord_id = person.id
    user.discord_username = person.username[:64]
    user.global_name = (person.global_name or "")[:64]
    user.avatar = (person.avatar or "")[:64]
    user.save(update_fields=["discord_id", "discord_username", "global_name", "avatar"])


def save_tokens(social: DiscordAccount, response: dict[str, Any], *args: Any, **kwargs: Any) -> None:
    brought: Tokens = response["tokens"]
    tokens.replace(social, brought)
