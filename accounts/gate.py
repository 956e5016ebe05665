"""The gate, the brake and the send budget: shared by all processes and checked before every request to Discord.

The *gate* shuts for all requests when Discord limits the whole installation (a global 429, a Cloudflare block); when
its time is up, exactly one request is sent as the probe. The *brake* counts the responses that Discord counts towards
banning our address, and stops requests long before that. The *send budget* keeps the installation below Discord's 50
requests per second.

Nothing is sent if the database belongs to a different Discord than the one in the settings: a token must never reach
an API other than the one that issued it.

The rules are methods of the frozen `Gate` in `accounts.limits`; the functions here read the one row and replace it by
compare-and-swap on `version`.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

import structlog
from django.conf import settings
from django.db.models import DateTimeField, ExpressionWrapper, Q, QuerySet

from accounts import metrics
from accounts.background import release_connection
from accounts.clock import Now
from accounts.discord import DiscordClient, DiscordUnavailable, Exchange, SiteRefused, UnusableResponse
from accounts.limits import (
    INVALID_REQUEST_WINDOW,
    LEASE_MARGIN,
    OPEN,
    REFUSAL_RETENTION,
    SILENCE_PROBE_PAUSE,
    Gate,
    GateShut,
    Priority,
    Reason,
)
from accounts.models import DiscordGate, DiscordRefusal

logger = structlog.get_logger(__name__)

# Seconds. The send budget serves people who wait for a page; background work that gets no place for this long stops.
MAX_PLACE_WAIT = 60.0
MIN_PAUSE = 0.05
# How soon to check again whether an operator has corrected the settings.
MISCONFIGURED_PAUSE = timedelta(seconds=30)
# Other refusals, such as a 400 for a refused redirect URI, are stored only for the status report.
COUNTS_AS_INVALID = (401, 403, 429)


def attempt_budget() -> timedelta:
    """Return how long one attempt to fetch from Discord may take, retries included."""
    return timedelta(milliseconds=settings.DISCORD_FETCH_BUDGET_MS)


def attempt_lease() -> timedelta:
    """Return the length of the lease on one attempt: its budget plus time to store its outcome."""
    return attempt_budget() + LEASE_MARGIN


def read() -> tuple[Gate, datetime]:
    """Return the gate and the database's current time. Creates the row if there is none."""
    row = DiscordGate.objects.filter(pk=1).annotate(now=Now()).first()
    if row is None:
        DiscordGate.objects.get_or_create(pk=1, defaults={"issuer": settings.DISCORD_ISSUER})
        row = DiscordGate.objects.annotate(now=Now()).get(pk=1)
    state = Gate(
        row.until, row.reason, row.streak, row.tat, row.version, row.issuer, row.silent_since, row.recovered_at
    )
    return state, row.now


def foreign_issuer(gate: Gate | None = None) -> str | None:
    """Return a sentence for the operator if the database's tokens and lists come from a different Discord, else None.

    `gate` is the row if the caller has just read it.
    """
    gate = gate or read()[0]
    if _is_ours(gate):
        return None
    return (
        f"The tokens and lists in this database are from {gate.issuer}, but the settings point to "
        f"{settings.DISCORD_ISSUER}. No requests are sent until you correct the settings or accept the change with "
        "`./run manage change_issuer`."
    )


def _is_ours(gate: Gate) -> bool:
    """Whether the database belongs to the issuer in the settings, or to none yet; `change` then binds it."""
    return gate.issuer in ("", settings.DISCORD_ISSUER)


def change(rule: Callable[[Gate, datetime], Gate]) -> Gate:
    """Apply `rule` to the row by compare-and-swap and return the new gate.

    A caller that loses the race reads the row and applies the rule again; each round has a winner.
    """
    while True:
        before, now = read()
        after = rule(before, now)
        if after == before:
            return before
        if DiscordGate.objects.filter(pk=1, version=before.version).update(
            until=after.until,
            reason=after.reason,
            streak=after.streak,
            tat=after.tat,
            version=before.version + 1,
            issuer=before.issuer or settings.DISCORD_ISSUER,
            silent_since=after.silent_since,
            recovered_at=after.recovered_at,
        ):
            return after


