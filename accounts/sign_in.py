"""What can go wrong with a sign-in, apart from Discord's own errors."""

from accounts.limits import Reason


class SignInUnavailable(Exception):
    """Discord could not be asked, or did not answer in time; `retry_after` is in seconds."""

    def __init__(self, reason: Reason, retry_after: float) -> None:
        super().__init__(f"sign-in is not possible now ({reason})")
        self.reason = reason
        self.retry_after = retry_after
