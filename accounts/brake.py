"""The brake's state for operators, and the sentences about it that the admin and the status report share."""

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
    """The brake's state and its limits.

    `state` is `off`, `soft` (only people without a list are refreshed) or `hard` (no requests at all). `until` is when
    it ends, provided that Discord refuses no further request.
    """

    state: str
    until: datetime | None
    invalid_requests: int
    soft_limit: int
    hard_limit: int
    window_seconds: int


def read(now: datetime) -> BrakeStatus:
    """Return the brake's state at `now`, the database's time."""
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
    """Describe whether the brake is on, for how long, and which requests are still sent."""
    if not brake.until:
        return gettext("The brake is off.")
    wait = span(math.ceil((brake.until - now).total_seconds()))
    if brake.state == "hard":
        return gettext("The brake is on for another %(wait)s: no requests are sent to Discord.") % {"wait": wait}
    return gettext(
        "The brake is on for another %(wait)s: requests are sent to Discord only for people without a list."
    ) % {"wait": wait}


def in_words(brake: BrakeStatus, now: datetime) -> str:
    """Describe how many invalid requests were counted, the counts at which the brake engages, and its state."""
    window = gettext(
        "%(count)s in the last %(minutes)d minutes. From %(soft)s, requests are sent only for people without a "
        "list; from %(hard)s, none are sent."
    ) % {
        "count": intcomma(brake.invalid_requests),
        "minutes": brake.window_seconds // 60,
        "soft": intcomma(brake.soft_limit),
        "hard": intcomma(brake.hard_limit),
    }
    return f"{window} {state_in_words(brake, now)}"
