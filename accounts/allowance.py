"""Limits that several requests of one owner share: a person's in all guilds, or the bot's in one guild.

They apply in addition to the gate, which all owners share. The rules are methods of the frozen `Allowance` in
`accounts.limits`; the functions here read its row and replace it by compare-and-swap on `version`.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from accounts import gate
from accounts.background import release_connection
from accounts.clock import Now, database_now
from accounts.discord import DiscordClient, Exchange
from accounts.limits import Allowance, GateShut, Kind, Priority
from accounts.models import DiscordAllowance, User

# Kinds whose owner is a person.
MEMBER = "member"
PERSONAL = (MEMBER,)
# Kinds whose owner is a guild.
BOT_MEMBER = "bot_member"
BOT_DIRECTORY = "bot_directory"


def kind_of(name: str) -> Kind:
    if name == MEMBER:
        # Discord's window begins when our first request arrives: at the latest at the deadline of its attempt.
        margin = gate.attempt_budget()
        window = timedelta(seconds=settings.DISCORD_MEMBER_WINDOW) + margin
        return Kind(name, settings.DISCORD_MEMBER_REQUESTS, window, margin)
    return Kind(name)


def read(name: str, owner: int) -> tuple[Allowance, datetime]:
    """Return the owner's allowance and the database's current time. Creates no row."""
    row = DiscordAllowance.objects.filter(kind=name, owner=owner).annotate(now=Now()).first()
    if row is None:
        return Allowance(), database_now()
    return Allowance(row.window_ends_at, row.sent, row.until, row.version), row.now


def change(name: str, owner: int, rule: Callable[[Allowance, datetime], Allowance]) -> None:
    """Apply `rule` to the row by compare-and-swap. A caller that loses the race applies it to the new row.

    Changes nothing for a person who was deleted. Raises what `rule` raises.
    """
    while True:
        before, now = read(name, owner)
        after = rule(before, now)
        if after == before:
            return
        row = DiscordAllowance.objects.filter(kind=name, owner=owner, version=before.version)
        if row.update(
            window_ends_at=after.window_ends_at, sent=after.sent, until=after.until, version=before.version + 1
        ):
            return
        if before.version == 0 and not _create(name, owner):
            return


def _create(name: str, owner: int) -> bool:
    """Create the row, unless the owner is a person who was deleted; then return False.

    The person stays locked until the row is committed, so their deletion either finds it or happens before.
    """
    with transaction.atomic():
        if name in PERSONAL and not User.objects.filter(pk=owner).select_for_update(no_key=True).values("pk"):
            return False
        DiscordAllowance.objects.get_or_create(kind=name, owner=owner)
    return True


def closed_until(name: str, owner: int, priority: Priority) -> datetime | None:
    """Return when a request of `priority` may be sent; None if it may be sent now. Takes nothing."""
    allowance, now = read(name, owner)
    return allowance.closed_until(kind_of(name), now, priority)


def limited(client: DiscordClient, name: str, owner: int, route: str) -> DiscordClient:
    """`client` with the allowance: each request to `route` takes from it, and a 429 of the owner's closes it.

    `client` has already been gated. The allowance is asked before the gate: if the gate then refuses, the taken request
    lapses with its window, whereas a refusal after the gate would waste the gate's only probe.
    """
    kind = kind_of(name)
    sent = False

    def before_send(to: str) -> None:
        nonlocal sent
        if to == route:
            try:
                change(name, owner, lambda allowance, now: allowance.taken(kind, now))
            except GateShut as shut:
                shut.sent = sent
                raise
            finally:
                release_connection()
        client.before_send(to)
        sent = True

    def on_response(exchange: Exchange) -> None:
        try:
            if exchange.route == route and exchange.status == 429 and exchange.scope == "user":
                wait = None if exchange.retry_after is None else timedelta(seconds=exchange.retry_after)
                change(name, owner, lambda allowance, now: allowance.limited(kind, wait, now))
        finally:
            # It releases the connection.
            client.on_response(exchange)

    return replace(client, before_send=before_send, on_response=on_response)


def forget(user_id: int) -> None:
    """Delete the person's allowances."""
    DiscordAllowance.objects.filter(kind__in=PERSONAL, owner=user_id).delete()


def purge() -> None:
    """Delete the allowances that restrict nothing any more."""
    now = database_now()
    over = Q(window_ends_at=None) | Q(window_ends_at__lte=now)
    DiscordAllowance.objects.filter(over, Q(until=None) | Q(until__lte=now)).delete()
