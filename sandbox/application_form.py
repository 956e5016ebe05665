"""The form for the application's settings on the page /_sandbox/."""

from collections.abc import Mapping
from typing import Any

from sandbox.application import GUILD_INSTALL, INSTALL_SCOPES, WEBHOOK_STATUSES, Application
from sandbox.inputs import BadInput
from sandbox.pages import Markup, join, part

STATUS_NAMES = dict(zip(WEBHOOK_STATUSES, ("off", "on", "switched off by Discord"), strict=True))
TICKS = {"bot_public": "Public bot", "bot_require_code_grant": "Requires OAuth2 code grant"}


def application_form(application: Application) -> Markup:
    """Render the form with the current settings."""
    status = application.event_webhooks_status
    params = application.integration_types_config.get(GUILD_INSTALL, {}).get("oauth2_install_params", {})
    return part(
        "application.html",
        redirect_uris=" ".join(application.redirect_uris),
        bot_application_id=application.bot_application_id,
        permissions=params.get("permissions", ""),
        flags=application.flags,
        statuses=join(
            [
                part("option.html", value=value, text=text, chosen=Markup("selected" if value == status else ""))
                for value, text in STATUS_NAMES.items()
            ]
        ),
        ticks=join([_tick(name, text, checked=getattr(application, name)) for name, text in TICKS.items()]),
    )


def _tick(name: str, text: str, *, checked: bool) -> Markup:
    return part("guild_tick.html", name=name, text=text, checked=Markup("checked" if checked else ""))


def settings_from_form(form: Mapping[str, str]) -> dict[str, Any]:
    """Return what the form says in the format of PUT /_sandbox/application. An unticked box is not sent."""
    permissions = form.get("permissions", "").strip()
    params = {"oauth2_install_params": {"scopes": list(INSTALL_SCOPES), "permissions": permissions}}
    return {
        "redirect_uris": form.get("redirect_uris", "").split(),
        "bot_application_id": form.get("bot_application_id", ""),
        "flags": _integer(form, "flags"),
        "event_webhooks_status": _integer(form, "event_webhooks_status"),
        "integration_types_config": {GUILD_INSTALL: params} if permissions else {},
        **{name: name in form for name in TICKS},
    }


def _integer(form: Mapping[str, str], name: str) -> int:
    try:
        return int(form.get(name, ""))
    except ValueError:
        raise BadInput(f"{name!r} must be a number") from None
