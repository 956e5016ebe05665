"""What this process counts of its work with Discord. `config/metrics.py` adds the processes up and shows them.

Labels take a few known words only: never a person, an id or a token.
"""

from prometheus_client import Counter, Gauge, Histogram

from accounts.discord import Exchange

REQUESTS = Counter(
    "guildhall_discord_requests",
    "Requests sent to Discord, retries too, by what came back; status is none where nothing did.",
    ["route", "status", "scope"],
)
REQUEST_DURATION = Histogram(
    "guildhall_discord_request_duration_seconds",
    "How long Discord took to answer, or we to give up.",
    ["route"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2, 4, 10),
)
RATE_LIMITS = Counter("guildhall_discord_rate_limits", "Answers of Discord's or Cloudflare's that limit us.", ["scope"])
RETRIES = Counter("guildhall_discord_retries", "Requests that were not the first of their attempt.", ["route"])
RETRY_WAIT = Histogram(
    "guildhall_discord_retry_wait_seconds",
    "How long a retry waited before it was sent.",
    buckets=(0.25, 0.5, 1, 2, 4, 8),
)
TOKEN_REFRESHES = Counter("guildhall_token_refreshes", "Access tokens that were to be renewed.", ["outcome"])
DISCONNECTS = Counter("guildhall_discord_disconnects", "People whose tokens Discord finally refused.")

# The sum over the living processes: what a dead one held is free again.
SLOTS = Gauge("guildhall_slots", "Threads that a pool may use.", ["pool"], multiprocess_mode="livesum")
SLOTS_IN_USE = Gauge("guildhall_slots_in_use", "Threads that a pool uses.", ["pool"], multiprocess_mode="livesum")
SLOTS_REFUSED = Counter("guildhall_slots_refused", "What found no free thread in its pool.", ["pool"])

# From the first scrape on, so that a rate doesn't miss the first limit.
for _scope in ("user", "shared", "global", "cloudflare"):
    RATE_LIMITS.labels(_scope)
for _outcome in ("refreshed", "invalid_grant", "replaced", "site_refused"):
    TOKEN_REFRESHES.labels(_outcome)


def count_request(exchange: Exchange) -> None:
    status = "none" if exchange.status is None else str(exchange.status)
    REQUESTS.labels(exchange.route, status, exchange.scope or "").inc()
    REQUEST_DURATION.labels(exchange.route).observe(exchange.duration)
    if exchange.scope:
        RATE_LIMITS.labels(exchange.scope).inc()
    if exchange.attempt > 1:
        RETRIES.labels(exchange.route).inc()
