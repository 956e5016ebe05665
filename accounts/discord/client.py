"""The Discord API client: it takes strings and returns values.

    client = DiscordClient(client_id="…", client_secret="…")
    guilds = client.get_user_guilds(access_token)

A method returns a value or raises a `DiscordAPIError`; an empty list always means that the person is in no server.
Only 429 is retried, and only for GET: after other errors the caller has a stored list, and repeating a token request
would use up a refresh token. A client is a cheap immutable value: use `dataclasses.replace(client, deadline=…)` to get
one for a single attempt.
"""

import itertools
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar, cast

import requests
import structlog
from tenacity import RetryCallState, Retrying, retry_if_result

from . import transport
from .errors import (
    DiscordAPIError,
    DiscordUnavailable,
    RateLimited,
    SiteRefused,
    Unauthorized,
    UnknownGuild,
    UnknownMember,
    UnusableResponse,
)
from .responses import BOT, CLIENT, PERSON, Broken, DiscordResponse, Success, classify, unix_time
from .types import (
    TOKEN,
    Application,
    Channel,
    CurrentUser,
    E,
    G,
    Guild,
    GuildPage,
    InvalidPayload,
    Listing,
    Member,
    PartialGuild,
    Role,
    Tokens,
)

T = TypeVar("T")

logger = structlog.get_logger(__name__)

# Without a version Discord serves v6, which uses milliseconds.
DEFAULT_BASE_URL = "https://discord.com/api/v10"
PAGE = 200  # the maximum per request, and the maximum number of servers a person can be in
MAX_LOGGED_IDS = 20  # keeps a log line short

_PLACEHOLDERS = {"guilds": "{guild.id}", "members": "{user.id}", "users": "{user.id}"}
_PLAIN_SEGMENT = re.compile(r"(?=.*[a-z@])[a-z0-9@._-]{1,32}")


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request that was sent, and its result; `duration` and `retry_after` in seconds, `error` None on success."""

    route: str
    method: str
    status: int | None
    scope: str | None
    retry_after: float | None
    counts_as_invalid: bool  # towards the 10,000 in 10 minutes at which Discord bans our address
    attempt: int
    duration: float
    error: DiscordAPIError | None
    skipped: int = 0  # list entries that could not be parsed
    discord_time: float | None = None  # when Discord sent the response by its own clock, in whole seconds


def _nothing_to_check(route: str) -> None:
    """The default for `before_send`."""


def _nothing_to_note(exchange: Exchange) -> None:
    """The default for `on_response`."""


def _small_wait() -> float:
    """Return a random delay to add to Discord's rounded wait, so that retries are neither early nor simultaneous."""
    return random.uniform(0.05, 0.25)


@dataclass(frozen=True, slots=True, repr=False)
class _Request:
    method: str
    path: str
    route: str
    headers: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str | int] | None = None
    form: Mapping[str, str] | None = None
    auth: tuple[str, str] | None = None
    secrets: tuple[str, ...] = ()
    credentials: str = PERSON


@dataclass(frozen=True, slots=True)
class _Value(Generic[T]):
    value: T


