"""The page on which a person lets the application in, or puts its bot into a server.

It needs no password: whoever opens it picks who to be. `as=NAME` in the URL picks at once, without a page;
`deny=1` refuses, `withhold=guilds` gives everything but that scope.

https://docs.discord.com/developers/topics/oauth2
"""

import re
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlencode, urlsplit

from sandbox.answers import Answer
from sandbox.oauth import CLIENT_ID, OAuthError, read_challenge, read_scopes
from sandbox.pages import Markup, join, page, part, sentence_page
from sandbox.people import SNOWFLAKE, Person
from sandbox.state import Sandbox

LOOPBACK = ("localhost", "127.0.0.1", "::1")
DENIED = "The resource owner or authorization server denied the request"
COOKIE = "sandbox_person"
# Printable ASCII and no backslash, which browsers take for a slash: it goes into a header, and is what it seems.
_URL = re.compile(r"[!-\[\]-~]+")
WORDS = {
    "identify": "know your name and picture",
    "email": "know your e-mail address",
    "guilds": "know which servers you are in",
    "guilds.members.read": "know your nickname and roles in them",
    "bot": "add its bot to a server",
    "applications.commands": "create commands in a server",
}
# Ours, not Discord's: they say what the person does on the page.
CHOICES = ("as", "deny", "withhold")


def authorize(sandbox: Sandbox, path: str, params: Mapping[str, str], cookie: str) -> Answer:
    """The answer to /oauth2/authorize: the page, a redirect with a code or an error, or what is wrong in words."""
    if params.get("client_id") != CLIENT_ID:
        asked_for = params.get("client_id", "")
        return _wrong(f"There is no application {asked_for!r} here; the client_id is {CLIENT_ID!r}.")
    redirect_uri = params.get("redirect_uri", "")
    if redirect_uri and not is_loopback(redirect_uri):
        return _wrong(f"redirect_uri is {redirect_uri!r}; here it has to be on localhost, 127.0.0.1 or [::1].")
    scopes = params.get("scope", "").split()
    installs_bot = "bot" in scopes
    if not redirect_uri and not installs_bot:
        return _wrong("redirect_uri is missing.")

    try:
        asked = read_scopes(params.get("scope", ""))
        challenge = read_challenge(params)
        _check_response_type(params, installs_bot)
    except OAuthError as error:
        return _refuse(params, error.error, error.description)
    if params.get("deny"):
        return _refuse(params, "access_denied", DENIED)

    name = params.get("as") or _who_need_not_be_asked(sandbox, params, asked, cookie)
    if name is None:
        return _ask(sandbox, path, params, asked, installs_bot)
    with sandbox.lock:
        person = sandbox.people.get(name)
    if person is None:
        return _wrong(f"There is nobody called {name!r}; there are {', '.join(sorted(sandbox.people))}.")
    if installs_bot:
        return _install(sandbox, params, person, asked, challenge)
    return _let_in(sandbox, path, params, person, asked, challenge)


def is_loopback(url: str) -> bool:
    if not _URL.fullmatch(url):
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and parts.hostname in LOOPBACK
    except ValueError:
        return False


def _check_response_type(params: Mapping[str, str], installs_bot: bool) -> None:
    response_type = params.get("response_type")
    if response_type is None and installs_bot:
        return
    if response_type != "code":
        raise OAuthError("unsupported_response_type", "The authorization server does not support this response type")


def _who_need_not_be_asked(
    sandbox: Sandbox, params: Mapping[str, str], asked: tuple[str, ...], cookie: str
) -> str | None:
    """`prompt=none`: the person of last time, if all these scopes were granted before. `bot` is always asked about."""
    if params.get("prompt") != "none" or "bot" in asked:
        return None
    try:
        crumb = SimpleCookie(cookie).get(COOKIE)
    except CookieError:
        return None
    name = crumb.value if crumb else ""
    with sandbox.lock:
        agreed = sandbox.oauth.agreed.get(name, ())
        return name if name in sandbox.people and set(asked) <= set(agreed) else None


def _let_in(
    sandbox: Sandbox,
    path: str,
    params: Mapping[str, str],
    person: Person,
    asked: tuple[str, ...],
    challenge: str | None,
) -> Answer:
    withheld = params.get("withhold", "").split()
    scopes = tuple(scope for scope in asked if scope not in withheld)
    with sandbox.lock:
        code = sandbox.oauth.new_code(person.name, scopes, params["redirect_uri"], challenge)
        sandbox.changed()
    answer = _redirect(params, code=code)
    return answer.with_headers(("Set-Cookie", f"{COOKIE}={person.name}; Path={path}; HttpOnly; SameSite=Lax"))


