"""social-auth's storage: its own tables, except for the associations, which use our encrypted model."""

from hashlib import sha256

from social_django.models import DjangoStorage, Nonce

from accounts.models import DiscordAccount


class DiscordStorage(DjangoStorage):
    user = DiscordAccount  # type: ignore[assignment]  # the stubless base names its own model


def use_once(purpose: str, key: str, at: int) -> bool:
    """Whether this is the first use of `key` in any process; `clearsocial` deletes keys with an old `at`."""
    salt = sha256(key.encode()).hexdigest()
    first: bool = Nonce.objects.get_or_create(server_url=purpose, timestamp=at, salt=salt)[1]
    return first
