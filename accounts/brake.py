"""The brake for operators: the facts, and the sentences about them that the admin and the status report share."""

import math
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.contrib.humanize.templatetags.humanize import intcomma
from django.utils.translation import gettext

from accounts import gate
from accounts.limits import INVALID_REQUEST_WINDOW, Priority
from accounts.templatetags.durations import span


@dataclass(frozen=True, slots=True)
class BrakeStatus:
    """`off`, `soft` (only people without a list may ask) or `hard` (nobody); `until` if nothing more is refused."""

    state: str
    until: datetime | None
    invalid_requests: int
    soft_limit: int
    hard_limit: int
    window_seconds: int


def read(now: datetime) -> BrakeStatus:
    hard, soft = (gate.braked_until(priority, now) for priority in (Priority.COLD, Priority.DUE))
    return BrakeStatus(
        state="hard" if hard else "soft" if soft else "off",
        until=hard or soft,
        invalid_requests=gate.invalid_requests(now).count(),
        soft_limit=settings.DISCORD_BRAKE_SOFT,
        hard_limit=settings.DISCORD_BRAKE_HARD,
        window_seconds=int(INVALID_REQUEST_WINDOW.total_seconds()),
    )


def state_in_words(brake: BrakeStatus, now: datetime) -> str:
    """Whether the brake is on, for how long, and who may still ask."""
    if not brake.until:
        return gettext("The brake is off.")
    wait = span(math.ceil((brake.until - now).total_seconds()))
    if brake.state == "hard":
        return gettext("The brake is on for another %(wait)s: nobody asks Discord.") % {"wait": wait}
    return gettext("The brake is on for another %(wait)s: only people without a list ask Discord.") % {"wait": wait}


def in_words(brake: BrakeStatus, now: datetime) -> str:
    """How many invalid requests were counted, at how many the brake comes on, and its state."""
    window = gettext(
        "%(count)s in the last %(minutes)d minutes; from %(soft)s only people without a list ask Discord, from "
        "%(hard)s nobody."
    ) % {
        "count": intcomma(brake.invalid_requests),
        "minutes": brake.window_seconds // 60,
        "soft": intcomma(brake.soft_limit),
        "hard": intcomma(brake.hard_limit),
    }
    return f"{window} {state_in_words(brake, now)}"
