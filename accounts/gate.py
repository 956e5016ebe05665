"""The gate, the brake and the send budget: what every call to Discord passes, in all processes together.

The *gate* shuts for everybody when Discord limits the whole installation (a global 429, a Cloudflare block); when its
time is over exactly one call goes as the probe. The *brake* counts the answers that Discord counts towards banning our
address and stops us long before. The *send budget* keeps the installation below Discord's 50 requests a second.

The rules are methods of the frozen `Gate` in `accounts.limits`; the functions here read the one row and swap it by its
`version`.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

import structlog
from django.conf import settings
from django.db.models import QuerySet

from accounts import metrics
from accounts.background import release_connection
from accounts.clock import Now
from accounts.discord import DiscordClient, Exchange
from accounts.limits import (
    INVALID_REQUEST_WINDOW,
    LEASE_MARGIN,
    OPEN,
    REFUSAL_RETENTION,
    Gate,
    GateShut,
    Priority,
    Reason,
)
from accounts.models import DiscordGate, DiscordRefusal

logger = structlog.get_logger(__name__)

# Seconds. The send budget is for people who wait for a page; background work that finds no place for so long stops.
MAX_PLACE_WAIT = 60.0
MIN_PAUSE = 0.05


def attempt_budget() -> timedelta:
    """How long one attempt to ask Discord may take, retries included."""
    return timedelta(milliseconds=settings.DISCORD_FETCH_BUDGET_MS)


def attempt_lease() -> timedelta:
    """How long the lease on one attempt holds: its budget, and time to store its outcome."""
    return attempt_budget() + LEASE_MARGIN


def read() -> tuple[Gate, datetime]:
    """The gate and the database's present moment."""
    row = DiscordGate.objects.filter(pk=1).annotate(now=Now()).first()
    if row is None:
        DiscordGate.objects.bulk_create([DiscordGate(pk=1)], ignore_conflicts=True)
        row = DiscordGate.objects.annotate(now=Now()).get(pk=1)
    return Gate(row.until, row.reason, row.streak, row.tat, row.version), row.now


def change(rule: Callable[[Gate, datetime], Gate]) -> Gate:
    """Apply `rule` to the row by compare-and-swap; whoever loses reads again, and somebody always wins."""
    while True:
        before, now = read()
        after = rule(before, now)
        if after == before:
            return before
        if DiscordGate.objects.filter(pk=1, version=before.version).update(
            until=after.until, reason=after.reason, streak=after.streak, tat=after.tat, version=before.version + 1
        ):
            return after


def open_gate(by: str) -> Gate | None:
    """Open the gate by hand, for the operator `by` who knows that the limit is over; the gate as it was.

    None if it wasn't shut. The brake and the send clock stay as they are, so that no burst follows.
    """
    found = OPEN

    def opened(gate: Gate, _now: datetime) -> Gate:
        nonlocal found
        found = gate
        return replace(gate, until=None, reason="", streak=0) if gate.streak else gate

    change(opened)
    if not found.streak:
        return None
    logger.info("discord_gate_opened", by=by, reason=found.reason, until=str(found.until), streak=found.streak)
    return found


def invalid_requests(now: datetime) -> QuerySet[DiscordRefusal]:
    """The answers in the sliding window that count towards Discord's ban."""
    return DiscordRefusal.objects.filter(at__gt=now - INVALID_REQUEST_WINDOW)


def braked_until(priority: Priority, now: datetime) -> datetime | None:
    """When `priority` may ask again, if too many invalid requests are in the sliding window; else None."""
    limit = settings.DISCORD_BRAKE_HARD if priority is Priority.COLD else settings.DISCORD_BRAKE_SOFT
    window = invalid_requests(now)
    pressing: datetime | None = window.order_by("-at").values_list("at", flat=True)[limit - 1 : limit].first()
    return pressing + INVALID_REQUEST_WINDOW if pressing else None


