"""Checks of the application at Discord: credentials, redirect URLs, and what its owner set in the developer portal.

https://docs.discord.com/developers/resources/application
"""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from django.conf import settings
from django.urls import reverse

from accounts import gate
from accounts.discord import Application, DiscordAPIError, DiscordClient, Exchange, Permissions, SiteRefused
from accounts.limits import GateShut, Priority
from accounts.tokens import discord_client
from guilds import bot
from guilds.operations.doctor.findings import Finding, error, note, ok, skew, warning

T = TypeVar("T")

# Seconds for all requests together.
BUDGET = 15.0
PORTAL = "https://discord.com/developers/applications"
SWITCHED_OFF = 3
# Bits of the application's flags: the intent for verified applications, and for those below Discord's threshold.
INTENTS = {
    "Presence": 1 << 12 | 1 << 13,
    "Server Members": 1 << 14 | 1 << 15,
    "Message Content": 1 << 18 | 1 << 19,
}
_SNOWFLAKE = re.compile("[1-9][0-9]{16,19}")


@dataclass(slots=True)
class Answers:
    """What Discord answered: `own` belongs to the client id, `of_bot` to the bot token; None if refused or not asked.

    `offsets` says how far Discord's clock was ahead at each response, in seconds.
    """

    own: Application | None = None
    of_bot: Application | None = None
    findings: list[Finding] = field(default_factory=list)
    offsets: list[float] = field(default_factory=list)


def check_discord() -> list[Finding]:
    """Ask Discord about the application, through the gate, and return all findings."""
    answers = Answers()
    try:
        _ask(answers)
    except GateShut as shut:
        answers.findings.append(
            warning(
                f"Discord was not asked, because the site may send it nothing now ({shut.reason}).",
                "Run `./run manage discord_status`, which says until when and why.",
            )
        )
    except DiscordAPIError as problem:
        way = "the proxy of DISCORD_PROXY_URL" if settings.DISCORD_PROXY_URL else "this machine's connection"
        advice = f"Try again later; if it stays, check {way} and DISCORD_API_URL."
        answers.findings.append(error(f"{problem}.", advice))
    clock = [skew("Discord's clock", min(answers.offsets, key=abs))] if answers.offsets else []
    return [*client_id(), *answers.findings, *clock, *_of_application(answers)]


def _ask(answers: Answers) -> None:
    client = _client(answers.offsets)
    answers.own = _unless_refused(answers, client.get_own_application, "Discord accepts the client id and secret.")
    if settings.DISCORD_BOT_TOKEN:
        ask = partial(client.get_application, settings.DISCORD_BOT_TOKEN)
        answers.of_bot = _unless_refused(answers, ask, "Discord accepts the bot token.")


def _client(offsets: list[float]) -> DiscordClient:
    client = gate.gated(replace(discord_client(), deadline=time.monotonic() + BUDGET, max_retries=0), Priority.STALE)

    def note_clock(exchange: Exchange) -> None:
        client.on_response(exchange)
        if exchange.discord_time is not None:
            offsets.append(exchange.discord_time - time.time())

    return replace(client, on_response=note_clock)


def _unless_refused(answers: Answers, ask: Callable[[], T], accepted: str) -> T | None:
    try:
        found = ask()
    except SiteRefused as refused:
        what = "DISCORD_BOT_TOKEN" if refused.credentials == "bot" else "DISCORD_CLIENT_ID or DISCORD_CLIENT_SECRET"
        answers.findings.append(
            error(f"Discord refuses {what}.", f"Copy it again from {PORTAL}; docs/discord.md shows where it is.")
        )
        return None
    answers.findings.append(ok(accepted))
    return found


def _of_application(answers: Answers) -> Iterator[Finding]:
    own, of_bot = answers.own, answers.of_bot
    if own and of_bot and own.id != of_bot.id:
        yield error(
            f"DISCORD_BOT_TOKEN belongs to the application {of_bot.id}, and DISCORD_CLIENT_ID to {own.id}.",
            f"Copy the token from the Bot page of the application {own.id} at {PORTAL}.",
        )
        of_bot = None
    found = of_bot or own
    if found is None:
        return
    yield from redirect_urls(found)
    if settings.DISCORD_BOT_TOKEN:
        yield from code_grant(found)
        yield from public_bot(found)
        yield from install_settings(found, settings.DISCORD_BOT_PERMISSIONS, int(bot.needed_permissions()))
        yield from webhook_events(found)
        yield from intents(found)


