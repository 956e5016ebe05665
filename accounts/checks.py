"""System checks for a site in production, such as defaults that only suit a fresh clone."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.checks import Warning as CheckWarning

from accounts.hosts import is_loopback


def is_in_production() -> bool:
    """Whether people reach the site from other machines, by its SITE_URL."""
    site = urlsplit(settings.SITE_URL)
    return site.scheme == "https" or not is_loopback(site.hostname)


@register(Tags.security)
def others_can_not_read_what_the_site_writes(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    folder = Path(settings.VAR_DIR)
    if not folder.is_dir() or not folder.stat().st_mode & 0o077:
        return []
    return [
        CheckWarning(
            f"Other accounts on this machine can read VAR_DIR ({folder}), which holds the database and keys.",
            hint="The site restricts access to folders that it owns; this one belongs to another account or is shared.",
            id="accounts.W003",
        )
    ]


@register(Tags.security, deploy=True)
def production_has_keys_of_its_own(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if not settings.KEYS_ARE_LOCAL:
        return []
    return [
        CheckWarning(
            "SECRET_KEY or TOKEN_KEYS was generated on this machine and is stored under var/.",
            hint="Set both in the environment, so that all machines share them and backups don't include them.",
            id="accounts.W001",
        )
    ]


@register(Tags.security, deploy=True)
def production_does_not_use_the_sandbox(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if not settings.USES_SANDBOX:
        return []
    return [
        CheckWarning(
            "The site signs people in with the sandbox, where anyone can sign in as anyone.",
            hint="Set DISCORD_CLIENT_ID and DISCORD_CLIENT_SECRET to those of your own Discord application.",
            id="accounts.W002",
        )
    ]


@register(Tags.security, deploy=True)
def production_asks_discord_itself(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if settings.USES_SANDBOX or not is_loopback(urlsplit(settings.DISCORD_API_URL).hostname):
        return []
    return [
        CheckWarning(
            "DISCORD_API_URL leads to this machine and not to Discord.",
            hint="Unset DISCORD_API_URL, unless a proxy for Discord's API runs there.",
            id="accounts.W004",
        )
    ]


@register(Tags.security, deploy=True)
def proxy_fits_the_address(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    is_https = urlsplit(settings.SITE_URL).scheme == "https"
    if is_https and not settings.BEHIND_TLS_PROXY:
        return [
            Error(
                "SITE_URL is https and BEHIND_TLS_PROXY is off, so the site redirects its proxy's requests in an "
                "endless loop.",
                hint="Set BEHIND_TLS_PROXY=1, and let the proxy overwrite X-Forwarded-Proto and X-Forwarded-For.",
                id="accounts.E001",
            )
        ]
    if settings.BEHIND_TLS_PROXY and not is_https:
        return [
            CheckWarning(
                "BEHIND_TLS_PROXY is on and SITE_URL is http, so visitors without the proxy can invent their address.",
                hint="Write https in SITE_URL, or unset BEHIND_TLS_PROXY.",
                id="accounts.W005",
            )
        ]
    return []
