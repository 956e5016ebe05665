"""Sign-in with Discord: social-auth's flow, with our client for every call to Discord."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from django.conf import settings
from social_core.backends.oauth import BaseOAuth2PKCE

from accounts import background, gate
from accounts.discord import CurrentUser, DiscordClient, Tokens
from accounts.limits import GateShut, Priority, Reason
from accounts.sign_in import SignInUnavailable
from accounts.tokens import discord_client


class DiscordOAuth2(BaseOAuth2PKCE[Any]):
    """OAuth2 with state, PKCE (S256) and the scopes `identify guilds`.

    Raises the client's `DiscordAPIError`s as they are, so that a rate limit at sign-in is one on the page too, and
    `SignInUnavailable` if Discord was not asked or took too long. social-auth's own token handling (its refresh knows
    no lease) is not used.
    """

    name = "discord"
    REDIRECT_STATE = False
    SCOPE_SEPARATOR = " "
    EXTRA_DATA: list[Any] = []  # noqa: RUF012 - the base class declares a mutable one; ours stays empty

    def authorization_url(self) -> str:
        url: str = settings.DISCORD_AUTHORIZE_URL
        return url

    def auth_complete(self, *args: Any, **kwargs: Any) -> Any:
        """Check the answer in the browser's URL, exchange its code, and let the pipeline find or make the person."""
        self.process_error(self.data)
        state = self.validate_state()
        code = self.data.get("code", "")
        verifier = self.get_code_verifier(state)
        redirect_uri = self.get_redirect_uri(state)

        def sign_in(client: DiscordClient) -> tuple[Tokens, CurrentUser]:
            tokens = client.exchange_code(code, redirect_uri, verifier)
            return tokens, client.get_current_user(tokens.access_token)

        tokens, person = _within_budget(sign_in)
        kwargs["response"] = {"id": str(person.id), "person": person, "tokens": tokens}
        kwargs["backend"] = self
        return self.strategy.authenticate(*args, **kwargs)

    def get_user_details(self, response: dict[str, Any]) -> dict[str, Any]:
        return {}


def _within_budget(sign_in: Callable[[DiscordClient], tuple[Tokens, CurrentUser]]) -> tuple[Tokens, CurrentUser]:
    """Run `sign_in` with the gated client beside this thread, in one budget for all its calls."""
    client = discord_client()
    client = replace(client, deadline=client.clock() + client.budget)
    client = gate.gated(client, Priority.COLD)
    try:
        return background.call(lambda: sign_in(client), timeout=client.budget)
    except TimeoutError:
        raise SignInUnavailable(Reason.BUSY, retry_after=2) from None
    except GateShut as shut:
        raise SignInUnavailable(shut.reason, shut.retry_after) from None
