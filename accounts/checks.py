"""System checks: what a site in production must not leave as a clone has it."""

from typing import Any

from cryptography.fernet import Fernet
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.checks import Warning as CheckWarning


@register(Tags.security)
def token_keys_are_fernet_keys(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    for number, key in enumerate(settings.TOKEN_KEYS, start=1):
        try:
            Fernet(key)
        except ValueError:
            return [
                Error(
                    f"Key {number} of TOKEN_KEYS is not a Fernet key.",
                    hint="A key is 32 random bytes in URL-safe base64: cryptography's Fernet.generate_key() makes one.",
                    id="accounts.E001",
                )
            ]
    return []


@register(Tags.security, deploy=True)
def production_has_keys_of_its_own(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if not settings.KEYS_ARE_LOCAL:
        return []
    return [
        CheckWarning(
            "SECRET_KEY or TOKEN_KEYS was made on this machine and is kept under var/.",
            hint="Set both in the environment: then all machines have the same, and no backup holds key and lock.",
            id="accounts.W001",
        )
    ]


@register(Tags.security, deploy=True)
def production_does_not_use_the_sandbox(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if not settings.USES_SANDBOX:
        return []
    return [
        CheckWarning(
            "The site signs people in at the sandbox, where anybody may be anybody.",
            hint="Set DISCORD_CLIENT_ID and DISCORD_CLIENT_SECRET of an application of yours.",
            id="accounts.W002",
        )
    ]
