"""Authorization codes and tokens, issued as Discord does.

A code works once, for 100 seconds. A refresh token works once: the response contains the next one, and the old access
token is no longer valid. Revoking any token revokes all tokens of that person.

https://docs.discord.com/developers/topics/oauth2, RFC 6749, RFC 7636.
"""

import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from hmac import compare_digest
from typing import Any

from sandbox.responses import Response, oauth_error

# The id of the settings without Discord; APPLICATION_ID is accepted as well.
CLIENT_ID = "guildhall"
CLIENT_SECRET = "sandbox"
BOT_TOKEN = "sandbox-bot"
CODE_LIFETIME = 100.0
TOKEN_LIFETIME = 604_800
CLIENT_CREDENTIALS = "client_credentials"

SCOPES = """
    identify email connections guilds guilds.join guilds.members.read gdm.join bot rpc rpc.notifications.read
    rpc.voice.read rpc.voice.write rpc.video.read rpc.video.write rpc.screenshare.read rpc.screenshare.write
    rpc.activities.write webhook.incoming messages.read applications.builds.upload applications.builds.read
    applications.commands applications.commands.permissions.update applications.commands.update
    applications.store.update applications.entitlements activities.read activities.write activities.invites.write
    relationships.read voice dm_channels.read role_connections.write openid identify.premium
""".split()  # noqa: SIM905 - reads better than a list of 35 strings
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")


class OAuthError(Exception):
    """An error of the OAuth endpoints, as RFC 6749 names it."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.error = error
        self.description = description
        self.status = status

    def to_response(self) -> Response:
        return oauth_error(self.status, self.error, self.description)


@dataclass(frozen=True, slots=True)
class Code:
    person: str
    scopes: tuple[str, ...]
    redirect_uri: str
    challenge: str | None
    expires_at: float
    # The server that the bot joins when the code is exchanged, and its permissions there; empty if it doesn't wait.
    guild_id: str = ""
    permissions: str = ""


@dataclass(frozen=True, slots=True)
class Grant:
    """A pair of tokens. A `dead` pair looks valid but is refused everywhere."""

    person: str
    scopes: tuple[str, ...]
    access_token: str
    refresh_token: str
    expires_at: float
    dead: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the token endpoint's response."""
        return {
            "token_type": "Bearer",
            "access_token": self.access_token,
            "expires_in": TOKEN_LIFETIME,
            "refresh_token": self.refresh_token,
            "scope": " ".join(self.scopes),
        }


def read_scopes(text: str) -> tuple[str, ...]:
    """Parse the scopes, in order and without duplicates. Raises OAuthError."""
    scopes = tuple(dict.fromkeys(text.split()))
    if not scopes or any(scope not in SCOPES for scope in scopes):
        raise OAuthError("invalid_scope", "The requested scope is invalid, unknown, or malformed.")
    return scopes


def read_challenge(params: Mapping[str, str]) -> str | None:
    """Return the PKCE challenge of an authorization request, or None. Raises OAuthError."""
    challenge = params.get("code_challenge")
    method = params.get("code_challenge_method")
    if not challenge and not method:
        return None
    if method != "S256":
        raise OAuthError("invalid_request", 'Unsupported "code_challenge_method"')
    if not challenge:
        raise OAuthError("invalid_request", 'Missing "code_challenge"')
    if not _CHALLENGE.fullmatch(challenge):
        raise OAuthError("invalid_request", 'Invalid "code_challenge"')
    return challenge


def challenge_of(verifier: str) -> str:
    return urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()


