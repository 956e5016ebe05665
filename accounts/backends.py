"""Sign-in with Discord: social-auth's flow, with our client for every call to Discord."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from social_core.backends.oauth import BaseOAuth2PKCE
from social_core.exceptions import AuthInputError, AuthSessionError

from accounts import background, gate
from accounts.discord import CurrentUser, DiscordClient, Tokens
from accounts.limits import GateShut, Priority, Reason
from accounts.models import User
from accounts.sign_in import (
    ATTEMPT_TTL,
    MAX_ATTEMPTS,
    PAGE_REQUIRED,
    USED_ATTEMPTS,
    Destination,
    LinkUnconfirmed,
    Prompt,
    SignInFailed,
    SignInUnavailable,
    dated_state,
    scopes_to_request,
    transaction_key,
    why_refused,
)
from accounts.tokens import discord_client


class DiscordOAuth2(BaseOAuth2PKCE[Any]):
    """OAuth2 with state, PKCE (S256) and the scopes of `DISCORD_SCOPES`.

    Raises the client's `DiscordAPIError`s unchanged, so that the page can report a rate limit, and `SignInUnavailable`
    if no request was sent or Discord took too long. social-auth's own token handling is not used: its refresh takes no
    lease, and a refresh token works only once.
    """

    name = "discord"
    REDIRECT_STATE = False
    SCOPE_SEPARATOR = " "
    EXTRA_DATA: list[Any] = []  # noqa: RUF012 - the base class declares a mutable one; ours stays empty
    STATE_LIFETIME = ATTEMPT_TTL

    # For the attempt that begins: where it leads, what it requests and how, and the local account to link.
    destination = Destination()
    requested_scopes: Sequence[str] = ()
    prompt = Prompt.NONE
    links_user_id: int | None = None
    # For the attempt that ends, once the person is known.
    user_id: int | None = None
    granted_scopes: frozenset[str] = frozenset()

    def authorization_url(self) -> str:
        url: str = settings.DISCORD_AUTHORIZE_URL
        return url

    def get_scope(self) -> list[str]:
        return list(self.requested_scopes)

    def auth_params(self, state: str | None = None) -> dict[str, str]:
        params = super().auth_params(state)  # type: ignore[no-untyped-call]  # has no types
        return {**params, "prompt": str(self.prompt)}

    def transaction_key(self, state: str) -> str:
        return transaction_key(state)

    def state_token(self) -> str:
        return dated_state(super().state_token())  # type: ignore[no-untyped-call]  # has no types

    def get_or_create_state(self) -> str:
        """Begin an attempt in the session, and drop the oldest ones beyond MAX_ATTEMPTS."""
        state = str(super().get_or_create_state())
        key = self.transaction_key(state)
        attempt = self.strategy.session_get(key)
        leads_to = {"next": self.destination.next_page, "scope": self.destination.scope}
        self.strategy.session_set(key, {**attempt, **leads_to, "links": self.links_user_id, "prompt": str(self.prompt)})
        return state

    def _prune_transactions(self, now: int, lifetime: int) -> dict[str, int]:
        active: dict[str, int] = super()._prune_transactions(now, lifetime)
        for state in list(active)[: -(MAX_ATTEMPTS - 1)]:
            self.strategy.session_pop(self.transaction_key(state))
            del active[state]
        return active

    def validate_state(self) -> str:
        """End the attempt that the callback belongs to and return its state.

        Raises `SignInFailed` if this browser's session has no such attempt.
        """
        try:
            state = str(super().validate_state())
        except (AuthSessionError, AuthInputError):
            request: HttpRequest = self.strategy.request  # type: ignore[attr-defined]  # Django's strategy has one
            raise SignInFailed(why_refused(request, request.GET.get("state", ""))) from None
        leads_to = {name: self._attempt.get(name, "") for name in ("next", "scope")}
        used = {**self.strategy.session_get(USED_ATTEMPTS, {}), state: leads_to}
        self.strategy.session_set(USED_ATTEMPTS, dict(list(used.items())[-MAX_ATTEMPTS:]))
        return state

    @property
    def _attempt(self) -> dict[str, Any]:
        return self._oauth2_transaction or {}

    def auth_complete(self, *args: Any, **kwargs: Any) -> Any:
        """Check the callback's parameters, exchange its code, and let the pipeline find or create the person.

        Returns a redirect to Discord's consent page if Discord can't do without it.
        """
        if self.data.get("error") in PAGE_REQUIRED:
            self.validate_state()
            if self._attempt.get("prompt") == Prompt.NONE:
                return self._begin_with_consent()
        self.process_error(self.data)
        state = self.validate_state()
        user: User | None = kwargs.get("user")
        if user and user.discord_id is None and self._attempt.get("links") != user.pk:
            raise LinkUnconfirmed
        code = self.data.get("code", "")
        verifier = self.get_code_verifier(state)
        redirect_uri = self.get_redirect_uri(state)

        def sign_in(client: DiscordClient) -> tuple[Tokens, CurrentUser]:
            # Only Discord can tell an invented code from a real one; once it accepts the code, a person is waiting.
            tokens = gate.gated(client, Priority.SIGN_IN).exchange_code(code, redirect_uri, verifier)
            return tokens, gate.gated(client, Priority.COLD).get_current_user(tokens.access_token)

        tokens, person = _within_budget(sign_in)
        self.granted_scopes = tokens.scopes
        kwargs["response"] = {"id": str(person.id), "person": person, "tokens": tokens}
        kwargs["backend"] = self
        return self.strategy.authenticate(*args, **kwargs)

    def _begin_with_consent(self) -> Any:
        """Begin the attempt again with Discord's consent page, which happens at most once for each attempt."""
        request: HttpRequest = self.strategy.request  # type: ignore[attr-defined]  # Django's strategy has one
        self.destination = Destination(self._attempt.get("next", ""), self._attempt.get("scope", ""))
        self.requested_scopes = scopes_to_request(request, self.destination.scope)
        self.links_user_id = self._attempt.get("links")
        self.prompt = Prompt.CONSENT
        return self.start()

    def get_user_details(self, response: dict[str, Any]) -> dict[str, Any]:
        return {}


def _within_budget(sign_in: Callable[[DiscordClient], tuple[Tokens, CurrentUser]]) -> tuple[Tokens, CurrentUser]:
    """Run `sign_in` with a client in a background thread, with one time budget for all its calls."""
    client = discord_client()
    client = replace(client, deadline=client.clock() + client.budget)
    try:
        return background.call(lambda: sign_in(client), timeout=client.budget)
    except TimeoutError:
        raise SignInUnavailable(Reason.BUSY, retry_after=2) from None
    except GateShut as shut:
        raise SignInUnavailable(shut.reason, shut.retry_after) from None
