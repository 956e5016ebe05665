"""How people sign in: the site's auth backends, and what a sign-in means for the list.

Every session stores the backends' import paths, so they must not move. Django calls their `get_user` only if
`guilds.sessions.signed_in` can't identify the person.
"""

from contextlib import suppress
from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import AbstractBaseUser

from accounts.backends import DiscordOAuth2
from accounts.models import User
from accounts.passwords import ThrottledPasswordBackend
from guilds import services
from guilds.services import NoAnswer


class DiscordBackend(DiscordOAuth2):
    """Sign-in with Discord, for all people."""

    def get_user(self, user_id: int) -> AbstractBaseUser | None:
        """Return the person if their account is active. Social-auth's own method also returns inactive ones."""
        return ModelBackend().get_user(user_id)


class PasswordBackend(ThrottledPasswordBackend):
    """Sign-in with a password, for staff in the admin."""


def ask_at_sign_in(user: User, *args: Any, **kwargs: Any) -> None:
    """Ask for the list with the new tokens, so that the first page is warm. An error here does not fail the sign-in.

    The last step of the sign-in pipeline.
    """
    # A person who was deleted meanwhile has no record; the sign-in finds that out itself.
    with suppress(NoAnswer):
        services.relink(user.pk)
        services.warm_up(user.pk)
