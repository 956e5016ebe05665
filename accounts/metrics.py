"""Prometheus metrics of this process's requests to Discord. `config/metrics.py` aggregates and exposes them.

Label values come from small fixed sets: never a person, an id or a token.
"""

from prometheus_client import Counter, Gauge, Histogram

from accounts.discord import Exchange

REQUESTS = Counter(
    "guildhall_discord_requests",
    "Requests sent to Discord, including retries, by response; status is none if there was no response.",
    ["route", "status", "scope"],
)
REQUEST_DURATION = Histogram(
    "guildhall_discord_request_duration_seconds",
    "Time until Discord responded or the request was abandoned.",
    ["route"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2, 4, 10),
)
RATE_LIMITS = Counter("guildhall_discord_rate_limits", "Rate limits reported by Discord or Cloudflare.", ["scope"])
RETRIES = Counter("guildhall_discord_retries", "Requests that were retries within their attempt.", ["route"])
RETRY_WAIT = Histogram(
    "guildhall_discord_retry_wait_seconds",
    "Delay before a retry was sent.",
    buckets=(0.25, 0.5, 1, 2, 4, 8),
)
SKIPPED_GUILDS = Counter(
    "guildhall_discord_skipped_guilds",
    "Entries in Discord's server lists that were skipped because they could not be parsed.",
    ["route"],
)
TOKEN_REFRESHES = Counter("guildhall_token_refreshes", "Attempts to refresh an access token.", ["outcome"])
TOKENS_NOT_OPENED = Counter("guildhall_tokens_not_opened", "Stored tokens that could not be used.", ["why"])
DISCONNECTS = Counter("guildhall_discord_disconnects", "People whose tokens Discord permanently refused.")

THROTTLED = Counter("guildhall_requests_throttled", "Requests refused by one of the site's own limits.", ["limit"])
PASSWORD_ATTEMPTS = Counter("guildhall_password_attempts", "Password checks.", ["outcome"])

# The sum over live processes: a dead process no longer holds its slots.
SLOTS = Gauge("guildhall_slots", "Threads that a pool may use.", ["pool"], multiprocess_mode="livesum")
SLOTS_IN_USE = Gauge("guildhall_slots_in_use", "Threads that a pool is using.", ["pool"], multiprocess_mode="livesum")
SLOTS_REFUSED = Counter("guildhall_slots_refused", "Requests for a thread that found none free in the pool.", ["pool"])

# Exported from the first scrape on, so that `rate()` sees the first increase.
for _scope in ("user", "shared", "global", "cloudflare"):
    RATE_LIMITS.labels(_scope)
for _why in ("no_key", "other_owner"):
    TOKENS_NOT_OPENED.labels(_why)
for _outcome in ("refreshed", "invalid_grant", "replaced", "site_refused"):
    TOKEN_REFRESHES.labels(_outcome)
for _outcome in ("accepted", "refused"):
    PASSWORD_ATTEMPTS.labels(_outcome)


def count_request(exchange: Exchange) -> None:
    """Count one request to Discord in all metrics about requests."""
    status = "none" if exchange.status is None else str(exchange.status)
    REQUESTS.labels(exchange.route, status, exchange.scope or "").inc()
    REQUEST_DURATION.labels(exchange.route).observe(exchange.duration)
    if exchange.scope:
        RATE_LIMITS.labels(exchange.scope).inc()
    if exchange.attempt > 1:
        RETRIES.labels(exchange.route).inc()
    if exchange.skipped:
        SKIPPED_GUILDS.labels(exchange.route).inc(exchange.skipped)
