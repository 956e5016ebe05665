"""The application as its owner has set it up in the developer portal, correctly or not.

Like a mood, a change lasts until the next one or until the sandbox ends.

https://docs.discord.com/developers/resources/application
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any
from urllib.parse import urlsplit

from sandbox.calls import APPLICATION_ID, BOT_USER
from sandbox.inputs import BadInput, as_flag, as_integer, as_object, as_text, as_texts
from sandbox.people import SNOWFLAKE, as_permissions, image_hash

NAME = "Guildhall"
# Owns the application: receives the tokens of the client credentials grant, and adds a bot that isn't public.
OWNER = "ada"
SITE_URL = "http://localhost:8000"
# Where the site receives people after a sign-in, and after they added the bot.
PATHS = ("/complete/discord/", "/servers/bot-added/")
GUILD_INSTALL, USER_INSTALL = "0", "1"
INSTALL_SCOPES = ("applications.commands", "bot")
# 1 is off, 2 is on, 3 means that Discord has switched them off.
WEBHOOK_STATUSES = (1, 2, 3)
# Printable ASCII without the backslash, which browsers treat as a slash. The URL goes into a header.
_URL = re.compile(r"[!-\[\]-~]+")


def default_installs() -> dict[str, Any]:
    return {GUILD_INSTALL: {"oauth2_install_params": {"scopes": list(INSTALL_SCOPES), "permissions": "0"}}}


@dataclass(frozen=True, slots=True)
class Application:
    """`bot_application_id` is the application that the bot token belongs to, which can be another one."""

    redirect_uris: tuple[str, ...]
    bot_application_id: str = APPLICATION_ID
    bot_public: bool = True
    bot_require_code_grant: bool = False
    flags: int = 0
    integration_types_config: Mapping[str, Any] = field(default_factory=default_installs)
    event_webhooks_url: str | None = None
    event_webhooks_status: int = 1
    event_webhooks_types: tuple[str, ...] = ()

    @classmethod
    def of_site(cls, url: str) -> "Application":
        """Return the application of a site that is set up correctly. Raises BadInput."""
        return cls(tuple(as_redirect_uri(url.rstrip("/") + path) for path in PATHS))

    def changed(self, data: Any) -> "Application":
        """Return the application with the fields in `data` instead of its own. Raises BadInput."""
        body = as_object(data, "the body", _READERS)
        return replace(self, **{name: _READERS[name](value, f"'{name}'") for name, value in body.items()})

    def to_json(self) -> dict[str, Any]:
        """Return the fields that can be changed."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def public(self) -> dict[str, Any]:
        """Return what anyone with a token of the application can see: the spec's ApplicationResponse."""
        installs = self.integration_types_config
        in_app = installs.get(GUILD_INSTALL, {}).get("oauth2_install_params")
        return {
            "id": APPLICATION_ID,
            "name": NAME,
            "icon": image_hash("guildhall"),
            "description": "Shows which servers you are in.",
            "type": None,
            "bot": BOT_USER,
            "bot_public": self.bot_public,
            "bot_require_code_grant": self.bot_require_code_grant,
            "verify_key": image_hash("verify key") * 2,
            "summary": "",
            "flags": self.flags,
            "flags_new": str(self.flags),
            "integration_types_config": installs,
            **({"install_params": in_app} if in_app else {}),
        }

    def private(self) -> dict[str, Any]:
        """Return what the bot token shows in addition."""
        return {
            **self.public(),
            "id": self.bot_application_id,
            "redirect_uris": self.redirect_uris,
            "interactions_endpoint_url": None,
            "role_connections_verification_url": None,
            "event_webhooks_url": self.event_webhooks_url,
            "event_webhooks_status": self.event_webhooks_status,
            "event_webhooks_types": self.event_webhooks_types,
        }


def as_redirect_uri(value: Any, what: str = "a redirect URL") -> str:
    url = as_text(value, what, maximum=2048)
    try:
        parts = urlsplit(url)
        is_absolute = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        is_absolute = False
    if not is_absolute or not _URL.fullmatch(url):
        raise BadInput(f"{what} must be absolute URLs that begin with http:// or https://, not {url[:80]!r}")
    return url


def _redirect_uris(value: Any, what: str) -> tuple[str, ...]:
    return tuple(as_redirect_uri(each, what) for each in as_texts(value, what))


def _id(value: Any, what: str) -> str:
    if not SNOWFLAKE.fullmatch(as_text(value, what)):
        raise BadInput(f"{what} must be an id in a string, not {value[:40]!r}")
    return str(value)


def _installs(value: Any, what: str) -> dict[str, Any]:
    return {key: _install(each, f"{what}: '{key}'") for key, each in _known(value, what, GUILD_INSTALL, USER_INSTALL)}


def _install(value: Any, what: str) -> dict[str, Any]:
    """Validate one context's default install settings; `{}` has none."""
    found = dict(_known(value, what, "oauth2_install_params"))
    for key, each in found.items():
        params = dict(_known(each, f"{what}: {key}", "scopes", "permissions"))
        scopes = as_texts(params.get("scopes", list(INSTALL_SCOPES)), f"{what}: 'scopes'")
        if set(scopes) - set(INSTALL_SCOPES):
            raise BadInput(f"{what}: 'scopes' can only hold {' and '.join(INSTALL_SCOPES)}")
        permissions = as_permissions(params.get("permissions", "0"), key)
        found[key] = {"scopes": scopes, "permissions": permissions}
    return found


def _known(value: Any, what: str, *known: str) -> list[tuple[str, Any]]:
    return list(as_object(value, what, known).items())


def _status(value: Any, what: str) -> int:
    return as_integer(value, what, minimum=WEBHOOK_STATUSES[0], maximum=WEBHOOK_STATUSES[-1])


def _flags(value: Any, what: str) -> int:
    return as_integer(value, what, maximum=2**53)


def _url_or_none(value: Any, what: str) -> str | None:
    return None if value is None else as_redirect_uri(value, what)


def _texts(value: Any, what: str) -> tuple[str, ...]:
    return tuple(as_texts(value, what))


_READERS: Mapping[str, Any] = {
    "redirect_uris": _redirect_uris,
    "bot_application_id": _id,
    "bot_public": as_flag,
    "bot_require_code_grant": as_flag,
    "flags": _flags,
    "integration_types_config": _installs,
    "event_webhooks_url": _url_or_none,
    "event_webhooks_status": _status,
    "event_webhooks_types": _texts,
}