@dataclass(frozen=True, slots=True)
class DiscordClient:
    """A client's configuration and its methods. All times are in seconds; `deadline` is a time of `clock`.

    One attempt (a method's request with its retries) ends by `deadline`, or `budget` after its start if that is None;
    one request ends after `request_timeout`. `before_send` is called with the route before every request, including
    retries; if it raises, the exception is propagated and nothing is sent. `on_response` is called after every request
    that was sent; its exceptions are logged and dropped, so that a response (a rotated refresh token) isn't lost.
    """

    base_url: str = DEFAULT_BASE_URL
    _: KW_ONLY
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    request_timeout: float = 4.0
    budget: float = 10.0
    deadline: float | None = None
    max_retries: int = 3
    retry_delay: float = 1.0
    before_send: Callable[[str], None] = field(default=_nothing_to_check, repr=False)
    on_response: Callable[[Exchange], None] = field(default=_nothing_to_note, repr=False)
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)
    jitter: Callable[[], float] = field(default=_small_wait, repr=False)
    session: Callable[[], requests.Session] = field(default=transport.shared_session, repr=False, compare=False)

    # Endpoints

    def fetch(
        self,
        path: str,
        token: str,
        max_retries: int | None = None,
        retry_delay: float | None = None,
        *,
        params: Mapping[str, str | int] | None = None,
        scheme: str = "Bearer",
    ) -> Any:
        """GET `path` with a token and return the JSON payload unchanged, or None for an empty body.

        On 429, sends up to `max_retries` more requests, each after the wait that Discord names, or else after
        `retry_delay` times 1, 2, 4 s, as long as the deadline allows; both default to the client's. Raises
        DiscordAPIError.
        """
        request = _get(path, token, params, scheme)
        return self._ask(request, lambda response: response.payload, max_retries, retry_delay)

    def get_current_user(self, token: str) -> CurrentUser:
        """Return the person that the token belongs to (scope `identify`)."""
        return self._ask(_get("/users/@me", token), lambda response: CurrentUser.from_json(_json(response)))

    def get_bot_user(self, bot_token: str) -> CurrentUser:
        """Return the user that the bot is; its id may differ from its application's."""
        request = _get("/users/@me", bot_token, scheme="Bot")
        return self._ask(request, lambda response: CurrentUser.from_json(_json(response)))

    def get_user_guilds(self, token: str) -> GuildPage[Guild]:
        """Return all guilds that the person is in (scope `guilds`).

        One request is enough: a page holds 200 guilds, and a person can't be in more.
        https://docs.discord.com/developers/resources/user#get-current-user-guilds
        """
        return self._ask(_get("/users/@me/guilds", token, {"limit": PAGE}), partial(_guilds, Guild.from_json))

    def get_user_guild_member(self, guild_id: int, token: str) -> Member | None:
        """Return the person's membership in one guild (scope `guilds.members.read`), or None if they are not in it.

        Discord allows about five such requests per person in 300 s.
        https://docs.discord.com/developers/resources/user#get-current-user-guild-member
        """
        try:
            return self._ask(_get(f"/users/@me/guilds/{guild_id}/member", token), _member)
        except (UnknownGuild, UnknownMember):
            return None

    def get_guild_member(self, guild_id: int, user_id: int, bot_token: str) -> Member | None:
        """Return a member of one of the bot's guilds, or None if Discord says that the person is not in it.

        Raises UnknownGuild or MissingAccess if the bot is not in the guild.
        https://docs.discord.com/developers/resources/guild#get-guild-member
        """
        try:
            return self._ask(_get(f"/guilds/{guild_id}/members/{user_id}", bot_token, scheme="Bot"), _member)
        except UnknownMember:
            return None

    def get_guild_roles(self, guild_id: int, bot_token: str) -> Listing[Role]:
        """Return the roles of one of the bot's guilds.

        Raises UnknownGuild or MissingAccess if the bot is not in the guild.
        https://docs.discord.com/developers/resources/guild#get-guild-roles
        """
        request = _get(f"/guilds/{guild_id}/roles", bot_token, scheme="Bot")
        return self._ask(request, partial(_listing, Role.from_json, "role"))

    def get_guild_channels(self, guild_id: int, bot_token: str) -> Listing[Channel]:
        """Return the channels of one of the bot's guilds, without threads.

        Raises UnknownGuild or MissingAccess if the bot is not in the guild.
        https://docs.discord.com/developers/resources/guild#get-guild-channels
        """
        request = _get(f"/guilds/{guild_id}/channels", bot_token, scheme="Bot")
        return self._ask(request, partial(_listing, Channel.from_json, "channel"))

    def iter_bot_guilds(self, bot_token: str) -> Iterator[GuildPage[PartialGuild]]:
        """Yield pages of the bot's guilds by ascending id until an empty page, as a short page may not be the last.

        Each page is an attempt with its own budget, unless the client has a deadline. A page without any id is the
        last one, as there is no id to continue from.
        """
        after = -1
        while True:
            cursor = {"after": after} if after >= 0 else {}
            request = _get("/users/@me/guilds", bot_token, {"limit": PAGE, **cursor}, "Bot")
            page = self._ask(request, partial(_guilds, PartialGuild.from_json, after=after))
            if page.ids or page.without_id:
                yield page
            if not page.ids:
                return
            after = max(page.ids)

    def get_bot_guild(self, guild_id: int, bot_token: str) -> PartialGuild | None:
        """Return one of the bot's guilds, or None if the bot is not in it.

        Requests the part of the bot's list that begins with the guild, because only the list names the bot's
        permissions.
        """
        after = guild_id - 1
        request = _get("/users/@me/guilds", bot_token, {"limit": 1, "after": after}, "Bot")
        return self._ask(request, partial(_guild, guild_id, after))

    def exchange_code(self, code: str, redirect_uri: str, code_verifier: str | None = None) -> Tokens:
        """Exchange a code from the consent page for tokens. Sent once: a code works once, for 100 s.

        Raises InvalidGrant if the code is no longer valid, SiteRefused if our client id, secret or redirect URI is
        wrong.
        """
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri}
        if code_verifier is not None:
            form["code_verifier"] = code_verifier
        return self._ask_for_tokens(form, (code, code_verifier or ""))

    def refresh_tokens(self, refresh_token: str) -> Tokens:
        """Exchange a refresh token for a new pair. Never retried: the token works once, and the new pair would be lost.

        Raises InvalidGrant, which is final, and SiteRefused if our client id or secret is wrong.
        """
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        return self._ask_for_tokens(form, (refresh_token,))

    def revoke_token(self, token: str) -> None:
        """End the person's authorization, which revokes all tokens that this application has for them. Sent once.

        Discord also confirms unknown tokens (RFC 7009). SiteRefused means that our client id or secret is wrong.
        https://docs.discord.com/developers/topics/oauth2
        """
        request = self._with_credentials("/oauth2/token/revoke", {"token": token}, (token,))
        self._ask(request, lambda response: None, max_retries=0)

    def get_application(self, bot_token: str) -> Application:
        """Return the application that the bot token belongs to, with what only its owner can see."""
        request = _get("/applications/@me", bot_token, scheme="Bot")
        return self._ask(request, lambda response: Application.from_json(_json(response)))

    def get_own_application(self) -> Application:
        """Return the application that our client id and secret belong to, as anyone can see it.

        Discord issues a token of the application's owner for them. It isn't revoked, as that would revoke all tokens
        that the owner has for this application. SiteRefused means that our client id or secret is wrong.
        https://docs.discord.com/developers/topics/oauth2#client-credentials-grant
        """
        form = {"grant_type": "client_credentials", "scope": "identify"}
        request = self._with_credentials("/oauth2/token", form, ())
        token = self._ask(request, _access_token, max_retries=0)
        return self._ask(_get("/oauth2/@me", token), lambda response: Application.from_json(_part(response)))

    def _ask_for_tokens(self, form: Mapping[str, str], secrets: tuple[str, ...]) -> Tokens:
        request = self._with_credentials("/oauth2/token", form, secrets)
        return self._ask(request, lambda response: Tokens.from_json(_json(response)), max_retries=0)

    def _with_credentials(self, path: str, form: Mapping[str, str], secrets: tuple[str, ...]) -> _Request:
        """Build a form request that authenticates as the application."""
        return _Request(
            "POST",
            path,
            f"POST {path}",
            form=form,
            auth=(self.client_id, self.client_secret),
            secrets=(*secrets, self.client_secret),
            credentials=CLIENT,
        )

    # Sending

    def _ask(
        self,
        request: _Request,
        parse: Callable[[Success], T],
        max_retries: int | None = None,
        retry_delay: float | None = None,
    ) -> T:
        """Make one attempt: send the request, and retry it after 429 while there is time."""
        retries = self.max_retries if max_retries is None else max(0, max_retries)
        delay = self.retry_delay if retry_delay is None else retry_delay
        deadline = self.clock() + self.budget if self.deadline is None else self.deadline
        attempts = itertools.count(1)

        def wait(state: RetryCallState) -> float:
            retry_after: float | None = _outcome(state).retry_after
            if retry_after is not None:
                return retry_after + self.jitter()
            return delay * 2.0 ** (state.attempt_number - 1)

        def is_over(state: RetryCallState) -> bool:
            return state.attempt_number > retries or self.clock() + state.upcoming_sleep >= deadline

        def log(state: RetryCallState) -> None:
            logger.warning(
                "discord_retry",
                route=request.route,
                attempt=state.attempt_number,
                max_retries=retries,
                wait_seconds=round(state.upcoming_sleep, 3),
                scope=_outcome(state).scope,
            )

        # Errors are return values here, because a RateLimited raised by `before_send` must not be retried.
        retrying = Retrying(
            sleep=self.sleep,
            retry=retry_if_result(_may_be_retried),
            wait=wait,
            stop=is_over,
            before_sleep=log,
            retry_error_callback=_outcome,
        )
        outcome = retrying(lambda: self._send(request, parse, deadline, next(attempts)))
        if isinstance(outcome, DiscordAPIError):
            raise outcome
        return outcome.value

    def _send(
        self, request: _Request, parse: Callable[[Success], T], deadline: float, attempt: int
    ) -> _Value[T] | DiscordAPIError:
        """Send one request: call `before_send`, send, parse the response and report the exchange."""
        late = DiscordUnavailable(message="the deadline has passed", attempts=attempt - 1, route=request.route)
        if self.clock() >= deadline:
            return late
        self.before_send(request.route)
        started = self.clock()
        if started >= deadline:
            return late

        response, discord_time = self._exchange(request, min(self.request_timeout, deadline - started))
        outcome = _understand(response, parse, request, attempt)

        error = outcome if isinstance(outcome, DiscordAPIError) else None
        skipped = _count_skipped(outcome, request.route)
        self._report(
            Exchange(
                route=request.route,
                method=request.method,
                status=response.status,
                scope=response.scope,
                retry_after=response.retry_after,
                counts_as_invalid=response.counts_as_invalid,
                attempt=attempt,
                duration=self.clock() - started,
                error=error,
                skipped=skipped,
                discord_time=discord_time,
            )
        )
        return outcome

    def _exchange(self, request: _Request, timeout: float) -> tuple[DiscordResponse, float | None]:
        """Send the request. Returns the response and when Discord sent it, as Unix time; None if it doesn't say."""
        reply = transport.send(
            self.session(),
            request.method,
            self.base_url.rstrip("/") + request.path,
            timeout=timeout,
            headers=request.headers,
            params=request.params,
            form=request.form,
            auth=request.auth,
        )
        # A refusal is recognized by its status even if its body is incomplete; a value needs the complete body.
        if reply.status is None or (reply.problem and 200 <= reply.status < 300):
            return Broken(reply.status, message=reply.problem, is_cut_off=True), None
        response = classify(reply.status, reply.headers, reply.body, secrets=request.secrets)
        return response, unix_time(reply.headers.get("Date", ""))

    def _report(self, exchange: Exchange) -> None:
        try:
            self.on_response(exchange)
        except Exception:
            logger.exception("discord_answer_not_noted", route=exchange.route, status=exchange.status)


