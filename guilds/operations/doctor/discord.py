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
from django.utils.translation import gettext_noop as _

from accounts import gate, service_tokens
from accounts.discord import Application, DiscordAPIError, DiscordClient, Exchange, Permissions, SiteRefused
from accounts.limits import GateShut, Priority
from accounts.token_scopes import Scope
from accounts.tokens import discord_client
from guilds.listing import bot
from guilds.operations.doctor.findings import Finding, Sentence, error, note, ok, skew, warning

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
                Sentence(
                    _("Discord was not asked, because the site may send it nothing now (%(reason)s)."),
                    reason=shut.reason,
                ),
                Sentence(_("Run `./run manage discord_status`, which says until when and why.")),
            )
        )
    except DiscordAPIError as problem:
        advice = _("Try again later; if it stays, check this machine's connection and DISCORD_API_URL.")
        if settings.DISCORD_PROXY_URL:
            advice = _("Try again later; if it stays, check the proxy of DISCORD_PROXY_URL and DISCORD_API_URL.")
        # The client's words are for logs, in English.
        answers.findings.append(error(f"{problem}.", Sentence(advice)))
    clock = [skew("Discord", min(answers.offsets, key=abs))] if answers.offsets else []
    return [*client_id(), *answers.findings, *clock, *_of_application(answers)]


def _ask(answers: Answers) -> None:
    client = _client(answers.offsets)
    answers.own = _unless_refused(answers, client.get_own_application, _("Discord accepts the client id and secret."))
    if settings.DISCORD_BOT_TOKEN:
        ask = partial(client.get_application, settings.DISCORD_BOT_TOKEN)
        answers.of_bot = _unless_refused(answers, ask, _("Discord accepts the bot token."))


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
        of_bot, of_client = (
            _("Discord refuses DISCORD_BOT_TOKEN."),
            _("Discord refuses DISCORD_CLIENT_ID or DISCORD_CLIENT_SECRET."),
        )
        sentence = Sentence(of_bot if refused.credentials == "bot" else of_client)
        advice = Sentence(_("Copy it again from %(portal)s; docs/discord.md shows where it is."), portal=PORTAL)
        answers.findings.append(error(sentence, advice))
        return None
    answers.findings.append(ok(Sentence(accepted)))
    return found


