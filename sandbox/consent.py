"""The page where a person authorizes the application, or adds its bot to a server.

It needs no password: the visitor chooses a person, unless `prompt=none` repeats their last choice. `as=NAME` in the URL
chooses one without showing the page, `deny=1` denies the request, and `withhold=guilds` grants all other scopes.

https://docs.discord.com/developers/topics/oauth2
"""

from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlencode, urlsplit

from sandbox.application import NAME, OWNER
from sandbox.calls import APPLICATION_ID
from sandbox.oauth import CLIENT_ID, OAuthError, read_challenge, read_scopes
from sandbox.pages import Markup, join, page, part, sentence_page
from sandbox.people import SNOWFLAKE, Person
from sandbox.responses import Response
from sandbox.state import Sandbox

DENIED = "The resource owner or authorization server denied the request"
COOKIE = "sandbox_person"
SCOPE_LABELS = {
    "identify": "see your name and picture",
    "email": "see your email address",
    "guilds": "see which servers you are in",
    "guilds.members.read": "see your nickname and roles in them",
    "guilds.join": "add you to servers",
    "connections": "see your accounts on other services",
    "role_connections.write": "update your linked roles",
    "openid": "know that it is you",
    "bot": "add its bot to a server",
    "applications.commands": "create commands in a server",
}
# Parameters that Discord doesn't have: the person's choices on the page.
CHOICES = ("as", "deny", "withhold")
# The page has a list of servers for each person; this and the person's name are the name of its field.
GUILD_OF = "guild_id."
DEFAULT_AVATAR = "/cdn/embed/avatars/0.png"


def authorize(sandbox: Sandbox, path: str, params: Mapping[str, str], cookie: str) -> Response:
    """Respond to /oauth2/authorize with the page, a redirect with a code or an error, or an error page."""
    if params.get("client_id") not in (CLIENT_ID, APPLICATION_ID):
        asked_for = params.get("client_id", "")
        return _error_page(f"Unknown client_id {asked_for!r}; the sandbox only knows {CLIENT_ID!r}.")
    redirect_uri = params.get("redirect_uri", "")
    if redirect_uri and redirect_uri not in sandbox.application.redirect_uris:
        return _error_page(
            f"redirect_uri is {redirect_uri!r}, which is not registered. The application has "
            f"{' and '.join(sandbox.application.redirect_uris) or 'none'}; /_sandbox/ changes that."
        )
    scopes = params.get("scope", "").split()
    installs_bot = "bot" in scopes
    if not redirect_uri and not installs_bot:
        return _error_page("redirect_uri is missing.")

    try:
        asked = read_scopes(params.get("scope", ""))
        challenge = read_challenge(params)
        _check_response_type(params, installs_bot)
    except OAuthError as error:
        return _refuse(params, error.error, error.description)
    if params.get("deny"):
        return _refuse(params, "access_denied", DENIED)

    name = params.get("as")
    if name is None:
        # Adding a bot always needs the page.
        if params.get("prompt") != "none" or installs_bot:
            return _consent_page(sandbox, path, params, asked, installs_bot, cookie)
        try:
            name = _remembered_person(sandbox, asked, cookie)
        except OAuthError as error:
            return _refuse(params, error.error, error.description)
    with sandbox.lock:
        person = sandbox.people.get(name)
    if person is None:
        return _error_page(f"There is no person {name!r}; choose one of {', '.join(sorted(sandbox.people))}.")
    if installs_bot:
        return _install(sandbox, params, person, asked, challenge)
    return _grant_access(sandbox, path, params, person, asked, challenge)


def _check_response_type(params: Mapping[str, str], installs_bot: bool) -> None:
    response_type = params.get("response_type")
    if response_type is None and installs_bot:
        return
    if response_type != "code":
        raise OAuthError("unsupported_response_type", "The authorization server does not support this response type")


def _remembered_person(sandbox: Sandbox, asked: tuple[str, ...], cookie: str) -> str:
    """Return the last person for `prompt=none`. Raises OAuthError if there is none, or if they must consent first."""
    name = _person_in(cookie)
    with sandbox.lock:
        if name not in sandbox.people:
            raise OAuthError("login_required", "The end user is not signed in")
        if not set(asked) <= set(sandbox.oauth.agreed.get(name, ())):
            raise OAuthError("consent_required", "The end user has not granted these scopes")
    return name


def _person_in(cookie: str) -> str:
    """Return the name of the person who signed in last, or an empty string."""
    try:
        crumb = SimpleCookie(cookie).get(COOKIE)
    except CookieError:
        return ""
    return crumb.value if crumb else ""


def _grant_access(
    sandbox: Sandbox,
    path: str,
    params: Mapping[str, str],
    person: Person,
    asked: tuple[str, ...],
    challenge: str | None,
) -> Response:
    withheld = params.get("withhold", "").split()
    scopes = tuple(scope for scope in asked if scope not in withheld)
    with sandbox.lock:
        code = sandbox.oauth.new_code(person.name, scopes, params["redirect_uri"], challenge)
        sandbox.changed()
    response = _redirect(params, code=code)
    return response.with_headers(("Set-Cookie", f"{COOKIE}={person.name}; Path={path}; HttpOnly; SameSite=Lax"))


