from django.conf import settings
from django.http import HttpRequest


def discord(request: HttpRequest) -> dict[str, object]:
    """For every template: whether sign-in goes to the sandbox, and where a browser reaches it."""
    return {"uses_sandbox": settings.USES_SANDBOX, "sandbox_url": settings.SANDBOX_URL}
