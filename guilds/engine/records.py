"""The columns that the engine stores for each answer: when it was verified, and what blocks the next request."""

from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from django.db import models
from django.db.models import Q, Subquery
from django.db.models.functions import Coalesce
from django.utils.translation import gettext_lazy as _

from accounts.clock import Now, is_leased
from accounts.models import DiscordGate
from guilds.engine.freshness import Reason, Tier

if TYPE_CHECKING:
    from guilds.engine.resource import Resource

# What the rule needs to know of the gate.
OF_THE_GATE = {
    name: Subquery(DiscordGate.objects.filter(pk=1).values(name))
    for name in ("silent_since", "recovered_at", "probe_after")
}


class Record(models.Model):
    """One stored answer from Discord. The engine writes these columns; a resource's model adds the key of its owner.

    There is no state column: whether an answer is fresh, stale or expired follows from the row and the time, so a crash
    can't leave a wrong state behind.
    """

    verified_at = models.DateTimeField(
        _("verified"),
        null=True,
        blank=True,
        db_index=True,
        help_text=_("When the request for the stored answer was sent."),
    )
    refresh_after = models.DateTimeField(
        _("due"),
        null=True,
        blank=True,
        help_text=_("After this time, reading the answer refreshes it in the background. Set when it is stored."),
    )
    not_before = models.DateTimeField(
        _("not before"), null=True, blank=True, help_text=_("No request is sent to Discord before this time.")
    )
    silent_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="When Discord didn't answer the last attempt; empty if it named how long to wait.",
    )
    reason = models.CharField(
        max_length=24, blank=True, help_text=_("Why the last attempt failed; empty if it succeeded.")
    )
    failure_streak = models.PositiveIntegerField(
        _("failures"), default=0, help_text=_("Failed attempts since the last success.")
    )
    lease_until = models.DateTimeField(
        _("lease until"), null=True, blank=True, help_text=_("When the lease of the running attempt expires.")
    )
    generation = models.BigIntegerField(
        _("generation"),
        default=0,
        help_text=_(
            "Incremented by every claim, release, sign-in, purge and deletion; responses to an older generation are "
            "dropped."
        ),
    )
    version = models.BigIntegerField(default=0, help_text="Counted up whenever the answer changes.")
    last_read_at = models.DateTimeField(
        _("last read"),
        # Indexed because the sweep selects the few records that were read recently.
        null=True,
        blank=True,
        db_index=True,
        help_text=_("When the answer was last read, accurate to the hour."),
    )
    changed_at = models.DateTimeField(_("changed"), null=True, blank=True, help_text=_("When the answer last changed."))

    # The gate's, which every read of a resource brings along. They have no defaults, so that the rule raises instead of
    # assuming that Discord was never silent if a record was read in another way.
    silent_since: datetime | None
    recovered_at: datetime | None
    probe_after: datetime | None
    # Set by the constructor of `Resource`.
    resource: ClassVar["Resource[Any, Any]"]

    class Meta:
        abstract = True

    @property
    def is_refused(self) -> bool:
        """Whether the last attempt was refused for good, until a sign-in, a setting or the bot's arrival ends it."""
        return bool(self.reason) and Reason(self.reason).is_refusal

    @classmethod
    def tiers(cls, now: datetime, path: str = "") -> dict[Tier, Q]:
        """Return the bounds of `freshness.tier` as conditions for SQL.

        `path` is the lookup prefix from the queried rows to the record, such as
        "user__guild_list_verification__".
        """
        windows = cls.resource.windows()

        def where(column: str, value: datetime | None) -> Q:
            return Q(**{f"{path}{column}": value})

        fresh, not_fresh = where("verified_at__gt", now - windows.fresh), where("verified_at__lte", now - windows.fresh)
        served, expired = where("verified_at__gt", now - windows.stale), where("verified_at__lte", now - windows.stale)
        return {
            Tier.FRESH: fresh & (where("refresh_after", None) | where("refresh_after__gt", now)),
            Tier.DUE: fresh & where("refresh_after__lte", now),
            Tier.STALE: served & not_fresh,
            Tier.EXPIRED: expired,
            Tier.NONE: where("verified_at", None),
        }

    @classmethod
    def refused(cls, path: str = "") -> Q:
        """Return `is_refused` as a condition for SQL; `path` is as in `tiers`."""
        return Q(**{f"{path}reason__in": [reason for reason in Reason if reason.is_refusal]})

    @classmethod
    def states(cls, now: datetime, path: str = "") -> dict[str, Q]:
        """Return the conditions by which records are counted and filtered: "refused", or else their tier."""
        refused = cls.refused(path)
        tiers = {tier.value: bounds & ~refused for tier, bounds in cls.tiers(now, path).items()}
        return {**tiers, "refused": refused}

    @classmethod
    def pausing(cls, now: datetime | Now) -> Q:
        """Return the condition for the records for which `freshness.wait_end` names a moment."""
        # Before the first recovery, each moment is compared with itself.
        is_still_silent = Q(silent_at__gte=Coalesce(OF_THE_GATE["recovered_at"], "silent_at"))
        return Q(not_before__gt=now) & (~Q(reason=Reason.UNAVAILABLE) | Q(silent_at=None) | is_still_silent)

    @classmethod
    def running(cls) -> Q:
        """Return the condition for records whose refresh is running."""
        return is_leased("lease_until", cls.resource.windows().lease)
