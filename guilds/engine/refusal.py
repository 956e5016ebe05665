"""The exceptions for a reader that gets no answer, and for a resource that Discord refuses one."""

from accounts.limits import Reason


class NoAnswer(Exception):
    """No stored answer may be served, and Discord gave no new one.

    `resource` names the kind of answer, such as "guild_list"; `reason` says why there is none. `retry_after` is the
    number of seconds after which a retry makes sense. It is None for a refusal (`reason.is_refusal`), which only a new
    sign-in ends, or the bot's arrival in the guild. `limits_guild` says whether a limit (`RATE_LIMITED`) is one of the
    bot's in the guild, and not the person's.
    """

    def __init__(
        self, resource: str, reason: Reason, retry_after: float | None = None, *, limits_guild: bool = False
    ) -> None:
        super().__init__(f"no answer for {resource} ({reason})")
        self.resource = resource
        self.reason = reason
        self.retry_after = retry_after
        self.limits_guild = limits_guild


class Refused(Exception):
    """Raised by `Resource.ask` if Discord's response means `reason`, a refusal."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(str(reason))
        self.reason = reason
