"""Codes and tokens, as Discord hands them out.

A code works once and for 100 seconds. A refresh token works once: the answer brings the next one, and the old access
token is dead from then on. Revoking any token ends all of that person's.

https://docs.discord.com/developers/topics/oauth2, RFC 6749, RFC 7636.
"""

import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from hmac import compare_digest
from typing import Any

from sandbox.answers import Answer, oauth_error

CLIENT_ID = "guildhall"
CLIENT_SECRET = "sandbox"
BOT_TOKEN = "sandbox-bot"
CODE_LASTS = 100.0
TOKEN_LASTS = 604_800

SCOPES = """
    identify email connections guilds guilds.join guilds.members.read gdm.join bot rpc rpc.notifications.read
    rpc.voice.read rpc.voice.write rpc.video.read rpc.video.write rpc.screenshare.read rpc.screenshare.write
    rpc.activities.write webhook.incoming messages.read applications.builds.upload applications.builds.read
    applications.commands applications.commands.permissions.update applications.commands.update
    applications.store.update applications.entitlements activities.read activities.write activities.invites.write
    relationships.read voice dm_channels.read role_connections.write openid
""".split()  # noqa: SIM905 - reads better than a list of 34 strings
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")


class OAuthError(Exception):
    """A refusal of the token endpoint's."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.error = error
        self.description = description
        self.status = status

    def to_answer(self) -> Answer:
        return oauth_error(self.status, self.error, self.description)


@dataclass(frozen=True, slots=True)
class Code:
    person: str
    scopes: tuple[str, ...]
    redirect_uri: str
    challenge: str | None
    expires_at: float


@dataclass(frozen=True, slots=True)
class Grant:
    """A pair of tokens. A `dead` one looks like any other and is refused everywhere."""

    person: str
    scopes: tuple[str, ...]
    access_token: str
    refresh_token: str
    expires_at: float
    dead: bool = False

    def to_json(self) -> dict[str, Any]:
        """The token endpoint's answer."""
        return {
            "token_type": "Bearer",
            "access_token": self.access_token,
            "expires_in": TOKEN_LASTS,
            "refresh_token": self.refresh_token,
            "scope": " ".join(self.scopes),
        }


def read_scopes(text: str) -> tuple[str, ...]:
    """The scopes in their order, each once. Raises OAuthError."""
    scopes = tuple(dict.fromkeys(text.split()))
    if not scopes or any(scope not in SCOPES for scope in scopes):
        raise OAuthError("invalid_scope", "The requested scope is invalid, unknown, or malformed.")
    return scopes


def read_challenge(params: Mapping[str, str]) -> str | None:
    """The PKCE challenge of an authorization request, None if there is none. Raises OAuthError."""
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
    """Who let the application in, for what, and with which codes and tokens. `clock` is Unix time: it outlives us."""

    clock: Callable[[], float]
    codes: dict[str, Code] = field(default_factory=dict)
    by_access: dict[str, Grant] = field(default_factory=dict)
    by_refresh: dict[str, Grant] = field(default_factory=dict)
    # What each person agreed to, which `prompt=none` asks about.
    agreed: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def new_code(self, person: str, scopes: tuple[str, ...], redirect_uri: str, challenge: str | None) -> str:
        now = self.clock()
        self.codes = {code: kept for code, kept in self.codes.items() if kept.expires_at > now}
        code = secrets.token_urlsafe(22)
        self.codes[code] = Code(person, scopes, redirect_uri, challenge, now + CODE_LASTS)
        self.agreed[person] = tuple(dict.fromkeys((*self.agreed.get(person, ()), *scopes)))
        return code

    def issue(self, person: str, scopes: tuple[str, ...], *, dead: bool = False) -> Grant:
        """A new pair of tokens, without a code."""
        grant = Grant(
            person=person,
            scopes=scopes,
            access_token=secrets.token_urlsafe(22),
            refresh_token=secrets.token_urlsafe(22),
            expires_at=self.clock() + TOKEN_LASTS,
            dead=dead,
        )
        self.by_access[grant.access_token] = self.by_refresh[grant.refresh_token] = grant
        return grant

    def exchange(self, form: Mapping[str, str], *, dead: bool = False) -> Grant:
        """The tokens for the form of a token request; with `dead`, a refreshed one is refused. Raises OAuthError."""
        grant_type = form.get("grant_type")
        if grant_type == "authorization_code":
            return self._exchange_code(form)
        if grant_type == "refresh_token":
            return self._refresh(form, dead)
        raise OAuthError("unsupported_grant_type", f"Grant type {grant_type} is not supported")

    def _exchange_code(self, form: Mapping[str, str]) -> Grant:
        """The code is used up by being shown, whatever comes of it."""
        if not form.get("code"):
            raise OAuthError("invalid_request", 'Missing "code" in request.')
        code = self.codes.pop(form["code"], None)
        if code is None or code.expires_at <= self.clock():
            raise OAuthError("invalid_grant", 'Invalid "code" in request.')
        if form.get("redirect_uri", "") != code.redirect_uri:
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
        """What a Bearer token is good for, now."""
        grant = self.by_access.get(access_token)
        if grant is None or grant.dead or grant.expires_at <= self.clock():
            return None
        return grant

    def owner_of(self, form: Mapping[str, str]) -> str | None:
        """Whose code or token a token request carries, without using it up."""
        code = self.codes.get(form.get("code", ""))
        if code is not None:
            return code.person
        for token in (form.get("refresh_token", ""), form.get("token", "")):
            grant = self.by_refresh.get(token) or self.by_access.get(token)
            if grant is not None:
                return grant.person
        return None

    def revoke(self, person: str) -> int:
        """The person removed the application: every code and token of theirs is gone. Returns how many pairs died."""
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
        """A picture of now, which can be written down while others go on."""
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