def _install(
    sandbox: Sandbox, params: Mapping[str, str], person: Person, asked: tuple[str, ...], challenge: str | None
) -> Answer:
    """The bot joins the server, if the person may manage it. Other scopes beside `bot` bring a code as well."""
    guild = person.guild(params.get("guild_id", ""))
    if guild is None:
        return _wrong(f"{person.name} is in no server with the id {params.get('guild_id', '')!r}.")
    if not guild.can_manage:
        return _wrong(f"{person.name} may not manage {guild.name}, and so cannot add a bot to it.", status=403)
    permissions = params.get("permissions") or "0"
    if not SNOWFLAKE.fullmatch(permissions):
        return _wrong(f"permissions is {permissions!r}; it has to be a number.")

    code = {}
    with sandbox.lock:
        sandbox.bot[guild.id] = permissions
        if params.get("response_type") == "code" and params.get("redirect_uri"):
            code["code"] = sandbox.oauth.new_code(person.name, asked, params["redirect_uri"], challenge)
        sandbox.changed()
    if params.get("redirect_uri"):
        return _redirect(params, **code, guild_id=guild.id, permissions=permissions)
    return sentence_page(200, "Authorised", f"The bot is in {guild.name} now. You may close this window.")


def _redirect(params: Mapping[str, str], **answer: str) -> Answer:
    """Back to the site, with what it gave us to remember."""
    if "state" in params:
        answer["state"] = params["state"]
    uri = params["redirect_uri"]
    fragment = uri.find("#")
    uri = uri if fragment < 0 else uri[:fragment]
    location = f"{uri}{'&' if '?' in uri else '?'}{urlencode(answer)}"
    return Answer(302, (("Location", location), ("Cache-Control", "no-store"), ("Referrer-Policy", "no-referrer")))


def _refuse(params: Mapping[str, str], error: str, description: str) -> Answer:
    if params.get("redirect_uri"):
        return _redirect(params, error=error, error_description=description)
    return _wrong(f"{error}: {description}")


def _wrong(sentence: str, status: int = 400) -> Answer:
    return sentence_page(status, "This cannot work", sentence)


# The page


def _ask(sandbox: Sandbox, path: str, params: Mapping[str, str], asked: tuple[str, ...], installs_bot: bool) -> Answer:
    with sandbox.lock:
        people = list(sandbox.people.values())
    wishes = join([Markup(f"<li>{part('text.html', text=WORDS.get(scope, scope))}</li>") for scope in asked])
    fixed = params.get("guild_id", "")
    if installs_bot:
        forms = join([_bot_form(path, params, person, fixed) for person in people])
        if not forms:
            forms = Markup("<p>Nobody here may manage that server.</p>")
        body = part("bot.html", wishes=wishes, forms=forms)
    else:
        buttons = join([_person_button(person) for person in people])
        withhold = part("withhold.html") if "guilds" in asked else Markup("")
        hidden = _hidden(params)
        body = part("consent.html", path=path, wishes=wishes, people=buttons, withhold=withhold, hidden=hidden)
    deny = part("deny.html", path=path, hidden=_hidden(params)) if params.get("redirect_uri") else Markup("")
    return page(200, "Sign in to the sandbox", Markup(body + deny))


def _hidden(params: Mapping[str, str], *without: str) -> Markup:
    names = (name for name in params if name not in (*CHOICES, *without))
    return join([part("hidden.html", name=name, value=params[name]) for name in names])


def _person_button(person: Person) -> Markup:
    return part("person.html", **_looks(person))


def _looks(person: Person) -> dict[str, object]:
    count = len(person.guilds)
    servers = "in no server" if count == 0 else "in one server" if count == 1 else f"in {count} servers"
    avatar = f"/cdn/avatars/{person.id}/{person.avatar}.png?size=64" if person.avatar else "/cdn/embed/avatars/0.png"
    return {
        "name": person.name,
        "display": person.global_name or person.name,
        "servers": servers,
        "avatar": avatar,
    }


def _bot_form(path: str, params: Mapping[str, str], person: Person, fixed: str) -> Markup:
    """The servers the person may add a bot to; only the one that was asked for, if it must not be another."""
    choice = [guild for guild in person.guilds if guild.can_manage]
    if params.get("disable_guild_select") == "true":
        choice = [guild for guild in choice if guild.id == fixed]
    if not choice:
        return Markup("")
    options = join(
        [
            part(
                "option.html",
                value=guild.id,
                text=guild.name,
                chosen=Markup("selected" if guild.id == fixed else ""),
            )
            for guild in choice
        ]
    )
    return part("bot_person.html", path=path, hidden=_hidden(params, "guild_id"), options=options, **_looks(person))
