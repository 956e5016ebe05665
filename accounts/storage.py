"""Where social-auth keeps its rows: its own tables, but for the associations, which are ours and sealed."""

from social_django.models import DjangoStorage

from accounts.models import DiscordAccount


class DiscordStorage(DjangoStorage):
    user = DiscordAccount  # type: ignore[assignment]  # the stubless base names its own model
