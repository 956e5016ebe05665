"""social-auth's strategy: sessions and redirects are Django's, absolute URLs are based on SITE_URL."""

from typing import Any

from django.conf import settings
from social_django.strategy import DjangoStrategy


class SiteStrategy(DjangoStrategy):
    def build_absolute_uri(self, path: str | None = None) -> Any:
        """Return `path` at SITE_URL. The `Host` header may be one that isn't registered with Discord."""
        return f"{settings.SITE_URL}{path or '/'}"
