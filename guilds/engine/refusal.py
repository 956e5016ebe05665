"""The one exception of a reader who gets no answer."""

from accounts.limits import Reason


class NoAnswer(Exception):
    """No stored answer may be served, and Discord gave no new one.

    `resource` names the kind of answer, such as "guild_list"; `reason` says what stands in the way. `retry_after` is
    the time in seconds after which a new attempt makes sense. It is None for a refusal (`reason.is_refusal`), which
    only a new sign-in ends.
    """

    def __init__(self, resource: str, reason: Reason, retry_after: float | None = None) -> None:
        super().__init__(f"no answer for {resource} ({reason})")
        self.resource = resource
        self.reason = reason
        self.retry_after = retry_after