def client_id() -> Iterator[Finding]:
    """Return whether the client id can be one."""
    if not settings.USES_SANDBOX and not _SNOWFLAKE.fullmatch(settings.DISCORD_CLIENT_ID):
        yield error(
            "DISCORD_CLIENT_ID is not one of Discord's ids, which are numbers of 17 to 20 digits.",
            f"Copy the application id from the General Information page at {PORTAL}.",
        )


def needed_redirect_urls() -> list[str]:
    """Return the URLs that Discord redirects people to: after a sign-in and, with a bot, after adding it."""
    paths = [reverse("social:complete", args=["discord"])]
    if settings.DISCORD_BOT_TOKEN:
        paths.append(reverse("guilds:bot-added"))
    return [settings.SITE_URL + path for path in paths]


def redirect_urls(application: Application) -> Iterator[Finding]:
    """Return whether the application has the site's redirect URLs, which Discord compares exactly."""
    needed, page = needed_redirect_urls(), f"the OAuth2 page at {PORTAL}"
    if application.redirect_uris is None:
        yield note(
            "Only a bot token of this application can show which redirect URLs are registered.",
            f"Compare them on {page}: {' and '.join(needed)}",
        )
    elif missing := [url for url in needed if url not in application.redirect_uris]:
        yield error(
            f"The application lacks {'a redirect URL' if len(missing) == 1 else 'redirect URLs'} of this site: it has "
            f"{', '.join(application.redirect_uris) or 'none'}.",
            f"Add on {page}, exactly as written here: {' and '.join(missing)} (docs/discord.md)",
        )
    else:
        yield ok("The application has this site's redirect URLs.")


def code_grant(application: Application) -> Iterator[Finding]:
    """Return whether the bot joins a server without an exchange of the code, which this site doesn't do."""
    if application.requires_code_grant:
        yield error(
            'The application has "Requires OAuth2 Code Grant" on, so its bot joins no server that people add it to.',
            f"Turn it off on the Bot page at {PORTAL}.",
        )


def public_bot(application: Application) -> Iterator[Finding]:
    """Return whether people can add the bot to their servers."""
    if not application.is_bot_public:
        yield warning(
            'The application has "Public Bot" off, so only its owner can add the bot to servers.',
            f"Turn it on on the Bot page at {PORTAL}, unless the bot is for your own servers.",
        )


def install_settings(application: Application, requested: int | None, needed: int) -> Iterator[Finding]:
    """Return whether Discord's own install link adds the bot with the permissions that this site requests.

    `requested` are those of the setting; without it, the site requests those of the link and what its apps `need`.
    """
    page = f"the Installation page at {PORTAL}"
    if not application.is_for_guilds:
        yield error("The application can't be installed to servers.", f"Turn on Guild Install on {page}.")
        return
    if (install := application.guild_install) is None:
        return
    given = install.permissions
    wanted = given | Permissions.missing(given, False, needed) if requested is None else requested | needed
    if "bot" not in install.scopes:
        yield warning("The application's install link doesn't add its bot.", f'Add the scope "bot" on {page}.')
    elif differing := given ^ wanted:
        names = ", ".join(str(each.name).lower() for each in Permissions if each & differing)
        unset = "" if requested is None else "unset DISCORD_BOT_PERMISSIONS, or "
        advice = f"{unset}choose the same permissions on {page}."
        yield warning(
            f"The application's install link gives the bot other permissions ({given}) than this site ({wanted}); they "
            f"differ in {names or 'permissions that this version does not know'}.",
            advice[0].upper() + advice[1:],
        )
    else:
        yield ok("The install link gives the bot the permissions that this site requests.")


def webhook_events(application: Application) -> Iterator[Finding]:
    """Return whether Discord has switched off webhook events, which it does when they can't be delivered."""
    if application.webhook_status == SWITCHED_OFF:
        yield warning(
            "Discord has switched off the application's webhook events, because it could not deliver them.",
            f"Repair their receiver and save the Webhooks page at {PORTAL} again, or turn them off there.",
        )


def intents(application: Application) -> Iterator[Finding]:
    """Return which privileged intents the application has. Only bots with a gateway connection use them."""
    granted = [name for name, bits in INTENTS.items() if application.flags & bits]
    has = f"the application has {' and '.join(granted)}" if granted else "the application has none"
    yield note(
        f"Of the privileged intents, {has}; this site needs none.",
        "A bot that reports who joins and leaves servers needs Server Members." if not granted else "",
    )