def closed(priority: Priority) -> GateShut | None:
    """Why nothing may be asked now, without taking part in anything; None if asking makes sense."""
    gate, now = read()
    if shut := gate.shut_until(now):
        return GateShut(Reason(gate.reason), shut, now)
    if braked := braked_until(priority, now):
        return GateShut(Reason.BRAKE, braked, now)
    return None


def _admit(priority: Priority, gate: Gate, now: datetime) -> Gate:
    """`Gate.admit` with the site's settings."""
    return gate.admit(priority, now, rate=settings.DISCORD_SEND_RATE, lease=attempt_lease())


def wait_for_place(sleep: Callable[[float], None] = time.sleep) -> datetime:
    """Wait until the send budget has a place for background work, and return that moment.

    The place isn't reserved: each send takes its own. Raises `GateShut` if nothing may be sent, or if there is no place
    for `MAX_PLACE_WAIT` seconds.
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

    `probe` is the end of the lease if the last request was the probe; `sent` says whether any request was sent.
    """

    client: DiscordClient
    priority: Priority
    still_mine: Callable[[], None]
    sleep: Callable[[float], None]
    probe: datetime | None = None
    sent: bool = False

    def before_send(self, _route: str) -> None:
        """Return once the next request may be sent. Raises `GateShut`, or what `still_mine` raises."""
        while (wait := self._try_to_pass()) is not None:
            self.sleep(wait)

    def on_answer(self, exchange: Exchange) -> None:
        metrics.count_request(exchange)
        try:
            learn(exchange, self.probe)
        finally:
            release_connection()

    def before_retry(self, seconds: float) -> None:
        metrics.RETRY_WAIT.observe(seconds)
        self.client.sleep(seconds)

    def _try_to_pass(self) -> float | None:
        """None if the request may be sent; else the seconds until its place in the send budget, if it may wait."""
        try:
            self.still_mine()
            _, now = read()
            if braked := braked_until(self.priority, now):
                raise GateShut(Reason.BRAKE, braked, now)
            gate = change(partial(_admit, self.priority))
        except GateShut as shut:
            if not self._may_wait(shut):
                shut.sent = self.sent
                raise
            return shut.retry_after
        finally:
            # Discord's answer, and a place in the budget, take longer than a pool of connections can spare one.
            release_connection()
        self.probe, self.sent = gate.until if gate.streak else None, True
        return None

    def _may_wait(self, shut: GateShut) -> bool:
        if shut.reason is not Reason.BUSY or self.priority is not Priority.COLD or self.client.deadline is None:
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

    `still_mine` is called before each request too and may raise to stop it. A cold reader's request waits for its place
    in the send budget as long as its deadline allows; the others give up at once.
    """
    hooks = GateHooks(client, priority, still_mine, sleep)
    return replace(client, before_send=hooks.before_send, on_answer=hooks.on_answer, sleep=hooks.before_retry)


def learn(exchange: Exchange, probe: datetime | None) -> None:
    """Write down what one answer of Discord's means for everybody."""
    if exchange.counts_as_invalid:
        _, now = read()
        DiscordRefusal.objects.create(at=now, status=exchange.status or 0, reason=exchange.scope or "")
        DiscordRefusal.objects.filter(at__lt=now - REFUSAL_RETENTION).delete()
    if exchange.scope in ("global", "cloudflare"):
        reason = Reason.GLOBAL_LIMIT if exchange.scope == "global" else Reason.CLOUDFLARE
        wait = None if exchange.retry_after is None else timedelta(seconds=exchange.retry_after)
        gate = change(lambda gate, now: gate.shut(reason, wait, now, probe=probe))
        logger.warning("discord_gate_shut", reason=str(reason), until=str(gate.until), streak=gate.streak)
    elif probe is not None and exchange.status is not None and exchange.status < 500:
        # Anything Discord itself says shows that the limit is over; silence leaves the probe's lease to run out.
        change(lambda gate, _now: gate.opened(probe))
        logger.info("discord_gate_opened")