@dataclass(slots=True)
class Authorizations:
    """All authorizations with their codes and tokens. `clock` is Unix time, because they survive a restart."""

    clock: Callable[[], float]
    codes: dict[str, Code] = field(default_factory=dict)
    by_access: dict[str, Grant] = field(default_factory=dict)
    by_refresh: dict[str, Grant] = field(default_factory=dict)
    # The scopes that each person has granted, for `prompt=none`.
    agreed: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def new_code(
        self,
        person: str,
        scopes: tuple[str, ...],
        redirect_uri: str,
        challenge: str | None,
        joins: tuple[str, str] = ("", ""),
    ) -> str:
        """Issue a code; `joins` are the server that the bot joins at its exchange and the permissions there."""
        now = self.clock()
        self.codes = {code: kept for code, kept in self.codes.items() if kept.expires_at > now}
        code = secrets.token_urlsafe(22)
        self.codes[code] = Code(person, scopes, redirect_uri, challenge, now + CODE_LIFETIME, *joins)
        self.agreed[person] = tuple(dict.fromkeys((*self.agreed.get(person, ()), *scopes)))
        return code

    def issue(self, person: str, scopes: tuple[str, ...], *, dead: bool = False) -> Grant:
        """Issue a new pair of tokens, without a code."""
        grant = Grant(
            person=person,
            scopes=scopes,
            access_token=secrets.token_urlsafe(22),
            refresh_token=secrets.token_urlsafe(22),
            expires_at=self.clock() + TOKEN_LIFETIME,
            dead=dead,
        )
        self.by_access[grant.access_token] = self.by_refresh[grant.refresh_token] = grant
        return grant

    def exchange(
        self, form: Mapping[str, str], *, redirect_uris: Container[str], owner: str, dead: bool = False
    ) -> Grant:
        """Handle a token request's form and return the tokens. `dead` applies to refreshed ones. Raises OAuthError.

        `redirect_uris` are the registered ones; `owner` gets the tokens of the client credentials grant.
        """
        grant_type = form.get("grant_type")
        if grant_type == "authorization_code":
            return self._exchange_code(form, redirect_uris)
        if grant_type == "refresh_token":
            return self._refresh(form, dead)
        if grant_type == CLIENT_CREDENTIALS:
            return self.issue(owner, read_scopes(form.get("scope", "")))
        raise OAuthError("unsupported_grant_type", f"Grant type {grant_type} is not supported")

    def _exchange_code(self, form: Mapping[str, str], redirect_uris: Container[str]) -> Grant:
        """Exchange a code, which is used up even if the exchange fails."""
        if not form.get("code"):
            raise OAuthError("invalid_request", 'Missing "code" in request.')
        code = self.codes.pop(form["code"], None)
        if code is None or code.expires_at <= self.clock():
            raise OAuthError("invalid_grant", 'Invalid "code" in request.')
        if form.get("redirect_uri", "") != code.redirect_uri or code.redirect_uri not in redirect_uris:
            raise OAuthError("invalid_grant", 'Invalid "redirect_uri" in request.')
        _check_verifier(code.challenge, form.get("code_verifier"))
        return self.issue(code.person, code.scopes)

    def _refresh(self, form: Mapping[str, str], dead: bool) -> Grant:
        if not form.get("refresh_token"):
            raise OAuthError("invalid_request", 'Missing "refresh_token" in request')
        old = self.by_refresh.pop(form["refresh_token"], None)
        if old is None:
            raise OAuthError("invalid_grant", 'Invalid "refresh_token" in request')
        self.by_access.pop(old.access_token, None)
        return self.issue(old.person, old.scopes, dead=dead)

    def grant(self, access_token: str) -> Grant | None:
        """Return the grant of a Bearer token that is valid now, or None."""
        grant = self.by_access.get(access_token)
        if grant is None or grant.dead or grant.expires_at <= self.clock():
            return None
        return grant

    def owner_of(self, form: Mapping[str, str]) -> str | None:
        """Return the person whose code or token a token request contains, without using it up."""
        code = self.codes.get(form.get("code", ""))
        if code is not None:
            return code.person
        for token in (form.get("refresh_token", ""), form.get("token", "")):
            grant = self.by_refresh.get(token) or self.by_access.get(token)
            if grant is not None:
                return grant.person
        return None

    def revoke(self, person: str) -> int:
        """Delete all codes and tokens of the person, and return the number of deleted token pairs."""
        gone = [grant for grant in self.by_refresh.values() if grant.person == person]
        self.codes = {code: kept for code, kept in self.codes.items() if kept.person != person}
        self.by_access = {token: grant for token, grant in self.by_access.items() if grant.person != person}
        self.by_refresh = {token: grant for token, grant in self.by_refresh.items() if grant.person != person}
        self.agreed.pop(person, None)
        return len(gone)

    def to_json(self) -> dict[str, Any]:
        return {
            "codes": [[code, *_fields(kept)] for code, kept in self.codes.items()],
            "grants": [_fields(grant) for grant in self.by_refresh.values()],
            "agreed": {person: list(scopes) for person, scopes in self.agreed.items()},
        }

    def load(self, data: Mapping[str, Any]) -> None:
        for code, person, scopes, *rest in data["codes"]:
            self.codes[code] = Code(person, tuple(scopes), *rest)
        for person, scopes, *rest in data["grants"]:
            grant = Grant(person, tuple(scopes), *rest)
            self.by_access[grant.access_token] = self.by_refresh[grant.refresh_token] = grant
        self.agreed = {person: tuple(scopes) for person, scopes in data["agreed"].items()}

    def copy(self) -> "Authorizations":
        """Return a snapshot that can be saved while requests continue."""
        return replace(self, codes=dict(self.codes), by_refresh=dict(self.by_refresh), agreed=dict(self.agreed))


def _fields(row: Code | Grant) -> list[Any]:
    return [getattr(row, name) for name in row.__dataclass_fields__]


def _check_verifier(challenge: str | None, verifier: str | None) -> None:
    if challenge is None:
        return
    if not verifier:
        raise OAuthError("invalid_request", 'Missing "code_verifier"')
    if not _VERIFIER.fullmatch(verifier):
        raise OAuthError("invalid_request", 'Invalid "code_verifier"')
    if not compare_digest(challenge_of(verifier), challenge):
        raise OAuthError("invalid_grant", 'Invalid "code_verifier"')