def _get(path: str, token: str, params: Mapping[str, str | int] | None = None, scheme: str = "Bearer") -> _Request:
    if not path.startswith("/"):
        raise ValueError("a path of Discord's API must start with a slash")
    route = f"GET {_template(path)}"
    credentials = BOT if scheme == "Bot" else PERSON
    if not TOKEN.fullmatch(token):
        message = "the token cannot be sent: it is empty or damaged"
        if credentials == BOT:
            raise SiteRefused(credentials=BOT, message=message, route=route)
        raise Unauthorized(message=message, route=route)
    headers = {"Authorization": f"{scheme} {token}"}
    return _Request("GET", path, route, headers, params, secrets=(token,), credentials=credentials)


def _template(path: str) -> str:
    """Return the path as in Discord's documentation: ids, and anything that might be secret, become placeholders."""
    segments = path.partition("?")[0].split("/")
    named = segments[:1]
    for before, segment in itertools.pairwise(segments):
        plain = not segment or _PLAIN_SEGMENT.fullmatch(segment)
        named.append(segment if plain else _PLACEHOLDERS.get(before, "{id}"))
    return "/".join(named)


def _understand(
    response: DiscordResponse, parse: Callable[[Success], T], request: _Request, attempt: int
) -> _Value[T] | DiscordAPIError:
    if not isinstance(response, Success):
        return response.to_error(request.route, attempt, request.credentials)
    try:
        return _Value(parse(response))
    except InvalidPayload as problem:
        return UnusableResponse(message=str(problem), status=response.status, attempts=attempt, route=request.route)