def _install(
    sandbox: Sandbox, params: Mapping[str, str], person: Person, asked: tuple[str, ...], challenge: str | None
) -> Response:
    """Add the bot to the server, if the person can manage it. With `response_type=code` the redirect has a code.

    If the application requires a code grant, the bot joins when the site exchanges that code.
    """
    guild_id = params.get(GUILD_OF + person.name) or params.get("guild_id", "")
    guild = person.guild(guild_id)
    if guild is None:
        return _error_page(f"{person.name} is not in a server with the id {guild_id!r}.")
    if not guild.can_manage:
        return _error_page(f"{person.name} can't manage {guild.name}, so they can't add a bot to it.", status=403)
    if not sandbox.application.bot_public and person.name != OWNER:
        return _error_page(f"The bot is not public, so only {OWNER} can add it to a server.", status=403)
    permissions = params.get("permissions") or "0"
    if not SNOWFLAKE.fullmatch(permissions):
        return _error_page(f"permissions is {permissions!r}, but it must be a number.")

    code = {}
    with sandbox.lock:
        waits = sandbox.application.bot_require_code_grant
        if not waits:
            sandbox.bot[guild.id] = permissions
        if params.get("response_type") == "code" and params.get("redirect_uri"):
            joins = (guild.id, permissions) if waits else ("", "")
            code["code"] = sandbox.oauth.new_code(person.name, asked, params["redirect_uri"], challenge, joins)
        sandbox.changed()
    if params.get("redirect_uri"):
        return _redirect(params, **code, guild_id=guild.id, permissions=permissions)
    joined = "waits for a code grant before it joins" if waits else "is now in"
    return sentence_page(200, "Authorized", f"The bot {joined} {guild.name}. You can close this window.")


def _redirect(params: Mapping[str, str], **response: str) -> Response:
    """Redirect to the site with these parameters and the request's `state`."""
    if "state" in params:
        response["state"] = params["state"]
    uri = params["redirect_uri"]
    fragment = uri.find("#")
    uri = uri if fragment < 0 else uri[:fragment]
    location = f"{uri}{'&' if '?' in uri else '?'}{urlencode(response)}"
    return Response(302, (("Location", location), ("Cache-Control", "no-store"), ("Referrer-Policy", "no-referrer")))


def _refuse(params: Mapping[str, str], error: str, description: str) -> Response:
    if params.get("redirect_uri"):
        return _redirect(params, error=error, error_description=description)
    return _error_page(f"{error}: {description}")


def _error_page(sentence: str, status: int = 400) -> Response:
    return sentence_page(status, "Invalid request", sentence)


# The page


def _consent_page(
    sandbox: Sandbox, path: str, params: Mapping[str, str], asked: tuple[str, ...], installs_bot: bool, cookie: str
) -> Response:
    """Return the page: the application, its scopes in words, the people to choose from, and where it leads."""
    with sandbox.lock:
        people = list(sandbox.people.values())
    choices = {person.name: _bot_servers(params, person) if installs_bot else Markup("") for person in people}
    if installs_bot:
        people = [person for person in people if choices[person.name]]
    if not people:
        return _error_page("None of the sandbox's people can manage this server.", status=403)

    chosen = _person_in(cookie)
    if chosen not in choices or all(person.name != chosen for person in people):
        chosen = people[0].name
    wants = "add its bot to a server" if installs_bot else "access your account"
    title = f"{NAME} wants to {wants}"
    scopes = join([part("scope.html", text=SCOPE_LABELS.get(scope, scope)) for scope in asked])
    body = part(
        "consent.html",
        path=path,
        application=part("consent_application.html", title=title, application=NAME, scopes=scopes),
        hidden=_hidden(params),
        accounts=part(
            "accounts.html",
            legend="Add it as" if installs_bot else "Sign in as",
            people=join([_account(person, choices[person.name], person.name == chosen) for person in people]),
        ),
        withhold=part("withhold.html") if "guilds" in asked else "",
        **_way_back(params),
    )
    return page(200, title, body)


def _way_back(params: Mapping[str, str]) -> dict[str, Markup]:
    """Return the button and the sentence that a page without a redirect URL does without."""
    uri = params.get("redirect_uri")
    if not uri:
        return {"deny": Markup(""), "back": Markup("")}
    parts = urlsplit(uri)
    return {"deny": part("deny.html"), "back": part("back.html", site=f"{parts.scheme}://{parts.netloc}")}


def _hidden(params: Mapping[str, str]) -> Markup:
    names = (name for name in params if name not in CHOICES and not name.startswith(GUILD_OF))
    return join([part("hidden.html", name=name, value=params[name]) for name in names])


def _account(person: Person, choice: Markup, checked: bool) -> Markup:
    count = len(person.guilds)
    return part(
        "person.html",
        name=person.name,
        display=person.global_name or person.name,
        servers="in no server" if count == 0 else "in one server" if count == 1 else f"in {count} servers",
        avatar=f"/cdn/avatars/{person.id}/{person.avatar}.png?size=64" if person.avatar else DEFAULT_AVATAR,
        checked=Markup("checked") if checked else "",
        choice=choice,
    )


def _bot_servers(params: Mapping[str, str], person: Person) -> Markup:
    """Return a choice of the servers the person can add a bot to, or only of the requested one if that is fixed."""
    requested = params.get("guild_id", "")
    choice = [guild for guild in person.guilds if guild.can_manage]
    if params.get("disable_guild_select") == "true":
        choice = [guild for guild in choice if guild.id == requested]
    if not choice:
        return Markup("")
    options = [
        part("option.html", value=guild.id, text=guild.name, chosen=Markup("selected" if guild.id == requested else ""))
        for guild in choice
    ]
    return part("bot_servers.html", name=person.name, options=join(options))
