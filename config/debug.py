"""A filter for Django's debug page for exceptions."""

import re
from types import FrameType
from typing import Any

from django.http import HttpRequest
from django.views.debug import SafeExceptionReporterFilter

# The user info of a URL and a password in its query.
_CREDENTIALS = re.compile(r"(?<=://)[^/\s@]*@|(?<=[?&]password=)[^&\s]+", re.IGNORECASE)


class ReporterFilter(SafeExceptionReporterFilter):
    """Django's filter, which hides settings by name, extended to hide credentials in any URL."""

    def cleanse_setting(self, key: Any, value: Any) -> Any:
        cleansed = super().cleanse_setting(key, value)
        return _CREDENTIALS.sub(self._hidden, cleansed) if isinstance(cleansed, str) else cleansed

    def _hidden(self, match: "re.Match[str]") -> str:
        return f"{self.cleansed_substitute}@" if match[0].endswith("@") else self.cleansed_substitute

    def get_traceback_frame_variables(self, request: HttpRequest | None, tb_frame: FrameType) -> Any:
        """Cleanse each frame's variables also if DEBUG is on, where Django shows them unfiltered."""
        found = super().get_traceback_frame_variables(request, tb_frame)
        return [(name, self.cleanse_setting(name, value)) for name, value in found]
