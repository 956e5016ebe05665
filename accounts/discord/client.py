"""The Discord API client: strings in, values out.

    client = DiscordClient(client_id="…", client_secret="…")
    guilds = client.get_user_guilds(access_token)

A method returns a value or raises a `DiscordAPIError`; an empty list means "in no server" and nothing else.
Only 429 is retried, and only for GET: for everything else there is the list stored before, and a token request that
is sent twice uses up a refresh token. A client is a value and costs nothing: `dataclasses.replace(client, deadline=…)`
makes the one for this attempt.
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
from .answers import Answer, Broken, Success, classify
from .errors import DiscordAPIError, DiscordUnavailable, RateLimited, RequestRejected, Unauthorized
from .types import TOKEN, CurrentUser, Guild, InvalidPayload, PartialGuild, Tokens

T = TypeVar("T")

logger = structlog.get_logger(__name__)

# Without the version Discord serves v6, which counts in milliseconds.
DEFAULT_BASE_URL = "https://discord.com/api/v10"
PAGE = 200  # the most that one request gives, and the most servers a person can be in

UNKNOWN_GUILD = 10004

_PLACEHOLDERS = {"guilds": "{guild.id}", "members": "{user.id}", "users": "{user.id}"}
_PLAIN_SEGMENT = re.compile(r"(?=.*[a-z@])[a-z0-9@._-]{1,32}")


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request that was sent, and how it went. `error` is None if it brought what was asked for."""

    route: str
    method: str
    status: int | None
    scope: str | None
    retry_after: float | None
    counts_as_invalid: bool  # towards the 10,000 in 10 minutes after which Discord bans our address
    attempt: int
    duration: float
    error: DiscordAPIError | None


def _nothing_to_check(route: str) -> None:
    """The default for `before_send`."""


def _nothing_to_note(exchange: Exchange) -> None:
    """The default for `on_answer`."""


def _small_wait() -> float:
    """Added to Discord's wait, which it rounds: never early, and not all of us in the same millisecond."""
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


@dataclass(frozen=True, slots=True)
class _Value(Generic[T]):
    value: T


