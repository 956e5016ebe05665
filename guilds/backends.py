"""The site's auth backends. Their paths stand in every session, so they stay where they are."""

from django.contrib.auth.backends import ModelBackend

from accounts.backends import DiscordOAuth2


class DiscordBackend(DiscordOAuth2):
    """For everybody."""


class PasswordBackend(ModelBackend):
    """For staff, at the admin's door."""
