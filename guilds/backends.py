"""The site's auth backends. Their paths stand in every session, so they stay where they are."""

from django.contrib.auth.backends import ModelBackend

from accounts.backends import DiscordOAuth2
from accounts.models import User
from guilds.resources.guild_list import user_with_record


class DiscordBackend(DiscordOAuth2):
    """For everybody."""

    def get_user(self, user_id: int) -> User | None:
        """The session's person. Their verification comes along: a view that reads a fresh list needs no query more."""
        return user_with_record(user_id)


class PasswordBackend(ModelBackend):
    """For staff, at the admin's door."""

    def get_user(self, user_id: int) -> User | None:
        return user_with_record(user_id)