def open_gate(by: str) -> Gate | None:
    """Open the gate manually, for the operator `by`, and return the gate as it was; None if it wasn't shut.

    The send clock is reset in case it is wrong; the brake is unchanged.
    """
    found = OPEN

    def opened(gate: Gate, _now: datetime) -> Gate:
        nonlocal found
        found = gate
        return replace(gate, until=None, reason="", streak=0, tat=None)

    change(opened)
    if not found.streak:
        return None
    logger.info("discord_gate_opened", by=by, reason=found.reason, until=found.until, streak=found.streak)
    return found


def acquire_silence_probe() -> bool:
    """Whether this caller is the one who may now ask in spite of a wait, to find out whether the silence is over."""
    free = Q(probe_after=None) | Q(probe_after__lte=Now())
    until = ExpressionWrapper(Now() + SILENCE_PROBE_PAUSE, DateTimeField())
    return bool(DiscordGate.objects.filter(free, pk=1, silent_since__isnull=False).update(probe_after=until))


def invalid_requests(now: datetime) -> QuerySet[DiscordRefusal]:
    """Return the refusals in the sliding window that count towards Discord's ban."""
    return DiscordRefusal.objects.filter(at__gt=now - INVALID_REQUEST_WINDOW, status__in=COUNTS_AS_INVALID)


def braked_until(priority: Priority, now: datetime) -> datetime | None:
    """Return when requests of `priority` may be sent again, or None if the brake doesn't hold them back."""
    limit = settings.DISCORD_BRAKE_HARD if priority.is_first_list else settings.DISCORD_BRAKE_SOFT
    window = invalid_requests(now)
    pressing: datetime | None = window.order_by("-at").values_list("at", flat=True)[limit - 1 : limit].first()
    return pressing + INVALID_REQUEST_WINDOW if pressing else None


def closed(priority: Priority) -> GateShut | None:
    """Return why requests of `priority` would be refused now, or None. Takes no place in the send budget.

    If both the gate and the brake forbid it, the result is the one that ends later.
    """
    gate, now = read()
    if not _is_ours(gate):
        logger.error("discord_issuer_changed", stored=gate.issuer, configured=settings.DISCORD_ISSUER)
        return GateShut(Reason.MISCONFIGURED, now + MISCONFIGURED_PAUSE, now)
    obstacles: list[tuple[datetime, Reason]] = []
    if shut := gate.shut_until(now):
        obstacles.append((shut, Reason(gate.reason)))
    if braked := braked_until(priority, now):
        obstacles.append((braked, Reason.BRAKE))
    if not obstacles:
        return None
    until, reason = max(obstacles)
    return GateShut(reason, until, now)


def _admit(priority: Priority, gate: Gate, now: datetime) -> Gate:
    """`Gate.admit` with the site's settings."""
    return gate.admit(priority, now, rate=settings.DISCORD_SEND_RATE, lease=attempt_lease())


def wait_for_place(sleep: Callable[[float], None] = time.sleep) -> datetime:
    """Wait until the send budget has a place for background work, and return the database's time then.

    The place isn't reserved: each request takes its own. Raises `GateShut` if nothing may be sent, or if no place frees
    up for `MAX_PLACE_WAIT` seconds.
    """
    waited = 0.0
    while True:
        if shut := closed(Priority.DUE):
            raise shut
        gate, now = read()
        try:
            _admit(Priority.DUE, gate, now)
            return now
        except GateShut as shut:
            if shut.reason is not Reason.BUSY or waited >= MAX_PLACE_WAIT:
                raise
            pause = max(shut.retry_after, MIN_PAUSE)
        sleep(pause)
        waited += pause


