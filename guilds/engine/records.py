"""What the engine stores about each answer of Discord's: when it was verified, and what stands in the way of asking."""

from typing import TYPE_CHECKING, Any, ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from guilds.engine.resource import Resource


class Record(models.Model):
    """One stored answer of Discord's. The engine writes these columns; a resource's model adds whose answer it is.

    There is no state column: whether an answer is fresh, stale or expired follows from the row and the time, so that no
    crash can leave a wrong state behind.
    """

    verified_at = models.DateTimeField(
        _("verified"),
        null=True,
        blank=True,
        db_index=True,
        help_text=_("The moment before the question that brought the stored list."),
    )
    refresh_after = models.DateTimeField(
        _("due"),
        null=True,
        blank=True,
        help_text=_("From here on a read asks Discord in the background; fixed with the list."),
    )
    not_before = models.DateTimeField(
        _("not before"), null=True, blank=True, help_text=_("Discord is not asked before this moment.")
    )
    reason = models.CharField(
        max_length=24, blank=True, help_text=_("Why the last attempt brought no list; empty if it did.")
    )
    failure_streak = models.PositiveIntegerField(
        _("failures"), default=0, help_text=_("Failed attempts since the last list.")
    )
    lease_until = models.DateTimeField(
        _("lease until"), null=True, blank=True, help_text=_("Until when somebody's attempt is running.")
    )
    generation = models.BigIntegerField(
        _("generation"),
        default=0,
        help_text=_(
            "Counted up by every claim, release, sign-in and disconnect; an answer to an older one is dropped."
        ),
    )
    version = models.BigIntegerField(default=0, help_text="Counted up whenever the answer changes.")
    last_read_at = models.DateTimeField(
        _("last read"),
        # The sweep looks for the few who read lately among all who ever did.
        null=True,
        blank=True,
        db_index=True,
        help_text=_("When somebody last read the list, to the hour."),
    )
    changed_at = models.DateTimeField(
        _("changed"), null=True, blank=True, help_text=_("When the memberships last changed.")
    )

    # The resource sets it when it is made.
    resource: ClassVar["Resource[Any, Any]"]

    class Meta:
        abstract = True