@dataclass(frozen=True, slots=True)
class DiscordClient:
    """How to ask Discord. All times are in seconds; `deadline` is a moment of `clock`.

    One attempt (a method's request with its retries) ends by `deadline`, or `budget` after its start if there is none;
    one request ends after `request_timeout`. `before_send` gets the route before every request, retries too: what it
    raises goes to the caller as it is, and nothing is sent. `on_answer` is told of every request that was sent; what
    it raises is logged and dropped: an answer in hand (a rotated refresh token) must not be lost to bookkeeping.
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
    on_answer: Callable[[Exchange], None] = field(default=_nothing_to_note, repr=False)
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)
    jitter: Callable[[], float] = field(default=_small_wait, repr=False)
    session: Callable[[], requests.Session] = field(default=transport.shared_session, repr=False)

    # What can be asked

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
        """GET `path` with a token: the JSON payload as it came, None for an empty body.

        On 429 up to `max_retries` more requests, each after what Discord says, else after `retry_delay` times 1, 2,
        4 s, as long as the deadline allows; both default to the client's. Raises DiscordAPIError.
        """
        request = _get(path, token, params, scheme)
        return self._ask(request, lambda answer: answer.payload, max_retries, retry_delay)

    def get_current_user(self, token: str) -> CurrentUser:
        """The person the token belongs to (scope `identify`)."""
        return self._ask(_get("/users/@me", token), lambda answer: CurrentUser.from_json(_json(answer)))

    def get_user_guilds(self, token: str) -> list[Guild]:
        """Every guild the person is in, by ascending id (scope `guilds`).

        One request: a page holds 200, and a person can join no more than that, so there is no second page.
        https://docs.discord.com/developers/resources/user#get-current-user-guilds
        """
        return self._ask(_get("/users/@me/guilds", token, {"limit": PAGE}), _guilds)

    def iter_bot_guilds(self, bot_token: str) -> Iterator[list[Guild]]:
        """The bot's guilds by ascending id, page by page until an empty page: a short one is not the last.

        Each page is an attempt with its own budget, unless the client has a deadline.
        """
        after = -1
        while True:
            cursor = {"after": after} if after >= 0 else {}
            request = _get("/users/@me/guilds", bot_token, {"limit": PAGE, **cursor}, "Bot")
            page = self._ask(request, lambda answer, after=after: _guilds(answer, after))  # type: ignore[misc]
            if not page:
                return
            yield page
            after = page[-1].id

    def get_guild(self, guild_id: int, bot_token: str) -> PartialGuild | None:
        """A guild of the bot's; None if Discord says that the bot is in no such guild.

        https://docs.discord.com/developers/resources/guild#get-guild
        """
        try:
            return self._ask(_get(f"/guilds/{guild_id}", bot_token, scheme="Bot"), partial(_guild, guild_id))
        except RequestRejected as error:
            if error.code == UNKNOWN_GUILD:
                return None
            raise

    def exchange_code(self, code: str, redirect_uri: str, code_verifier: str | None = None) -> Tokens:
        """The tokens for a code from the consent page. Sent once: a code works once, and for 100 s.

        Raises InvalidGrant if the code is no longer good. Unauthorized means our own id or secret is wrong.
        """
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri}
        if code_verifier is not None:
            form["code_verifier"] = code_verifier
        return self._ask_for_tokens(form, (code, code_verifier or ""))

    def refresh_tokens(self, refresh_token: str) -> Tokens:
        """A new pair for a refresh token. Sent once, never again: a used one is refused, and the pair would be lost.

        Raises InvalidGrant, which is final. Unauthorized means our own id or secret is wrong.
        """
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        return self._ask_for_tokens(form, (refresh_token,))

    def _ask_for_tokens(self, form: Mapping[str, str], secrets: tuple[str, ...]) -> Tokens:
        request = _Request(
            "POST",
            "/oauth2/token",
            "POST /oauth2/token",
            form=form,
            auth=(self.client_id, self.client_secret),
            secrets=(*secrets, self.client_secret),
        )
        return self._ask(request, lambda answer: Tokens.from_json(_json(answer)), max_retries=0)

    # How it is asked

    def _ask(
        self,
        request: _Request,
        parse: Callable[[Success], T],
        max_retries: int | None = None,
        retry_delay: float | None = None,
    ) -> T:
        """One attempt: the request, and its retries while Discord says 429 and there is time."""
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

        # Errors are results here: what `before_send` raises may be a RateLimited too, and must not be retried.
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
        """One request: asked for permission, sent, understood, reported."""
        late = DiscordUnavailable(message="the time is used up", attempts=attempt - 1, route=request.route)
        if self.clock() >= deadline:
            return late
        self.before_send(request.route)
        started = self.clock()
        if started >= deadline:
            return late

        answer = self._exchange(request, min(self.request_timeout, deadline - started))
        outcome = _understand(answer, parse, request.route, attempt)

        error = outcome if isinstance(outcome, DiscordAPIError) else None
        self._report(
            Exchange(
                route=request.route,
                method=request.method,
                status=answer.status,
                scope=answer.scope,
                retry_after=answer.retry_after,
                counts_as_invalid=answer.counts_as_invalid,
                attempt=attempt,
                duration=self.clock() - started,
                error=error,
            )
        )
        return outcome

    def _exchange(self, request: _Request, timeout: float) -> Answer:
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
        # A refusal is one by its status, also if its body broke off; a value needs all of it.
        if reply.status is None or (reply.problem and 200 <= reply.status < 300):
            return Broken(reply.status, message=reply.problem)
        return classify(reply.status, reply.headers, reply.body, secrets=request.secrets)

    def _report(self, exchange: Exchange) -> None:
        try:
            self.on_answer(exchange)
        except Exception:
            logger.exception("discord_answer_not_noted", route=exchange.route, status=exchange.status)


def _get(path: str, token: str, params: Mapping[str, str | int] | None = None, scheme: str = "Bearer") -> _Request:
    if not path.startswith("/"):
        raise ValueError("a path of Discord's API starts with a slash")
    route = f"GET {_template(path)}"
    if not TOKEN.fullmatch(token):
        raise Unauthorized(message="the token cannot be sent: it is empty or damaged", route=route)
    return _Request("GET", path, route, {"Authorization": f"{scheme} {token}"}, params, secrets=(token,))


def _template(path: str) -> str:
    """The path as Discord's documentation writes it: ids, and anything that could be a secret, give way to a name."""
    segments = path.partition("?")[0].split("/")
    named = segments[:1]
    for before, segment in itertools.pairwise(segments):
        plain = not segment or _PLAIN_SEGMENT.fullmatch(segment)
        named.append(segment if plain else _PLACEHOLDERS.get(before, "{id}"))
    return "/".join(named)


def _understand(answer: Answer, parse: Callable[[Success], T], route: str, attempt: int) -> _Value[T] | DiscordAPIError:
    if not isinstance(answer, Success):
        return answer.to_error(route, attempt)
    try:
        return _Value(parse(answer))
    except InvalidPayload as problem:
        return DiscordUnavailable(message=str(problem), status=answer.status, attempts=attempt, route=route)


def _outcome(state: RetryCallState) -> Any:
    return cast(Any, state.outcome).result()


def _may_be_retried(outcome: object) -> bool:
    """429, but not a ban without an end: each request would count towards the next ban."""
    if not isinstance(outcome, RateLimited):
        return False
    return outcome.scope != "cloudflare" or outcome.retry_after is not None


def _json(answer: Success) -> Any:
    """The payload of a complete 200. An empty body is not `null`: it is an answer that got lost."""
    if answer.status != 200 or answer.empty:
        raise InvalidPayload("the answer has no content")
    return answer.payload


def _guild(guild_id: int, answer: Success) -> PartialGuild:
    guild = PartialGuild.from_json(_json(answer))
    if guild.id != guild_id:
        raise InvalidPayload("the guild is not the one asked for")
    return guild


def _guilds(answer: Success, after: int = -1) -> list[Guild]:
    """A page of guilds; `null` is an empty one. All ids must lie beyond the cursor, or paging might never end."""
    payload = _json(answer)
    if payload is None:
        return []
    if not isinstance(payload, list) or len(payload) > PAGE:
        raise InvalidPayload(f"the guilds are not a list of at most {PAGE}")
    guilds = sorted(map(Guild.from_json, payload), key=lambda guild: guild.id)
    if len({guild.id for guild in guilds}) < len(guilds):
        raise InvalidPayload("a guild is listed twice")
    if guilds and guilds[0].id <= after:
        raise InvalidPayload("the page repeats guilds of the one before")
    return guilds
