"""What a sign-in means for the list: the last step of the pipeline."""

from typing import Any

from accounts.models import User
from guilds import services


def ask_at_sign_in(user: User, *args: Any, **kwargs: Any) -> None:
    """Ask for the list with the new tokens, so that the first page is warm. Sign-in never fails of it."""
    services.relink(user.pk)
    services.warm_up(user.pk)