def _outcome(state: RetryCallState) -> Any:
    return cast(Any, state.outcome).result()


def _may_be_retried(outcome: object) -> bool:
    """Whether the outcome is a 429, except a ban without a named end: each retry would count towards the next ban."""
    if not isinstance(outcome, RateLimited) or outcome.status != 429:
        return False
    return outcome.scope != "cloudflare" or outcome.retry_after is not None


def _json(response: Success) -> Any:
    """Return the payload of a complete 200. An empty body is an error, not `null`."""
    if response.status != 200 or response.empty:
        raise InvalidPayload("the response has no content")
    return response.payload


def _access_token(response: Success) -> str:
    """Return the token of a response that has no refresh token."""
    payload = _json(response)
    token = payload.get("access_token") if isinstance(payload, dict) else None
    if not isinstance(token, str) or not TOKEN.fullmatch(token):
        raise InvalidPayload("token.access_token is not a token")
    return token


def _part(response: Success) -> Any:
    """Return the application of the current authorization."""
    payload = _json(response)
    return payload.get("application") if isinstance(payload, dict) else None


def _guild(guild_id: int, after: int, response: Success) -> PartialGuild | None:
    page = _guilds(PartialGuild.from_json, response, after)
    if page.without_id or guild_id in page.unreadable:
        raise InvalidPayload(page.unreadable.get(guild_id, "guild.id is not a 63-bit number in a string"))
    return next((guild for guild in page.guilds if guild.id == guild_id), None)