@dataclass(slots=True)
class GateHooks:
    """The hooks through which `client` passes the gate before each request and reports each response to it.

    `probe` is the end of the probe's lease if the last request was the probe; `sent` is whether any request was sent;
    `was_silent` whether Discord was silent when the last request was sent.
    """

    client: DiscordClient
    priority: Priority
    still_mine: Callable[[], None]
    sleep: Callable[[float], None]
    probe: datetime | None = None
    sent: bool = False
    was_silent: bool = False

    def before_send(self, _route: str) -> None:
        """Wait until the next request may be sent. Raises `GateShut`, or whatever `still_mine` raises."""
        while (wait := self._try_to_pass()) is not None:
            self.sleep(wait)

    def on_response(self, exchange: Exchange) -> None:
        metrics.count_request(exchange)
        try:
            learn(exchange, self.probe)
            note_silence(exchange, self.was_silent)
        finally:
            release_connection()

    def before_retry(self, seconds: float) -> None:
        metrics.RETRY_WAIT.observe(seconds)
        self.client.sleep(seconds)

    def _try_to_pass(self) -> float | None:
        """Return None if the request may be sent, or how many seconds to wait for a place in the send budget."""
        try:
            self.still_mine()
            if refusal := closed(self.priority):
                raise refusal
            gate = change(partial(_admit, self.priority))
        except GateShut as refusal:
            if not self._may_wait(refusal):
                refusal.sent = self.sent
                raise
            return refusal.retry_after
        finally:
            # Waiting for Discord or for a place would hold a pooled connection for too long.
            release_connection()
        self.probe, self.sent = gate.until if gate.streak else None, True
        self.was_silent = gate.silent_since is not None
        return None

    def _may_wait(self, shut: GateShut) -> bool:
        if shut.reason is not Reason.BUSY or not self.priority.is_first_list or self.client.deadline is None:
            return False
        return shut.retry_after < self.client.deadline - self.client.clock()


def gated(
    client: DiscordClient,
    priority: Priority,
    *,
    still_mine: Callable[[], None] = lambda: None,
    sleep: Callable[[float], None] = time.sleep,
) -> DiscordClient:
    """`client` with `GateHooks`: it passes the gate before each request and reports each response.

    `still_mine` is also called before each request and may raise to stop it. A request for a person without a list or
    for a sign-in waits for its place in the send budget as long as its deadline allows; other requests fail at once.
    """
    hooks = GateHooks(client, priority, still_mine, sleep)
    return replace(client, before_send=hooks.before_send, on_response=hooks.on_response, sleep=hooks.before_retry)


def learn(exchange: Exchange, probe: datetime | None) -> None:
    """Record what one response means for the whole installation, and log what only an operator can fix."""
    refused = exchange.error.credentials if isinstance(exchange.error, SiteRefused) else ""
    if refused:
        logger.error(
            "discord_refuses_site_credentials", credentials=refused, route=exchange.route, status=exchange.status
        )
    elif isinstance(exchange.error, UnusableResponse):
        logger.error("discord_unusable_answer", route=exchange.route, status=exchange.status, error=str(exchange.error))
    if exchange.counts_as_invalid or refused:
        _, now = read()
        reason = refused or exchange.scope or ""
        DiscordRefusal.objects.create(at=now, status=exchange.status or 0, reason=reason)
        DiscordRefusal.objects.filter(at__lt=now - REFUSAL_RETENTION).delete()
    if exchange.scope in ("global", "cloudflare"):
        reason = Reason.of_limit(exchange.scope)
        wait = None if exchange.retry_after is None else timedelta(seconds=exchange.retry_after)
        gate = change(lambda gate, now: gate.shut(reason, wait, now, probe=probe))
        logger.warning("discord_gate_shut", reason=str(reason), until=gate.until, streak=gate.streak)
    elif probe is not None and exchange.status is not None and exchange.status < 500:
        # Any response from Discord itself shows that the limit is over; without one, the probe's lease expires.
        change(lambda gate, _now: gate.opened(probe))
        logger.info("discord_gate_opened")


def note_silence(exchange: Exchange, was_silent: bool) -> None:
    """Store when Discord stops responding and when it responds again; nothing in between, or while it responds."""
    if isinstance(exchange.error, DiscordUnavailable) and not was_silent:
        change(Gate.silenced)
    elif exchange.error is None and was_silent:
        change(Gate.answered)
