"""What a sign-in writes: the steps of social-auth's pipeline that are ours."""

from typing import Any

from accounts import tokens
from accounts.discord import CurrentUser, Tokens
from accounts.models import DiscordAccount, User


def create_user(
    uid: str, response: dict[str, Any], user: User | None = None, *args: Any, **kwargs: Any
) -> dict[str, Any]:
    """A new person is known by the id at Discord; names there change hands."""
    if user:
        return {"is_new": False}
    return {"is_new": True, "user": User.objects.create_user(username=uid, discord_id=int(uid))}


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