def _member(response: Success) -> Member:
    return Member.from_json(_json(response))


def _listing(parse: Callable[[object], E], what: str, response: Success) -> Listing[E]:
    listing: Listing[E] = Listing.of(_json(response), parse, what)
    _check_any(listing, what)
    return listing


def _check_any(listing: Listing[Any], what: str) -> None:
    """Raise InvalidPayload if none of the list's entries can be parsed, as it is no list of these objects then."""
    if not listing.entries and (listing.unreadable or listing.without_id):
        raise InvalidPayload(next(iter(listing.unreadable.values()), f"{what}.id is not in any entry of the list"))


def _guilds(parse: Callable[[object], G], response: Success, after: int = -1) -> GuildPage[G]:
    """Parse a page of guilds. All ids must be greater than the cursor, or paging might never end."""
    page = GuildPage.from_json(_json(response), parse)
    if after < 0:
        _check_any(page, "guild")
    if page.ids and min(page.ids) <= after:
        raise InvalidPayload("the page repeats guilds of the previous page")
    return page


def _count_skipped(outcome: object, route: str) -> int:
    """Count the skipped entries of a list, and log their ids and fields without their content."""
    listing = outcome.value if isinstance(outcome, _Value) else None
    if not isinstance(listing, Listing) or not (listing.unreadable or listing.without_id):
        return 0
    logger.warning(
        "discord_entries_skipped",
        route=route,
        ids=sorted(listing.unreadable)[:MAX_LOGGED_IDS],
        problems=sorted(set(listing.unreadable.values())),
        unreadable=len(listing.unreadable),
        without_id=listing.without_id,
    )
    return len(listing.unreadable) + listing.without_id