def _of_application(answers: Answers) -> Iterator[Finding]:
    own, of_bot = answers.own, answers.of_bot
    if own and of_bot and own.id != of_bot.id:
        yield error(
            Sentence(
                _("DISCORD_BOT_TOKEN belongs to the application %(of_bot)s, and DISCORD_CLIENT_ID to %(own)s."),
                of_bot=of_bot.id,
                own=own.id,
            ),
            Sentence(
                _("Copy the token from the Bot page of the application %(own)s at %(portal)s."),
                own=own.id,
                portal=PORTAL,
            ),
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
        yield from intents(found, _reports_events())


def client_id() -> Iterator[Finding]:
    """Return whether the client id can be one."""
    if not settings.USES_SANDBOX and not _SNOWFLAKE.fullmatch(settings.DISCORD_CLIENT_ID):
        yield error(
            Sentence(_("DISCORD_CLIENT_ID is not one of Discord's ids, which are numbers of 17 to 20 digits.")),
            Sentence(_("Copy the application id from the General Information page at %(portal)s."), portal=PORTAL),
        )


def needed_redirect_urls() -> list[str]:
    """Return the URLs that Discord redirects people to: after a sign-in and, with a bot, after adding it."""
    paths = [reverse("social:complete", args=["discord"])]
    if settings.DISCORD_BOT_TOKEN:
        paths.append(reverse("guilds:bot-added"))
    return [settings.SITE_URL + path for path in paths]


def redirect_urls(application: Application) -> Iterator[Finding]:
    """Return whether the application has the site's redirect URLs, which Discord compares exactly."""
    needed = needed_redirect_urls()
    if application.redirect_uris is None:
        yield note(
            Sentence(_("Only a bot token of this application can show which redirect URLs are registered.")),
            Sentence(
                _("Compare them on the OAuth2 page at %(portal)s: %(urls)s"), portal=PORTAL, urls=", ".join(needed)
            ),
        )
    elif missing := [url for url in needed if url not in application.redirect_uris]:
        yield error(
            Sentence(
                _("The application lacks redirect URLs of this site: it has %(registered)s."),
                registered=", ".join(application.redirect_uris),
            )
            if application.redirect_uris
            else Sentence(_("The application lacks redirect URLs of this site: it has none.")),
            Sentence(
                _("Add on the OAuth2 page at %(portal)s, exactly as written here: %(urls)s (docs/discord.md)"),
                portal=PORTAL,
                urls=", ".join(missing),
            ),
        )
    else:
        yield ok(Sentence(_("The application has this site's redirect URLs.")))


def code_grant(application: Application) -> Iterator[Finding]:
    """Return whether the bot joins a server without an exchange of the code, which this site doesn't do."""
    if application.requires_code_grant:
        yield error(
            Sentence(
                _(
                    'The application has "Requires OAuth2 Code Grant" on, so its bot joins no server that people add '
                    "it to."
                )
            ),
            Sentence(_("Turn it off on the Bot page at %(portal)s."), portal=PORTAL),
        )


def public_bot(application: Application) -> Iterator[Finding]:
    """Return whether people can add the bot to their servers."""
    if not application.is_bot_public:
        yield warning(
            Sentence(_('The application has "Public Bot" off, so only its owner can add the bot to servers.')),
            Sentence(
                _("Turn it on on the Bot page at %(portal)s, unless the bot is for your own servers."), portal=PORTAL
            ),
        )


def install_settings(application: Application, requested: int | None, needed: int) -> Iterator[Finding]:
    """Return whether Discord's own install link adds the bot with the permissions that this site requests.

    `requested` are those of the setting; without it, the site requests those of the link and what its apps `need`.
    """
    if not application.is_for_guilds:
        advice = _("Turn on Guild Install on the Installation page at %(portal)s.")
        yield error(Sentence(_("The application can't be installed to servers.")), Sentence(advice, portal=PORTAL))
        return
    if (install := application.guild_install) is None:
        yield note(
            Sentence(
                _("The application has no default install settings, so Discord offers no link that adds its bot.")
            ),
            Sentence(
                _(
                    'To have one, add the scope "bot" and permissions under Default Install Settings on the '
                    "Installation page at %(portal)s."
                ),
                portal=PORTAL,
            ),
        )
        return
    given = install.permissions
    wanted = given | Permissions.missing(given, False, needed) if requested is None else requested | needed
    if "bot" not in install.scopes:
        advice = _('Add the scope "bot" on the Installation page at %(portal)s.')
        yield warning(
            Sentence(_("The application's install link doesn't add its bot.")), Sentence(advice, portal=PORTAL)
        )
    elif given != wanted:
        yield other_permissions(given, wanted, is_set=requested is not None)
    else:
        yield ok(Sentence(_("The install link gives the bot the permissions that this site requests.")))


def other_permissions(given: int, wanted: int, *, is_set: bool) -> Finding:
    """Return that the install link gives `given`, and this site requests `wanted`; `is_set` if by a setting."""
    differing = given ^ wanted
    names = ", ".join(str(each.name).lower() for each in Permissions if each & differing)
    choose, unset = (
        _("Choose the same permissions on the Installation page at %(portal)s."),
        _("Unset DISCORD_BOT_PERMISSIONS, or choose the same permissions on the Installation page at %(portal)s."),
    )
    return warning(
        Sentence(
            _(
                "The application's install link gives the bot other permissions (%(given)s) than this site "
                "(%(wanted)s); they differ in %(names)s."
            ),
            given=given,
            wanted=wanted,
            names=names or differing,
        ),
        Sentence(unset if is_set else choose, portal=PORTAL),
    )


def webhook_events(application: Application) -> Iterator[Finding]:
    """Return whether Discord has switched off webhook events, which it does when they can't be delivered."""
    if application.webhook_status == SWITCHED_OFF:
        yield warning(
            Sentence(
                _("Discord has switched off the application's webhook events, because it could not deliver them.")
            ),
            Sentence(
                _("Repair their receiver and save the Webhooks page at %(portal)s again, or turn them off there."),
                portal=PORTAL,
            ),
        )


def _reports_events() -> bool:
    """Whether a bot of the site has a token to report events."""
    return any(Scope.BOT_EVENTS in token.scopes for token in service_tokens.valid())


def intents(application: Application, reports_events: bool) -> Iterator[Finding]:
    """Return which privileged intents the application has. Only a bot that reports events to this site needs one."""
    if reports_events and not application.flags & INTENTS["Server Members"]:
        yield warning(
            Sentence(_("A bot has a token to report events, but Discord won't tell it who joins and leaves servers.")),
            Sentence(_("Turn on Server Members Intent on the Bot page at %(portal)s."), portal=PORTAL),
        )
    granted = [name for name, bits in INTENTS.items() if application.flags & bits]
    if granted:
        has = _("Of the privileged intents, the application has %(granted)s; this site needs none.")
        yield note(Sentence(has, granted=", ".join(granted)))
    else:
        yield note(Sentence(_("Of the privileged intents, the application has none; this site needs none.")))
