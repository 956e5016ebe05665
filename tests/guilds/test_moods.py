"""Every mood of the sandbox, met by the whole site: page and API, with an old list and with none."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from accounts.models import DiscordAccount, User
from sandbox.moods import MODES
from tests.fixtures import Sandbox

# What a person with a stale list and one with none get: the status of page and API.
OUTCOMES: dict[str, tuple[int, int]] = {
    "healthy": (200, 200),
    "rate_limited": (200, 429),
    "global_limit": (200, 429),
    "shared_limit": (200, 429),
    "cloudflare_html": (200, 429),
    "cloudflare_json": (200, 429),
    "outage": (200, 503),
    "bad_gateway": (200, 503),
    "timeout": (200, 503),
    "drip": (200, 503),
    "reset": (200, 503),
    "garbage": (200, 503),
    "truncated": (200, 503),
    "wrong_type": (200, 503),
    "null_body": (200, 200),
    "unauthorized": (403, 403),
    "forbidden": (403, 403),
    "no_headers": (200, 429),
    "dead_refresh": (403, 403),
    "short_page": (200, 200),
    "raw": (200, 503),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "no_headers": {"retry_after": 30},
    "raw": {"status": 418, "headers": {"Via": "1.1 google"}, "body": "I'm a teapot"},
}


def test_no_mood_is_left_out() -> None:
    assert set(OUTCOMES) == set(MODES)


@pytest.mark.parametrize("mode", OUTCOMES)
@pytest.mark.parametrize("stored", ["stale", "none"])
def test_the_site_keeps_its_word_in_every_mood(
    mode: str,
    stored: str,
    with_list: Callable[..., User],
    sign_up: Callable[..., User],
    client_of: Callable[[User], Client],
    sandbox: Sandbox,
) -> None:
    # A page that is short holds one less than its limit, so it takes a person in as many servers as the limit.
    name, servers = ("grace", 200) if mode in ("healthy", "short_page") else ("ada", 12)
    user = with_list(name, hours=5) if stored == "stale" else sign_up(name)
    client = client_of(user)
    if mode == "dead_refresh":
        account = DiscordAccount.objects.get(user=user)
        account.extra_data = {**account.extra_data, "access_token": "worn-out"}
        account.save()
    sandbox.mood(mode, **OPTIONS.get(mode, {}))

    page = client.get("/servers/")
    api = client.get("/api/v1/guilds/")

    expected = OUTCOMES[mode][stored == "none"]
    assert (page.status_code, api.status_code) == (expected, expected)
    if expected == 200:
        count = {"null_body": 0, "short_page": 199}.get(mode, servers)
        assert len(api.json()["guilds"]) == count
        assert page.content.count(b'<li class="h') == count
    elif expected in (429, 503):
        assert int(page["Retry-After"]) >= 1
        assert int(api["Retry-After"]) >= 1
    attempts = sandbox.requests()
    assert len(attempts) <= 2, "one attempt, and one more with a renewed token"
